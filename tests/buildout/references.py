"""What runs without the index are compared with: runs of stock buildout that have the eggs of the cache.

With `-N` (`newest = false`) and `-o`, the rules of docs/explanation/which-egg.md allow the cache to serve
another version than a new folder of stock buildout would have. Two comparisons are exact all the same:

- The cache has the eggs that stock buildout has installed with `-N`, and no others. Then it can serve no
  other version, and all is the same (`compare_with_own_eggs`).
- The cache has any eggs. Its eggs count as available, so stock buildout gets them in its eggs directory
  (`compare_with_cached_eggs`).
"""

import re

from configurations import LINKED
from eggcache._requirements import canonical
from outcomes import common_lines, configure, differences, egg_of, outcome, outcomes

#: Says which cached eggs have led to a conflict.
REJECTED = re.compile(r"^eggcache: (.*) from the cache cannot be used with the other eggs;", re.M)

#: Why a cached egg is not served (which-egg.md). Stock buildout finds it only where nothing else requires it.
UNFIT = "this buildout does not find the project by the file name of the cached egg"

#: Buildout has failed to build an egg from an archive.
FAILED_BUILD = re.compile(r"^An error occurred when trying to install |^Failed to run command:", re.M)

#: The internal error of zc.buildout 3 that has installed an egg and then does not find it.
UNSEEN = "TypeError: ('Expected str, Requirement, or Distribution', None)"


def sees_eggs_offline(universe, arguments):
    """The arguments of a run of stock buildout that sees all installed eggs and builds none.

    Offline, buildout 3 and later do not see eggs that hold only a dist-info directory. With `-N`, they do.
    """
    return ["-N" if it == "-o" and universe.buildout.generation > 2 else it for it in arguments]


def pinned_spellings(universe, configuration, cache, stock):
    """The cached eggs because of which buildout can work where it fails by itself (which-egg.md).

    A run may fail because the index has no page of ``gamma.ns`` with another spelling. For ``Gamma_NS``,
    buildout finds an installed egg all the same. A cached one counts as installed if it is pinned, before buildout 4
    in a spelling that differs in nothing but case, dashes and underscores.
    """
    found = re.search(r"Couldn't find a distribution for '([\w.-]+)", "\n".join(stock[-1].output))
    if stock[-1].status == 0 or not found or canonical(found.group(1)) != "gamma-ns":
        return []
    same = canonical if universe.buildout.generation > 3 else lambda name: name.lower().replace("_", "-")
    pins = {version for name, version in configuration.spelled_pins() if same(name) == "gamma-ns"}
    eggs = universe.listed(cache)
    return [egg for egg in eggs if egg["name"] == "gamma-ns" and egg["version"] in pins]


def compare_with_own_eggs(universe, configuration):
    """What differs from stock buildout with `-N`, if a cache is empty, and if it has just what that has installed.

    Offline it fails if the egg of a wheel has a file name by which ``pkg_resources`` does not find the
    project. So it does if a version with a local part is installed that no pin names. What stock buildout
    fails to build is not in the cache, and offline there is nothing to build it from.
    """
    runs = [[it.replace("-o", "-N") for it in arguments] for arguments in configuration.runs]
    stock = list(outcomes(universe, configuration, None, runs))
    cache = universe.no_cache()
    filling = list(outcomes(universe, configuration, cache, runs))
    ours = outcomes_without_network(universe, configuration, cache)
    found = []
    for number, arguments in enumerate(configuration.runs):
        is_verbose = configuration.is_verbose(arguments)
        lines = differences(stock[number], filling[number], is_verbose)
        found += ["empty cache, run %d %s: %s" % (number, runs[number], line) for line in lines]
        if UNFIT in ours[number].raw and "-o" in arguments and ours[number].status != 0:
            lines = []
        elif "-o" in arguments and ours[number].status != 0 and has_local_version(stock[number]):
            lines = []
        elif configuration.is_offline and FAILED_BUILD.search(stock[number].raw):
            lines = differences(stock[number], ours[number], True, True)
        elif REJECTED.search(ours[number].raw):
            lines = differences_after_conflict(stock[number], stock[number], ours[number], is_verbose)
        else:
            lines = differences(stock[number], ours[number], is_verbose, "-o" in arguments)
        found += ["own eggs, run %d %s: %s" % (number, arguments, line) for line in lines]
    return found + other_choices(universe, configuration, stock)


def has_local_version(outcome):
    """Whether an egg is installed whose version has a local part, such as ``1.0+abc``."""
    return any("+" in (egg_of(path) or "") for path in outcome.files)


def outcomes_without_network(universe, configuration, cache):
    """The outcomes of all runs. Those that are offline have no index."""
    if not configuration.is_offline:
        return list(outcomes(universe, configuration, cache))
    universe.cut_network()
    try:
        return list(outcomes(universe, configuration, cache))
    finally:
        universe.restore_network()


def other_choices(universe, configuration, stock):
    """What is wrong with the versions that are chosen among any eggs in the cache.

    They satisfy all requirements: a run of stock buildout that can install nothing changes nothing.
    """
    cache = universe.make_cache(configuration.cached)
    ours = outcomes_without_network(universe, configuration, cache)[-1]
    if ours.status != 0:
        is_right = configuration.is_offline or stock[-1].status != 0
        return [] if is_right else ["fails with the cache"] + ours.output[-20:]
    if ours.has_two_versions():
        # Stock buildout would take the newest one for all parts.
        return []
    configure(universe, configuration, None)
    with universe.nothing_else():
        again = outcome(universe, ["-N"])
    for name in ("picked.cfg", ".installed.cfg"):
        # Stock buildout extends these in some runs.
        again.files.pop(name, None)
        ours.files.pop(name, None)
    return ["chosen versions: " + line for line in differences(ours, again, True, True)]


def compare_with_cached_eggs(universe, configuration):
    """What differs if stock buildout has the eggs of any cache in its eggs directory.

    This is so for one part: of several, the first one may install an egg of the index, or a cached one, that
    is as good for the others as a better one in the cache.
    """
    one = configuration.of_first_part()
    cache = universe.make_cache(one.cached)
    ours = outcomes_without_network(universe, one, cache)
    rejected = {tuple(it.split(" ")) for run in ours for text in REJECTED.findall(run.raw) for it in text.split(", ")}
    available = available_eggs(universe, one, cache)
    first = stock = outcomes_with_eggs(universe, one, available)
    found = []
    if rejected and stock[-1].status == 0:
        found.append("rejects %s, which can be used" % sorted(rejected))
    if rejected and (ours[-1].status == 0 or not one.is_offline):
        # The next best versions are chosen. Where all fail offline, the log has the first failure.
        stock = outcomes_with_eggs(universe, one, without(rejected, available, one.is_offline))
    for number, arguments in enumerate(one.runs):
        is_verbose = one.is_verbose(arguments)
        if rejected:
            lines = differences_after_conflict(first[number], stock[number], ours[number], is_verbose)
        elif UNSEEN in stock[number].raw and ours[number].status != 0:
            # Ours has a proper error.
            lines = []
        elif UNFIT in ours[number].raw and 0 not in (stock[number].status, ours[number].status):
            # Stock buildout has found that egg, and lacks another one.
            lines = []
        else:
            lines = differences(stock[number], ours[number], is_verbose, True)
        found += ["cached eggs, run %d %s: %s" % (number, arguments, line) for line in lines]
    return found


def differences_after_conflict(first, stock, ours, is_verbose):
    """What differs after a conflict because of a cached egg, where ``first`` had that egg and ``stock`` had not.

    Buildout resolves once more and repeats its lines. Eggs that were copied in vain are removed again, as all
    are where it fails in the end.
    """
    if stock.status != ours.status or ours.status == 0:
        found = differences(stock, ours, True, True)
    else:
        found = []
    if not is_verbose:
        before, after = common_lines(stock.output, ours.output), common_lines(ours.output, stock.output)
        known = before + common_lines(first.output, ours.output)
        found += ["- " + line for line in before if line not in after]
        found += ["+ " + line for line in after if line not in known]
    return found


def outcomes_with_eggs(universe, configuration, eggs):
    """The outcomes of stock buildout that has eggs in its eggs directory."""
    runs = [sees_eggs_offline(universe, it) for it in configuration.runs]
    if not configuration.is_offline:
        return list(outcomes(universe, configuration, None, runs, eggs))
    with universe.nothing_else():
        return list(outcomes(universe, configuration, None, runs, eggs))


def available_eggs(universe, configuration, cache):
    """The cached eggs that count as available (which-egg.md)."""
    return [egg for egg in universe.listed(cache) if is_available(configuration, egg["name"], egg["version"])]


def is_available(configuration, name, version):
    has_local = any("+" in text for text in configuration.requirements())
    if "+" in version:
        # A version with a local part is served only to a pin that names it.
        return (name, version) in configuration.pins()
    if configuration.is_offline:
        return True
    if name == "delta-under" and has_local:
        # Buildout asks the index if a requirement excludes local versions.
        return False
    # The archive must be one that this buildout would choose.
    is_linked = any(canonical(it) == name and version in versions for it, versions in LINKED.items())
    return configuration.has_links or not is_linked


def without(rejected, eggs, is_offline):
    """Eggs without those that were rejected. If there is an index, it decides on their projects."""
    versions = {(canonical(name), version) for name, version in rejected}
    projects = {name for name, _ in versions}
    if is_offline:
        return [egg for egg in eggs if (egg["name"], egg["version"]) not in versions]
    return [egg for egg in eggs if egg["name"] not in projects]
