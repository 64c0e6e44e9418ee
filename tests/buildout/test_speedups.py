"""What eggcache does faster than buildout has the same result, down to each line of a verbose log.

The cache is unusable here, so that it serves nothing. Thus the runs differ in nothing but in the faster
functions. Set EGGCACHE_SEEDS=FIRST-LAST for other random configurations.
"""

import json
import os
import re
import subprocess

from configurations import Configuration
from test_differential import Universe, differences, outcomes, seeds

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
RUNS = [["-vv"], ["-v"], ["-q", "-N"], ["-vvo"]]

#: The begin of lines of a verbose log that name the option, or the reason why the cache is unusable.
OF_CACHE = ("egg-cache = ", "Traceback (most recent call last)")

#: What differs from run to run: a folder in the eggs directory into which pip installs, the digest of a
#: wheel that pip builds, and the folder in which pip keeps it.
CHANGING = re.compile("/tmp[a-z0-9_]{8}(?![a-z0-9_])|(?<=sha256=)[0-9a-f]{64}$|(?<=/pip/wheels/)[0-9a-f/]+$")


def run(buildout, code):
    """Run code beside a buildout; return what it prints."""
    python = os.path.join(buildout.venv, "bin", "python")
    return subprocess.check_output([python, "-c", code], universal_newlines=True)


def test_each_supported_buildout_has_sources_that_are_known(buildout):
    assert run(buildout, UNKNOWN) == ""


def test_constrained_requirements_are_those_of_stock(buildout):
    assert run(buildout, DIFFERENT) == ""


def test_verbose_logs_and_picked_versions_are_those_of_stock(buildout, web, tmp_path):
    universe = Universe(tmp_path, buildout, web)
    unusable = tmp_path / "unusable"
    unusable.write_text("not a cache")
    wrong = {}
    for seed in seeds():
        configuration = Configuration(seed)
        configuration.runs = RUNS
        configuration.options["show-picked-versions"] = "true"
        stock = list(outcomes(universe, configuration, None))
        ours = list(outcomes(universe, configuration, unusable))
        for outcome in stock + ours:
            lines = [CHANGING.sub("...", it) for it in outcome.output]
            outcome.output = [it for it in lines if not it.startswith(OF_CACHE)]
        for arguments, before, after in zip(RUNS, stock, ours):
            found = differences(before, after, False)
            if found:
                wrong["%d %s" % (seed, arguments)] = found
    assert not wrong, "set EGGCACHE_SEEDS to repeat one:\n" + json.dumps(wrong, indent=1)[:20000]
