"""What eggcache does faster than buildout has the same result, down to each line of a verbose log.

The cache is unusable here, so that it serves nothing. Thus the runs differ in nothing but in the faster
functions. Set EGGCACHE_SEEDS=FIRST-LAST for other random configurations.
"""

import json
import os
import random
import re
import subprocess

import pytest

from configurations import Configuration, seeds
from outcomes import differences, outcomes
from universe import Universe

#: Says which functions stay as they are in a buildout.
UNKNOWN = """
from eggcache import _speedups
from zc.buildout import easy_install
for owner, name in _speedups.Speedups(easy_install)._places:
    if not _speedups.is_known(getattr(owner, name), name):
        print(name)
"""
#: Says what differs between requirements that buildout constrains and those that eggcache has kept.
DIFFERENT = """
import warnings
warnings.simplefilter("ignore")
from eggcache import _speedups
from zc.buildout import easy_install
stock = easy_install._constrained_requirement
speedups = _speedups.Speedups(easy_install)
names = ["key", "name", "project_name", "unsafe_name", "extras", "specifier", "specs", "marker", "url"]
names += ["hashCmp", "_Requirement__hash"]
def attempt(*args):
    # Buildout 2 fails with a range and a marker.
    try:
        return speedups._constrained_requirement(*args) if len(args) == 3 else stock(*args)
    except ValueError as error:
        return type(error)
texts = ["a_B.c", "a>=1", "a[y,x]<3; python_version > '2'", "a!=1.1; extra == 'test'"]
for text in texts:
    for constraint in ("2.0", "==2.0", ">=1.5", "<4,>1"):
        for round in range(3):
            requirement = easy_install.pkg_resources.Requirement.parse(text)
            wanted = attempt(constraint, requirement)
            got = attempt(stock, constraint, requirement)
            if isinstance(wanted, type) and got is wanted:
                continue
            is_same = got == wanted and hash(got) == hash(wanted) and str(got) == str(wanted)
            is_same = is_same and repr(got) == repr(wanted) and ("2.0" in got) == ("2.0" in wanted)
            for name in names:
                mine, its = getattr(got, name, None), getattr(wanted, name, None)
                is_same = is_same and (mine == its or str(mine) == str(its))
            if not is_same:
                print(text, constraint, round)
            got.key = "changed"
"""
#: Headers of METADATA. Some are read by buildout itself, some are not valid.
DEPENDENCIES = [
    "Requires-Dist: b>=1\nProvides-Extra: x\nRequires-Dist: c; extra == 'x'\nRequires-Dist: b>=1",
    "Requires-Dist: b; extra == 'x'\nRequires-Dist: c; extra == 'x'\nRequires-Dist: b; extra == 'x'\nProvides-Extra: x",
    "Provides-Extra: A_b.c\nRequires-Dist: b; extra == 'a-b-c'\nRequires-Dist: c; extra == 'A_b.c'",
    "Provides-Extra: x \nProvides-Extra: x\nProvides-Extra: y\nRequires-Dist: b; python_version > '3' or extra == 'y'",
    "Requires-Dist: b (>=1,<2); sys_platform == 'win32'\nrequires-dist:c[y,x]~=1.0\nREQUIRES-DIST :d",
    "Requires-Dist: b @ https://example.org/b;1.zip ; extra == 'x'\nRequires-Dist: c; extra == 'x'\nProvides-Extra: x",
    "Requires-Dist: b;\n  extra == 'x'\nProvides-Extra: x",
    "License: of\n  many\n\tlines\nRequires-Dist: b",
    "Requires-Dist: b\nno header\nRequires-Dist: c",
    " begins with a line that continues\nRequires-Dist: b",
    "Requires-Dist: b\r\nRequires-Dist: c",
    "From nobody\nRequires-Dist: b",
    "Requires-Dist: b # a comment\nRequires-Dist: \nRequires-Dist:\nProvides-Extra:",
    "Requires-Dist: b >= not a version",
    "Requires-Dist: b; extra = 'x'",
    "Requires-Dist: b; unknown == 'x'",
    "Requires-Dist: b; extra == 'y'\nRequires-Dist: b >= not a version; extra == 'x'\nProvides-Extra: x",
    "Requires-Dist: b[y] >=1.0,!=1.5.*,<2; extra == \"x\"\nRequires-Dist: c(~=1.0) ; extra=='X-y'\nProvides-Extra: X_y"
    "\nProvides-Extra: x\nProvides-Extra: X.y\nProvides-Extra: z",
    "Requires-Dist: b>=1rc1; python_version > \"3\" and extra == 'x' and sys_platform == 'linux'\nProvides-Extra: x",
    "Requires-Dist: b; python_version < '3' and extra == 'x'\nRequires-Dist: b; extra != 'x'\nProvides-Extra: x",
    "Requires-Dist: b; extra == 'x'\nRequires-Dist: b\nProvides-Extra: x\nProvides-Extra: none",
    "Name: d\u00e4\nRequires-Dist: b\u00e4",
    "",
]


def random_headers(count):
    """Headers with requirements that are almost those that only an extra needs; some of them are not valid."""
    generator = random.Random(1)

    def choose(usual, others=()):
        return generator.choice(usual if generator.random() < 0.95 else others or usual)

    names = ["b", "a_B.c", "b-1"], ["b.", "_b", "1"]
    extras = ["", "", "[y]", "[y, x]"], ["[y,]", "[]"]
    versions = ["1", "1.0", "1rc1", "1.0.post1.dev2"], ["1.0.*", "1.*.1", "1.0-1", "v1", "*", ""]
    operators = ["==", "!=", "<=", ">=", "<", ">", "~= ", "== "], ["===", "=", "~="]
    markers = ["extra == 'x'", 'extra=="y"', "python_version >= '3'", "os_name == 'a'"]
    odd = ["sys_platform < 'b'", "python_version == 'b'", "(extra == 'x')", "extra == 'x\"", "extra in 'x'"]
    odd += ["extra == x", "extra != 'x'"]

    def clauses():
        some = ",".join(choose(*operators) + choose(*versions) for _ in range(choose((0, 1, 1, 2))))
        return choose(("%s", " (%s)"), ("(%s", " %s,")) % some if some else some

    def text():
        marker = choose([" and "], (" or ", " ")).join(choose(markers, odd) for _ in range(choose((1, 1, 2, 3))))
        return choose(*names) + choose(*extras) + clauses() + choose((";", " ; ", "; ")) + marker

    return ["Requires-Dist: %s\nProvides-Extra: x\nProvides-Extra: y" % text() for _ in range(count)]

#: Says for which headers the dependencies that eggcache computes are others than those of stock, also of a
#: second distribution after the first one has changed its own.
DIFFERENT_DEPENDENCIES = """
import json, sys, warnings
warnings.simplefilter("ignore")
from eggcache import _speedups
from zc.buildout import easy_install
kind = easy_install.pkg_resources.DistInfoDistribution
stock = kind._compute_dependencies
speedups = _speedups.Speedups(easy_install)
class Dist(kind):
    def __init__(self, text):
        self.text = text
        self.location = self.project_name = "d"
    def get_metadata(self, name):
        return self.text
def attempt(compute, *args):
    try:
        found = compute(*args)
    except Exception as error:
        return type(error), str(error)
    described = []
    for extra in found:
        for it in found[extra]:
            described.append((extra, str(it), hash(it), it.key, it.extras, str(it.marker)))
            # As WorkingSet.find does, and setuptools when it unpacks a wheel.
            it.key, it.marker = "changed", None
    return list(found), described
endings = ["", "\\n", "\\n\\nA long description.\\n\\nRequires-Dist: nothing\\n"]
for text in [headers + end for headers in json.loads(sys.stdin.read()) for end in endings]:
    wanted = attempt(stock, Dist(text))
    for _ in range(2):
        got = attempt(speedups._compute_dependencies, stock, Dist(text))
        if got != wanted:
            print(repr(text), wanted, got)
"""
#: The arguments of runs in one folder, and of those in another one, at the verbosity of every day.
RUNS = [[["-vv"], ["-v"], ["-q", "-N"], ["-vvo"]], [[], ["-N"]]]

#: The begin of lines of a verbose log that name the option, or the reason why the cache is unusable.
OF_CACHE = ("egg-cache = ", "Traceback (most recent call last)")

#: What differs from run to run: a folder into which pip or a develop egg is installed, the digest of a
#: wheel that pip builds, and the folder in which pip keeps it.
CHANGING = re.compile("/tmp[a-z0-9_]{8}(?:build)?(?![a-z0-9_])|(?<=sha256=)[0-9a-f]{64}$|(?<=/pip/wheels/)[0-9a-f/]+$")


def run(buildout, code, text=""):
    """Run code beside a buildout, with a text for its input; return what it prints."""
    python = os.path.join(buildout.venv, "bin", "python")
    return subprocess.check_output([python, "-c", code], input=text, universal_newlines=True)


def test_each_supported_buildout_has_sources_that_are_known(buildout):
    assert run(buildout, UNKNOWN) == ""


def test_constrained_requirements_are_those_of_stock(buildout):
    assert run(buildout, DIFFERENT) == ""


def test_dependencies_are_those_of_stock(buildout):
    assert run(buildout, DIFFERENT_DEPENDENCIES, json.dumps(DEPENDENCIES + random_headers(1000))) == ""


def compare(universe, configuration):
    """What differs between the runs of a configuration with the faster functions and without them."""
    unusable = universe.path / "unusable"
    unusable.write_text("not a cache")
    configuration.options["show-picked-versions"] = "true"
    found = []
    for runs in RUNS:
        stock = list(outcomes(universe, configuration, None, runs))
        ours = list(outcomes(universe, configuration, unusable, runs))
        for outcome in stock + ours:
            lines = [CHANGING.sub("...", it) for it in outcome.output]
            outcome.output = [it for it in lines if not it.startswith(OF_CACHE)]
        for arguments, before, after in zip(runs, stock, ours):
            found += ["%s: %s" % (arguments, line) for line in differences(before, after, False)]
    return found


@pytest.mark.one_version
def test_logs_at_all_verbosities_and_picked_versions_are_those_of_stock(buildout, web, tmp_path):
    universe = Universe(tmp_path, buildout, web)
    wrong = {seed: compare(universe, Configuration(seed)) for seed in seeds(kept=[1])}
    wrong = {seed: found for seed, found in wrong.items() if found}
    assert not wrong, "set EGGCACHE_SEEDS to repeat one:\n" + json.dumps(wrong, indent=1)[:20000]
