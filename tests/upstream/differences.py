"""What passes without the cache and does not with it, and why.

A test of zc.buildout is a document of many examples. Each that differs is named by its line.
"""

import re

#: Why a test may differ. A user would want each of these.
REASONS = {
    "not built": "An egg from the cache is not built, so the log has no lines about the build (level DEBUG).",
    "not fetched": "An egg from the cache is not downloaded. For a pin, the index is not asked either. The "
    "download cache lacks the archive, so `install-from-cache` does not find it; "
    "`egg-cache-fetch-archives = true` adds archives.",
    "frames": "A traceback of an error in a recipe has lines of this package.",
}
#: (test, zc.buildout): reason -> lines of the examples that may differ for it.
EXPLAINED = {
    ("easy_install.txt", "6.0.1"): {
        "not built": {330},
        "not fetched": {1423, 1450, 1466, 1491, 1532, 1536},
    },
    ("easy_install.txt", "2.13.8"): {
        "not built": {328},
        "not fetched": {1388, 1415, 1431, 1456, 1497, 1501},
    },
    ("easy_install.txt", "4.2.0"): {
        "not built": {330},
        "not fetched": {1424, 1451, 1467, 1492, 1533, 1537},
    },
    ("debugging.txt", "2.13.8"): {"frames": {71}},
}
_EXAMPLE = re.compile(r'^File ".*", line (\d+), in .*\nFailed example:', re.M)


def failing(outcome):
    """The lines of the examples that fail; an outcome without such lines is one that fails as a whole."""
    if outcome == "ok":
        return set()
    return {int(line) for line in _EXAMPLE.findall(outcome)} or {0}


def differences_of(results, versions, modes):
    """Test and reason -> the runs, as version and mode, that differ from the one without the cache.

    The reason is None for what is not explained.
    """
    found = {}
    for version in versions:
        runs = results.get(version, {})
        stock = runs.get(modes[0], {}).get("outcomes", {})
        for mode in modes[1:]:
            for test, outcome in runs.get(mode, {}).get("outcomes", {}).items():
                if test in stock:
                    lines = failing(outcome) ^ failing(stock[test])
                    for why in _reasons(lines, EXPLAINED.get((test, version), {})):
                        found.setdefault((test, why), []).append((version, mode))
    return found


def _reasons(lines, explained):
    for why, expected in explained.items():
        if lines & expected:
            yield why
    if lines - set().union(*explained.values()):
        yield None
