"""Container images that Buildah builds without a registry, from a base that has the Python of this machine."""

import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sysconfig

#: Mounted, not copied: it is large, and no image changes it.
STDLIB = sysconfig.get_path("stdlib")
VOLUME = "%s:%s:ro" % (STDLIB, STDLIB)

PROGRAMS = ["sh", "rm", "tar", "zstd"]


class Buildah:
    """Buildah, with all that it keeps below one folder. Its images work where no daemon and no runtime does."""

    def __init__(self, path):
        self.path = path
        for name in ("store", "run", "tmp", "lib"):
            (path / name).mkdir(parents=True)

    def start(self, *args):
        """Run a command of buildah: the completed process, with its output."""
        # It has no option for the folder in /var/lib, where it remembers blobs.
        private = 'mount --bind "$1" /var/lib; shift; exec buildah "$@"'
        options = ["--storage-driver", "vfs", "--root", self.path / "store", "--runroot", self.path / "run"]
        command = ["unshare", "--mount", "sh", "-ec", private, "sh", self.path / "lib"] + options + list(args)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "TMPDIR": str(self.path / "tmp"),  # has the cache mounts
            "BUILDAH_ISOLATION": "chroot",
        }
        return subprocess.run(
            [str(it) for it in command],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )

    def __call__(self, *args):
        """The output of a command that succeeds."""
        done = self.start(*args)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def build(self, context, file, image):
        """Build an image from the base. The output of its commands; none of them is taken from a layer."""
        options = ["--no-cache", "--build-arg", "BASE=localhost/base", "-f", file, "-t", image]
        return self("bud", "--volume", VOLUME, *options, context)

    def container(self, image):
        """A new container of an image."""
        return Container(self, self("from", "--pull-never", "--volume", VOLUME, image).strip())

    def remove(self):
        """Remove all images and containers."""
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        assert str(self.path) not in mounts
        shutil.rmtree(str(self.path))


class Container:
    def __init__(self, buildah, name):
        self._buildah, self._name = buildah, name
        #: The folder of its files.
        self.root = pathlib.Path(buildah("mount", name).strip())
        #: The command of its image.
        self.command = json.loads(buildah("inspect", name))["OCIv1"]["config"]["Cmd"]

    def run(self, *command):
        """What a command prints, as the user and in the folder that the image names."""
        return self._buildah("run", self._name, "--", *command).strip()

    def user(self):
        return self.run("python3", "-c", "import getpass; print(getpass.getuser())")


def make_base(buildah, venv):
    """Make the image ``localhost/base``: a Python, at its path on this machine, with zc.buildout, and a shell.

    The result is why Buildah may not run commands on this machine, if so.
    """
    venv = os.path.realpath(venv)  # as the scripts name it
    context = buildah.path / "base"
    root = context / "root"
    copy_python(venv, root)
    for name in PROGRAMS:
        copy_program(shutil.which(name), root, at="/bin/" + name)
    for name, mode in (("tmp", 0o1777), ("etc", 0o755)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (context / "Containerfile").write_text(
        "FROM scratch\nCOPY root/ /\nENV PATH=%s/bin:/bin PIP_NO_INDEX=1\nRUN python3 -c pass\n" % venv
    )
    done = buildah.start("bud", "--volume", VOLUME, "-t", "base", context)
    if done.returncode != 0:  # nothing of eggcache is in it
        return done.stdout.strip().splitlines()[-1]
    shutil.rmtree(str(context))
    return None


def copy_python(venv, root):
    """Copy a virtual environment without eggcache, the program of its Python, and what both need."""
    ignored = shutil.ignore_patterns("eggcache*", "__pycache__")
    shutil.copytree(venv, str(root) + venv, symlinks=True, ignore=ignored)
    copy_program(os.path.realpath(os.path.join(venv, "bin", "python")), root)
    for user in [os.path.join(venv, "bin", "eggcache")] + glob.glob(os.path.join(STDLIB, "lib-dynload", "*.so")):
        copy_libraries(user, root)


def copy_program(path, root, at=None):
    target = str(root) + (at or path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(path, target)
    copy_libraries(path, root)


def copy_libraries(path, root):
    """Copy the shared libraries that a file needs, to the paths where it finds them."""
    found = subprocess.run(["ldd", path], stdout=subprocess.PIPE, universal_newlines=True).stdout
    for library in re.findall(r"(?:=> |^\s)(/\S+)", found, re.M):
        target = str(root) + library
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(library, target)
