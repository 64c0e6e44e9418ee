"""Real buildouts of five generations, each in its own virtual environment.

The environments are created once, in ``build/``; the eggcache wheel in ``dist/`` is installed into
each. The index is a web server on this machine. ``make test`` prepares all of that.
"""

import copy
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zlib

import pytest

import dists
import images
from index import Index

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "buildout")

#: zc.buildout -> the versions of setuptools and zc.recipe.egg to run with it
VERSIONS = {
    "6.0.1": ("81.0.0", "6.0.0"),
    "5.2.0": ("80.9.0", "4.0.0"),
    "4.2.0": ("79.0.1", "3.0.0"),
    "3.3": ("75.8.0", "2.0.7"),
    "2.13.8": ("51.3.3", "2.0.7"),
}
ALL = sorted(VERSIONS, key=lambda version: [-int(part) for part in version.split(".")])


def pytest_configure(config):
    config.addinivalue_line("markers", "one_version: EGGCACHE_SAMPLE tries this on one of all versions.")


def pytest_collection_modifyitems(config, items):
    """With EGGCACHE_SAMPLE, try each test on the newest version, and every second one on one of the others, too.

    A test that is marked by ``one_version`` is tried on one of all. Which ones is decided by the name of the
    test. ``make test`` does so, for time; ``EGGCACHE_LONG=1 .ci/run`` tries all.
    """
    if not os.environ.get("EGGCACHE_SAMPLE"):
        return
    left = [item for item in items if not _is_in_sample(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if _is_in_sample(item)]


def _is_in_sample(item):
    version = item.callspec.params.get("buildout") if hasattr(item, "callspec") else None
    is_one_of_all = item.get_closest_marker("one_version")
    others = ALL if is_one_of_all else ALL[1:]
    if version not in others:
        return True
    at, which = divmod(zlib.crc32(item.name.replace(version, "").encode()), len(others))
    return version == others[which] and (bool(is_one_of_all) or at % 2 == 0)


def the_wheel():
    if "EGGCACHE_WHEEL" in os.environ:
        return os.path.abspath(os.environ["EGGCACHE_WHEEL"])
    wheels = glob.glob(os.path.join(ROOT, "dist", "eggcache-*.whl"))
    assert len(wheels) == 1, "exactly one wheel in dist/: run `make wheel`"
    return wheels[0]


class Buildout:
    """One version of zc.buildout: its environment and its pins.

    ``python`` is the path of another Python than that of the tests. ``others`` are pins of what is needed
    beside zc.buildout.
    """

    def __init__(self, version, python=None, setuptools=None, name=None, recipe=None, others=()):
        self.version = version
        pinned = VERSIONS.get(version, (None, "2.0.7"))
        self.setuptools, self.recipe = setuptools or pinned[0], recipe or pinned[1]
        self.others = list(others)
        self.python = python or sys.executable
        self.generation = min(int(version.split(".")[0]), 5)
        self.program = os.path.join(BUILD, "venv-" + (name or version), "bin", "eggcache")
        self.venv = os.path.join(BUILD, "venv-" + (name or version))
        self.archives = os.path.join(BUILD, "archives-" + (name or version))
        #: The results of comparisons with pip.
        self.compared = os.path.join(self.venv, "compared")
        self._prepare()

    def _prepare(self):
        os.makedirs(BUILD, exist_ok=True)
        with open(self.venv + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare_locked(the_wheel())

    def _prepare_locked(self, wheel):
        stamp = os.path.join(self.venv, "stamp")
        wanted = "%s %s" % (wheel, os.stat(wheel).st_mtime_ns)
        if os.path.exists(stamp) and open(stamp).read() == wanted:
            return
        if not os.path.exists(stamp):
            shutil.rmtree(self.venv, ignore_errors=True)
            is_old = self._is_old()
            make = [sys.executable, "-m", "virtualenv", "-q", "-p"] if is_old else []
            subprocess.check_call(make + [self.python] + ([] if is_old else ["-m", "venv"]) + [self.venv])
            wheel_pin = "wheel==0.37.1" if is_old else "wheel==0.45.1"
            needed = ["setuptools==" + self.setuptools, wheel_pin] + self.others
            self._pip("install", "zc.buildout==" + self.version, *needed)
            # The recipe that buildout would download, and what pip needs to build from source.
            self._pip("download", "--no-deps", "-d", self.archives, "zc.recipe.egg==" + self.recipe)
            self._pip("download", "--no-deps", "-d", os.path.join(self.archives, "pip"), *needed)
        self._pip("install", "--force-reinstall", "--no-deps", wheel)
        if self.generation >= 5:
            self._compare()
        with open(stamp, "w") as file:
            file.write(wanted)

    def _compare(self):
        """Have an egg of pip compared with that of eggcache, and keep the result for the caches of tests.

        Otherwise each test would begin with pip, which takes a third of its time.
        """
        shutil.rmtree(self.compared, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            world = World(pathlib.Path(folder), self, Index())
            world.wheel("proof", "1.0")
            world.project("project", eggs="proof", versions="proof = 1.0").run()
            shutil.copytree(str(world.cache / "parity"), self.compared)

    def _is_old(self):
        """Whether this Python cannot make a virtual environment that works."""
        code = "import sys; sys.exit(sys.version_info < (3, 8))"
        return subprocess.call([self.python, "-c", code]) != 0

    def _pip(self, *args):
        pip = [os.path.join(self.venv, "bin", "python"), "-m", "pip", "-q"]
        subprocess.check_call(pip + list(args) + ["--disable-pip-version-check"])


def without_eggcache(buildout, path):
    """A copy of a buildout's environment in which eggcache is not installed."""
    bare = copy.copy(buildout)
    bare.venv = str(path)
    ignored = shutil.ignore_patterns("eggcache*", "__pycache__")
    shutil.copytree(buildout.venv, bare.venv, symlinks=True, ignore=ignored)
    script = path / "bin" / "buildout"
    _, rest = script.read_text().split("\n", 1)
    script.write_text("#!%s/bin/python\n%s" % (bare.venv, rest))
    return bare


#: A part that fails after the others, for `World.project`.
BROKEN = {"parts": "app broken", "sections": "[broken]\nrecipe = zc.recipe.egg\neggs = not-there\n"}


def checkout(world, name, **kw):
    """A buildout as CI systems check it out: without the option `egg-cache`, and with eggcache in `wheels/`."""
    project = world.project(name, **kw)
    file = project.path / "buildout.cfg"
    lines = file.read_text().splitlines(True)
    file.write_text("".join(line for line in lines if not line.startswith("egg-cache")))
    (project.path / "wheels").mkdir()
    shutil.copy(the_wheel(), str(project.path / "wheels"))
    return project


def environment(world, bin=None, wheels=None):
    """The environment of a machine of a CI system, whose pip and buildout see only the packages of a world."""
    return {
        "PATH": os.pathsep.join([bin or os.path.join(world.buildout.venv, "bin"), os.environ["PATH"]]),
        "HOME": str(world.path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels or os.path.join(world.buildout.archives, "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "buildout_testing_index_url": world.index_url,
    }


def serve_wheel(world):
    """Add the wheel of eggcache to the index of a world."""
    (world.index / "eggcache").mkdir()
    shutil.copy(the_wheel(), str(world.index / "eggcache"))


@pytest.fixture(scope="session", params=ALL)
def buildout(request):
    return Buildout(request.param)


@pytest.fixture(scope="session")
def newest_buildout():
    return Buildout(ALL[0])


class World:
    """A folder with an index, a cache, and projects."""

    def __init__(self, path, buildout, web):
        self.path = path
        self.buildout = buildout
        self.web = web
        self.index = path / "index"
        self.index_url = web.serve(self.index)
        self.cache = path / "cache"
        self.index.mkdir()
        recipe = self.index / "zc.recipe.egg"
        recipe.mkdir()
        for archive in glob.glob(os.path.join(buildout.archives, "zc*")):
            shutil.copy(archive, str(recipe))

    def wheel(self, *args, **kw):
        return dists.wheel(self.index, *args, **kw)

    def c_sdist(self, *args, **kw):
        return dists.c_sdist(self.index, *args, **kw)

    def project(self, name, eggs="alpha", options="", sections="", versions="", parts="app"):
        return Project(self, name, eggs, options, sections, versions, parts)

    def after_comparison(self):
        """The same world, in whose cache the result of the comparison with pip is known."""
        if os.path.isdir(self.buildout.compared):
            self.eggcache("gc")  # makes an empty cache
            shutil.copytree(self.buildout.compared, str(self.cache / "parity"))
        return self

    def remove_cache(self):
        """Leave no cache, for tests that bring their own, or look at how it is made."""
        shutil.rmtree(str(self.cache), ignore_errors=True)

    def cut_network(self):
        """Make the index unavailable."""
        self.index.rename(self.path / "index-out-of-reach")

    def restore_network(self):
        """Make the index available again."""
        (self.path / "index-out-of-reach").rename(self.index)

    def eggcache(self, *args, check=True):
        command = [self.buildout.program, "--cache", str(self.cache)] + list(args)
        return subprocess.run(command, check=check, stdout=subprocess.PIPE, universal_newlines=True)

    def cached(self):
        """The eggs in the cache, as `eggcache list --json` prints them."""
        return json.loads(self.eggcache("list", "--json").stdout)["eggs"]


class Project:
    """A buildout folder."""

    def __init__(self, world, name, eggs, options, sections, versions, parts):
        self.world = world
        self.path = world.path / name
        self.path.mkdir()
        buildout = world.buildout
        pins = "zc.buildout = %s\nsetuptools = %s\nzc.recipe.egg = %s\n" % (
            buildout.version,
            buildout.setuptools,
            buildout.recipe,
        )
        (self.path / "buildout.cfg").write_text(
            "[buildout]\nparts = %s\nindex = %s\negg-cache = %s\nshow-picked-versions = true\n%s\n"
            "[app]\nrecipe = zc.recipe.egg\neggs = %s\n%s\n[versions]\n%s%s\n"
            % (
                parts,
                world.index_url,
                world.cache,
                options,
                "\n  ".join(eggs.split()),
                sections,
                pins,
                versions,
            )
        )

    def run(self, *args, check=True, env=None, cache=True):
        """Run buildout and return its output."""
        done = self.start(*args, env=env, cache=cache)
        output = done.communicate(timeout=300)[0]
        if check:
            assert done.returncode == 0, output
        self.returncode = done.returncode
        return output

    def start(self, *args, env=None, cache=True):
        buildout = self.world.buildout
        program = os.path.join(buildout.venv, "bin", "buildout")
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "EGGCACHE"))
        }
        environ.update(
            HOME=str(self.world.path),
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=os.path.join(buildout.archives, "pip"),
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PYTHONHASHSEED="0",
            # Offline, buildout asks its default index, and reads all of it if a project is not there.
            buildout_testing_index_url=self.world.index_url,
        )
        environ.update(env or {})
        options = [] if cache else ["buildout:egg-cache="]
        return subprocess.Popen(
            [program] + options + list(args),
            cwd=str(self.path),
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )

    @property
    def eggs_directory(self):
        return self.path / "eggs" / ("v5" if self.world.buildout.generation >= 5 else "")

    def eggs(self):
        """Names and versions of the installed eggs, in lower case."""
        names = sorted(path.name for path in self.eggs_directory.glob("*.egg"))
        return ["-".join(name.split("-")[:2]).lower() for name in names]

    def installed(self, name):
        """The version of a project in the eggs directory, or None."""
        found = [egg.split("-")[1] for egg in self.eggs() if egg.split("-")[0] == name]
        assert len(found) <= 1, found
        return found[0] if found else None

    def script(self, name):
        """What a script prints. It writes no bytecode into the eggs, which tests compare."""
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        return subprocess.check_output(
            [str(self.path / "bin" / name)], universal_newlines=True, env=env
        ).strip()

    def snapshot(self, folder=None):
        """Every entry below a folder: type and executable bit, mtime and content.

        The umask decides on the other bits of a copy.
        """
        folder = str(folder or self.eggs_directory)
        found = {}
        for path, directories, files in os.walk(folder):
            for name in directories + files:
                entry = os.path.join(path, name)
                info = os.lstat(entry)
                content = None
                if stat.S_ISREG(info.st_mode):
                    with open(entry, "rb") as file:
                        content = file.read()
                elif stat.S_ISLNK(info.st_mode):
                    content = os.readlink(entry)
                mode = stat.S_IFMT(info.st_mode) | info.st_mode & stat.S_IXUSR
                found[os.path.relpath(entry, folder)] = mode, info.st_mtime_ns, content
        return found


def summary(output):
    """Hits, misses and stored eggs, from the last line of a run."""
    how = r"(?:: \d+ converted, \d+ built)?(?:, \d+ missing)?"
    line = r"^eggcache: (\d+) hits?, (\d+) miss(?:es)?%s, (\d+) stored" % how
    [found] = re.findall(line, output, re.M)
    return dict(zip(("hits", "misses", "stored"), map(int, found)))


@pytest.fixture(scope="session")
def web():
    return Index()


@pytest.fixture
def world(tmp_path, buildout, web):
    return World(tmp_path, buildout, web).after_comparison()


@pytest.fixture
def newest_world(tmp_path, newest_buildout, web):
    return World(tmp_path, newest_buildout, web).after_comparison()


@pytest.fixture
def filled(world):
    """A world whose cache has an egg."""
    world.wheel("alpha", "1.0")
    world.project("filling", versions="alpha = 1.0").run()
    return world


@pytest.fixture(scope="session")
def buildah(tmp_path_factory, newest_buildout):
    """Buildah with a base image. What it makes is removed, because it is large."""
    needs("buildah", "zstd")
    is_used = os.path.exists("/var/lib/containers")
    made = images.Buildah(tmp_path_factory.mktemp("buildah"))
    why = images.make_base(made, newest_buildout.venv)
    if why:
        made.remove()
        skip("buildah may not run commands here: " + why)
    yield made
    made.remove()
    assert os.path.exists("/var/lib/containers") == is_used


def needs(*programs):
    """Skip the test, with a message, if a program is missing or the user is not root."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        skip("no %s" % ", ".join(missing) if missing else "only root can use %s here" % ", ".join(programs))


def skip(why):
    """Skip the test, and say so also where skipped tests are not listed."""
    sys.stderr.write("\nSKIPPED %s: %s\n" % (os.environ.get("PYTEST_CURRENT_TEST"), why))
    pytest.skip(why)
