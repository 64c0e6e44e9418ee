"""Programs that put copies of the same eggs into a fresh folder, each with its best options.

Everything that a contender reads is prepared beforehand, on the file system that it writes to.
"""

import os
import platform
import re
import shutil
import subprocess
import sys

import corpora
import measure
from measure import Contender, Failed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EGGCACHE = os.environ.get("EGGCACHE") or os.path.join(ROOT, "target", "release", "eggcache")
FLOOR = os.path.join(ROOT, "target", "release", "examples", "floor")
UV = os.path.join(corpora.BUILD, "venv")
# Wheels have no bytecode, while eggs contain bytecode once they have been used.
LEAST = {"uv": 0.6}


class Missing(Exception):
    """A contender is not available here."""


def materializing(place, eggs, wanted=None):
    """The contenders, ready to run in `place`, and the reasons why others are left out."""
    source = copy_of(place, eggs)
    expected = measure.contents(source)
    ready, left_out = [], {}
    for name in wanted or MAKERS:
        try:
            contender = MAKERS[name](place.path, source, eggs)
        except (Missing, Failed) as error:
            measure.leave_out(left_out, name, error)
            continue
        contender.check = Check(contender.name, expected)
        ready.append(contender)
    return ready, left_out


class Check:
    """Checks that a contender has written the expected files, or at least its share in `LEAST`."""

    def __init__(self, name, expected):
        self.name = name
        self.expected = expected
        self.done = None

    def __call__(self, into):
        if self.done is not None:
            return  # checking one run is enough
        self.done = measure.contents(into)
        least = LEAST.get(self.name, 1)
        for have, want in zip(self.done, self.expected):
            if not least * want <= have <= want * (2 - least):
                message = "%s wrote %d files, %d bytes instead of %d files, %d bytes"
                raise Failed(message % ((self.name,) + self.done + self.expected))


def copy_of(place, eggs):
    source = os.path.join(place.path, "source")
    if not os.path.exists(source):
        measure.run(["cp", "-a", eggs, source])
    return source


def cache_of(place, source):
    cache = os.path.join(place, "cache")
    if not os.path.exists(cache):
        measure.run([EGGCACHE, "-q", "--cache", cache, "add", source])
    return cache


def eggcache(place, source, eggs):
    cache = cache_of(place, source)
    command = [EGGCACHE, "-q", "--cache", cache, "materialize", "--all", "--into"]
    return Contender("eggcache", lambda into: command + [into], [cache])


def cp(place, source, eggs):
    return Contender("cp", lambda into: ["cp", "-a", source, into], [source])


def rsync(place, source, eggs):
    installed("rsync")
    return Contender("rsync", lambda into: ["rsync", "-a", source + "/", into], [source])


def tar(place, source, eggs):
    archive = os.path.join(place, "eggs.tar")
    measure.run(["tar", "-C", source, "-cf", archive, "."])
    return Contender("tar", lambda into: ["tar", "-C", into, "-xf", archive], [archive], os.mkdir)


def uv(place, source, eggs):
    program = uv_program()
    pins, wheels = wheels_of(eggs)
    here = shutil.copytree(wheels, os.path.join(place, "wheels"))
    cache = os.path.join(place, "uv-cache")
    command = [program, "pip", "install", "-q", "--no-config", "--offline", "--no-deps"]
    command += ["--no-index", "--find-links", here, "--requirements", pins, "--cache-dir", cache]
    command += ["--link-mode=copy", "--python", sys.executable, "--target"]
    measure.run(command + [os.path.join(place, "fills-the-cache-of-uv")])
    return Contender("uv", lambda into: command + [into], [cache])


def ostree(place, source, eggs):
    installed("ostree")
    repository = os.path.join(place, "ostree")
    option = "--repo=" + repository
    measure.run(["ostree", option, "init", "--mode=bare"])
    measure.run(["ostree", option, "commit", "--branch=eggs", "--tree=dir=" + source])
    command = ["ostree", option, "checkout", "--force-copy"]
    if os.geteuid() != 0:
        command += ["--user-mode"]
    return Contender("ostree", lambda into: command + ["eggs", into], [repository])


def floor(place, source, eggs):
    if not os.path.exists(FLOOR):
        raise Missing("cargo build --release --example floor")
    plan = os.path.join(place, "plan")
    with open(plan, "wb") as file:
        subprocess.check_call([FLOOR, "plan", source], stdout=file)
    return Contender("floor", lambda into: [FLOOR, "make", plan, into], [plan])


MAKERS = {
    "eggcache": eggcache,
    "floor": floor,
    "cp": cp,
    "rsync": rsync,
    "tar": tar,
    "uv": uv,
    "ostree": ostree,
}


def installed(program):
    if shutil.which(program) is None:
        raise Missing(program + " is not installed")


def uv_program():
    """The uv from PyPI that `make` installs."""
    program = os.path.join(UV, "bin", "uv")
    if not os.path.exists(program):
        raise Missing("make build/bench/venv/bin/uv")
    return program


def wheels_of(eggs):
    """A file with the pins of an eggs directory, and a folder with a wheel for each; made once."""
    pins = "".join(
        "%s==%s\n" % tuple(egg.split("-")[:2]) for egg in sorted(os.listdir(eggs)) if "-" in egg
    )
    named = [name for name, given in corpora.named().items() if given == eggs]
    name = named[0] if named else os.path.relpath(eggs, corpora.BUILD).split(os.sep)[1]
    folder = os.path.join(corpora.BUILD, "wheels", name)
    listed = folder + ".txt"
    done = os.path.exists(listed) and open(listed).read() == pins
    if not done:
        print("fetching the wheels of %s for uv" % name, file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(listed + ".new", "w") as file:
            file.write(pins)
        pip = [os.path.join(UV, "bin", "python"), "-m", "pip", "wheel", "-q"]
        pip += ["--disable-pip-version-check", "--no-deps", "--wheel-dir", folder]
        measure.run(pip + ["-r", listed + ".new"])
        os.rename(listed + ".new", listed)
    return listed, folder


def versions():
    """The versions that the contenders report."""
    asked = {
        "eggcache": [EGGCACHE, "--version"],
        "cp": ["cp", "--version"],
        "rsync": ["rsync", "--version"],
        "tar": ["tar", "--version"],
        "uv": [os.path.join(UV, "bin", "uv"), "--version"],
        "ostree": ["ostree", "--version"],
        "zstd": ["zstd", "--version"],
        "b3sum": ["b3sum", "--version"],
        "rm": ["rm", "--version"],
        "aws": [os.path.join(UV, "bin", "aws"), "--version"],
        "SeaweedFS": [os.path.join(UV, "bin", "weed"), "version"],
    }
    found = {"python": platform.python_version()}
    for name, command in asked.items():
        try:
            text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        except OSError:
            continue
        number = re.search(rb"\d+(\.\d+)+", text)
        if number:
            found[name] = number.group().decode()
    return found
