"""Fakes of buildout, of pkg_resources and of the bridge, for tests that need no buildout run."""

import types

from packaging.requirements import Requirement as PackagingRequirement
from packaging.version import Version

from eggcache import _bridge, _chooser, _custom
from eggcache._requirements import canonical


class Requirement:
    """What this package uses of a requirement of pkg_resources, on top of packaging."""

    def __init__(self, text):
        self._requirement = PackagingRequirement(text)
        self.project_name = self._requirement.name
        self.unsafe_name = self.project_name
        self.key = self.project_name.lower()
        self.specs = [(it.operator, it.version) for it in self._requirement.specifier]
        self.extras = tuple(self._requirement.extras)
        self.marker = self._requirement.marker

    @classmethod
    def parse(cls, text):
        return cls(text)

    def __str__(self):
        return str(self._requirement)

    def __eq__(self, other):
        return self._requirement == other._requirement

    def __hash__(self):
        return hash(self._requirement)

    def __contains__(self, item):
        if not isinstance(item, str):
            if item.key != self.key:
                return False
            item = item.version
        return self._requirement.specifier.contains(item, prereleases=True)


class Distribution:
    """What this package uses of a distribution of pkg_resources."""

    def __init__(self, project_name, version, location="", precedence=None, requires=()):
        self.project_name = project_name
        self.key = project_name.lower()
        self.version = version
        self.parsed_version = Version(version)
        self.location = location
        self.precedence = precedence
        self.extras = []
        self._requires = list(requires)

    @classmethod
    def from_filename(cls, name, precedence=None):
        project_name, version = name.split("-")[:2]
        return cls(project_name.replace("_", "-"), version, name, precedence)

    def as_requirement(self):
        return Requirement("%s==%s" % (self.project_name, self.version))

    def requires(self, extras=()):
        return self._requires

    def __str__(self):
        return "%s %s" % (self.project_name, self.version)


class WorkingSet:
    """Distributions, which are found as newer versions of setuptools find them."""

    def __init__(self, entries):
        self._dists = []

    def add(self, dist):
        self._dists.append(dist)

    def find(self, requirement):
        wanted = canonical(requirement.project_name)
        return next((dist for dist in self._dists if canonical(dist.project_name) == wanted), None)


#: Stands in for the module ``pkg_resources``.
RESOURCES = types.SimpleNamespace(
    Requirement=Requirement,
    Distribution=Distribution,
    WorkingSet=WorkingSet,
    parse_version=Version,
    EGG_DIST=3,
    working_set=[],
)


#: The choice of every buildout with the fake `Places`.
HERE = "here"


class Places:
    """Places among which a buildout chooses by one choice for all versions."""

    #: The module of an index that is not known.
    package_index = types.ModuleType("unknown")

    def __init__(self, choice=HERE):
        self._choice = choice

    def choice(self, installer, requirement, version, source):
        return self._choice


def egg(name, version, digest=None, source_sha256="", choices=(HERE,)):
    """An egg as the program describes it in an answer to ``find``."""
    return {
        "digest": digest or "%s-%s" % (name, version),
        "version": version,
        "file_name": "%s-%s-py3.11.egg" % (name.replace("-", "_"), version.replace("-", "_")),
        "source_sha256": source_sha256,
        "choices": list(choices),
    }


class Bridge:
    """A bridge to a cache with some eggs. ``calls`` holds the requests as pairs."""

    is_broken = False

    def __init__(self, *eggs):
        self.eggs = list(eggs)
        self.calls = []
        #: What to answer to other requests than ``find``: an answer or an exception.
        self.answers = {}
        self.is_killed = False

    def call(self, op, **parameters):
        self.calls.append((op, parameters))
        answer = self.answers.get(op, {})
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if op == "find":
            # All versions, so that the choice is not made here.
            name = canonical(parameters["name"])
            found = [it for it in self.eggs if canonical(it["digest"].rsplit("-", 1)[0]) == name]
            return dict(answer, eggs=found)
        return answer

    def post(self, op, answered, **parameters):
        try:
            answer, refusal = self.call(op, **parameters), None
        except _bridge.Refusal as error:
            answer, refusal = None, error
        answered(answer, refusal)

    def wait(self):
        pass

    def close(self, failed=False):
        return self.call("close", **({"failed": True} if failed else {}))

    def kill(self):
        self.is_killed = True

    def ops(self):
        return [op for op, _ in self.calls]


class Installer:
    """What this package uses of ``zc.buildout.easy_install.Installer``."""

    def __init__(self, dest="eggs", newest=True, prefer_final=True, installed=()):
        self._dest = dest
        self._newest = newest
        self._prefer_final = prefer_final
        self._install_from_cache = False
        self._env = Environment(installed)

    def _constrain(self, requirement):
        return requirement


class Environment:
    """Installed distributions by name, which buildout 3 and later spell with underscores."""

    def __init__(self, dists=()):
        self._distmap = {}
        for dist in dists:
            self.add(dist)

    def __getitem__(self, name):
        return self._distmap.get(name.lower().replace("-", "_"), [])

    def add(self, dist):
        self._distmap.setdefault(dist.key.replace("-", "_"), []).append(dist)

    def remove(self, dist):
        self._distmap[dist.key].remove(dist)


def chooser(*eggs, **kw):
    """A chooser for a cache with these eggs."""
    bridge = kw.pop("bridge", None) or Bridge(*eggs)
    custom = kw.pop("custom", None) or _custom.CustomBuilds(set(), "/srv/app")
    warn = kw.pop("warn", None) or unexpected
    resources = kw.pop("resources", RESOURCES)
    places = kw.pop("places", None) or Places()
    return _chooser.Chooser(bridge, resources, custom, places, warn, **kw)


def unexpected(warning):
    raise AssertionError(warning)
