"""Random configurations end with the cache as they do without it.

Each configuration is run in a folder without the cache, and then in a folder of the same path with a
cache that has some of the versions: exit status, eggs, scripts, `.installed.cfg`, picked versions and log
lines must be the same. Where a documented rule allows the cache to serve what stock buildout would not
choose, stock buildout gets what the rule says (`references`). `make differential` tries 200
configurations; set EGGCACHE_SEEDS=FIRST-LAST for those of these seeds.
"""

import json
import os

import pytest

from configurations import Configuration, seeds
from outcomes import differences, outcomes
from references import compare_with_cached_eggs, compare_with_own_eggs, pinned_spellings, sees_eggs_offline
from universe import Universe

#: Seeds that have found something, or do if the cache offers another version than the best: for every run,
#: in a sample with the newest version alone.
KEPT = [1, 105, 115, 120, 160, 211, 249, 267, 377]


def compare(universe, configuration):
    """What differs between the runs of a configuration without the cache and with it."""
    if configuration.is_exact:
        return compare_with_stock(universe, configuration)
    return compare_with_own_eggs(universe, configuration) + compare_with_cached_eggs(universe, configuration)


def compare_with_stock(universe, configuration):
    """What differs where buildout asks the index, or has installed everything in the run before."""
    runs = [sees_eggs_offline(universe, it) for it in configuration.runs]
    stock = list(outcomes(universe, configuration, None, runs))
    cache = universe.make_cache(configuration.cached)
    installed = pinned_spellings(universe, configuration, cache, stock)
    if installed:
        stock = list(outcomes(universe, configuration, None, runs, installed))
    found = []
    for number, ours in enumerate(outcomes(universe, configuration, cache)):
        arguments = configuration.runs[number]
        if {"-N", "-o"} & set(arguments) and stock[number - 1].status != 0:
            # What the run before has not installed, the cache may have.
            continue
        lines = differences(stock[number], ours, configuration.is_verbose(arguments), bool(installed))
        found += ["run %d %s: %s" % (number, arguments, line) for line in lines]
    return found


def test_random_configurations_end_as_without_the_cache(buildout, newest_buildout, web, tmp_path):
    universe = Universe(tmp_path, buildout, web)
    wrong = {}
    is_sampled = os.environ.get("EGGCACHE_SAMPLE") and buildout.version != newest_buildout.version
    for seed in seeds([] if is_sampled else KEPT):
        found = compare(universe, Configuration(seed))
        if found:
            wrong[seed] = found
    report = json.dumps(wrong, indent=1)
    assert not wrong, "set EGGCACHE_SEEDS to repeat one:\n" + report[:20000]
    assert len(universe.known) > 5


if __name__ == "__main__":
    pytest.main([__file__])
