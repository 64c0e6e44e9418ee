"""What eggcache does faster than buildout has the same result, down to each line of a verbose log.

The cache is unusable here, so that it serves nothing. Thus the runs differ in nothing but in the faster
functions. Set EGGCACHE_SEEDS=FIRST-LAST for other random configurations.
"""

import json
import os
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
RUNS = [["-vv"], ["-v"], ["-q", "-N"], ["-vvo"]]


def unknown(buildout):
    """The functions that stay as they are in a buildout."""
    python = os.path.join(buildout.venv, "bin", "python")
    return subprocess.check_output([python, "-c", UNKNOWN], universal_newlines=True)


def test_each_supported_buildout_has_sources_that_are_known(buildout):
    assert unknown(buildout) == ""


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
        for arguments, before, after in zip(RUNS, stock, ours):
            found = differences(before, after, False)
            if found:
                wrong["%d %s" % (seed, arguments)] = found
    assert not wrong, "set EGGCACHE_SEEDS to repeat one:\n" + json.dumps(wrong, indent=1)[:20000]
