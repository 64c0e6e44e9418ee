"""Random configurations end with the cache as they do without it.

Each configuration is run in a folder without the cache, and then in a folder of the same path with a
cache that has some of the versions: exit status, eggs, scripts, `.installed.cfg`, picked versions and log
lines must be the same. `make differential` tries 200 configurations; set EGGCACHE_SEEDS=FIRST-LAST for
those of these seeds.
"""

import json
import os
import re
import shutil

import pytest

from configurations import YANKED, Configuration, make_archives
from conftest import World
from eggcache._requirements import canonical

#: Seeds that have found something, which are tried in every run.
KEPT = [1, 160, 211, 267]
COUNT = 2

#: Files in an egg that differ between two builds of it.
VOLATILE = re.compile(r".*\.pyc$|.*/RECORD$|.*/direct_url\.json$")

#: The time in a file of picked versions that a second run has extended.
ADDED_AT = re.compile(rb"(?<=# Added by buildout at )[\d .:-]+")


def seeds(kept=KEPT):
    if "EGGCACHE_SEEDS" in os.environ:
        first, _, last = os.environ["EGGCACHE_SEEDS"].partition("-")
        return range(int(first), int(last or first) + 1)
    return sorted(set(kept) | set(range(100, 100 + COUNT)))


class Universe(World):
    """Folders of archives, and a cache that has many of them."""

    def __init__(self, path, buildout, web):
        super().__init__(path, buildout, web)
        self.links = path / "links"
        self.links.mkdir()
        make_archives(self.index, self.links)
        web.yanked.add(YANKED)
        self.all = path / "all"
        self.known = {}

    def head(self, cache, links=True):
        """The options that every configuration has."""
        lines = ["index = " + self.index_url, "egg-cache = %s" % (cache or "")]
        if links:
            folders = [path for path in sorted(self.links.iterdir())]
            lines.append("find-links = %s" % "\n  ".join(map(str, folders)))
        return "\n".join(lines)

    def own_pins(self):
        """The pins of buildout's own projects."""
        own = self.buildout
        return {
            "zc.buildout": own.version,
            "setuptools": own.setuptools,
            "zc.recipe.egg": own.recipe,
        }

    def digests_of(self, name, version):
        """The eggs that a buildout with this pin adds to the cache of all."""
        if (name, version) not in self.known:
            path = self.path / "filling"
            path.mkdir()
            pins = "\n".join("%s = %s" % it for it in self.own_pins().items())
            (path / "buildout.cfg").write_text(
                "[buildout]\nparts = app\n%s\n[app]\nrecipe = zc.recipe.egg\neggs = %s\n"
                "[versions]\n%s\n%s = %s\n" % (self.head(self.all), name, pins, name, version)
            )
            run(self, path, [])
            shutil.rmtree(str(path))
            normal = canonical(name)
            self.known[name, version] = [
                egg["digest"]
                for egg in self.listed(self.all)
                if (egg["name"], egg["version"]) == (normal, version)
            ]
        return self.known[name, version]

    def listed(self, cache):
        if not cache.exists():
            return []
        self.cache = cache
        return self.cached()

    def make_cache(self, versions):
        """A cache with these versions, as far as this buildout can build them, and the recipe."""
        wanted = {digest for it in versions for digest in self.digests_of(*it)}
        shutil.rmtree(str(self.path / "cache"), ignore_errors=True)
        if not wanted:
            return self.path / "cache"
        cache = self.path / "cache"
        shutil.copytree(str(self.all), str(cache), symlinks=True)
        for egg in self.listed(cache):
            if egg["digest"] not in wanted and egg["name"] != "zc-recipe-egg":
                os.unlink(str(cache / "blobs" / egg["digest"][:2] / egg["digest"]))
        self.cache = cache
        self.eggcache("verify", "--repair", check=False)
        return cache


def run(universe, path, arguments):
    """Run buildout in a folder; return its exit status and its output."""
    project = PlainProject(universe, path)
    output = project.run(*arguments, check=False)
    return project.returncode, output


class PlainProject:
    """A folder with a configuration of its own."""

    def __init__(self, world, path):
        self.world, self.path = world, path

    from conftest import Project as _Project

    run, start = _Project.run, _Project.start


class Outcome:
    """What a run has left."""

    def __init__(self, path, status, output, generation):
        self.status = status
        self.output = normalized(output)
        self.files = dict(files(path, generation))


#: The begin of lines that the cache adds, or leaves out because nothing is requested or built: requests
#: to an index, in buildouts before 5, and the output of builds.
OWN = (
    "eggcache",
    "egg-cache = ",
    "root: ",
    "warning: ",
    "WARNING: The easy_install command is deprecated",
    "Couldn't find index page for ",
)
#: What setuptools writes when it builds an egg for buildout 2.
ANALYSIS = re.compile(r"zip_safe flag not set|\S+: module references ")
#: What buildout adds to the commands of pip after the first one, which may be of an egg that the cache has.
NOT_FIRST = ", '--no-python-version-warning'"
#: Lines of a traceback, where the cache has frames of its own.
FRAMES = ("Traceback ", '  File "', "    ")


def normalized(output):
    """The lines of a run that must be the same, without the names of temporary folders."""
    lines = [line for line in output.splitlines() if line and not line.startswith(OWN + FRAMES)]
    lines = [line.replace(NOT_FIRST, "") for line in lines if not ANALYSIS.match(line)]
    return [re.sub(r"/tmp\w*/(?!pytest)[^\s'\"]*|\btmp[a-z0-9_]{8}\b", "/tmp/...", line) for line in lines]


def files(path, generation):
    """The mode and content of each file that counts, by its path.

    Buildout before 5 gives the files of an egg the modes that its wheel says. With the cache, as with later
    buildouts, the umask decides on all but the executable bit.
    """
    in_eggs = 0o777 if generation >= 5 else 0o100
    for folder, directories, names in os.walk(str(path)):
        for name in names + [it for it in directories if os.path.islink(os.path.join(folder, it))]:
            full = os.path.join(folder, name)
            relative = os.path.relpath(full, str(path))
            if VOLATILE.match(relative) or not os.path.exists(full):
                continue
            with open(full, "rb") as file:
                content = ADDED_AT.sub(b"", file.read())
            if relative.endswith(".so"):
                # Its debugging information names the temporary folder in which it was built.
                content = b"%d bytes" % len(content)
            bits = in_eggs if relative.startswith("eggs" + os.sep) else 0o777
            yield relative, (os.stat(full).st_mode & bits, content)


def outcomes(universe, configuration, cache):
    """The outcomes of all runs of a configuration in a new folder, which always has the same path."""
    path = universe.path / "app"
    shutil.rmtree(str(path), ignore_errors=True)
    path.mkdir()
    if configuration.develops:
        source = path / "src"
        source.mkdir()
        (source / "setup.py").write_text(
            "from setuptools import setup\n"
            "setup(name='alpha', version='1.0.dev0', py_modules=['alpha'])\n"
        )
        (source / "alpha.py").write_text("")
    configuration.versions.update(universe.own_pins())
    (path / "buildout.cfg").write_text(configuration.text(universe.head(cache, configuration.has_links)))
    for arguments in configuration.runs:
        status, output = run(universe, path, arguments)
        outcome = Outcome(path, status, output, universe.buildout.generation)
        # These name the option itself.
        outcome.files.pop("buildout.cfg", None)
        yield outcome


def differences(stock, ours, is_verbose):
    """What differs between two outcomes of a run, as lines. A verbose log tells what is downloaded."""
    if stock.status != ours.status:
        return ["exit status %s, not %s" % (ours.status, stock.status)] + ours.output[-20:]
    found = []
    for name in sorted(set(stock.files) | set(ours.files)):
        if stock.files.get(name) != ours.files.get(name):
            found.append("%s: %.300r, not %.300r" % (name, ours.files.get(name), stock.files.get(name)))
    if not is_verbose and stock.output != ours.output:
        found += ["- " + line for line in stock.output if line not in ours.output]
        found += ["+ " + line for line in ours.output if line not in stock.output]
        found.append("the lines of the log differ")
    return found


def lacks_spelling(output):
    """Whether a run has failed because the index has no page of ``gamma.ns`` with another spelling.

    For ``Gamma_NS``, buildout finds an installed egg all the same, and a cached egg counts as one.
    """
    found = re.search(r"Couldn't find a distribution for '([\w.-]+)", "\n".join(output))
    return found is not None and canonical(found.group(1)) == "gamma-ns" and found.group(1) != "gamma.ns"


def compare(universe, configuration):
    """What differs between the runs of a configuration without the cache and with it."""
    stock = list(outcomes(universe, configuration, None))
    cache = universe.make_cache(configuration.cached)
    found = []
    is_exact = configuration.is_exact
    for number, ours in enumerate(outcomes(universe, configuration, cache)):
        arguments = configuration.runs[number]
        if stock[number].status != 0 and ("-o" in arguments or lacks_spelling(stock[number].output)):
            # With the cache, buildout can work where it fails by itself.
            is_exact = False
        if is_exact:
            lines = differences(stock[number], ours, configuration.is_verbose(arguments))
        elif stock[number].status == 0 and ours.status != 0:
            lines = ["fails with the cache"] + ours.output[-20:]
        else:
            lines = []
        found += ["run %d %s: %s" % (number, arguments, line) for line in lines]
    return found


def test_random_configurations_end_as_without_the_cache(buildout, web, tmp_path):
    universe = Universe(tmp_path, buildout, web)
    wrong = {}
    for seed in seeds():
        found = compare(universe, Configuration(seed))
        if found:
            wrong[seed] = found
    report = json.dumps(wrong, indent=1)
    assert not wrong, "set EGGCACHE_SEEDS to repeat one:\n" + report[:20000]
    assert len(universe.known) > 5


if __name__ == "__main__":
    pytest.main([__file__])
