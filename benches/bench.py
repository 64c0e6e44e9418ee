"""Measure, and write down what was measured: `make bench`.

    python3 benches/bench.py [SECTION ...]

Without sections, all of them run. Each writes to docs/explanation/performance/results.json, from which
benches/report.py makes the tables and plots of docs/explanation/performance.md.

    BENCH_EGGS="NAME=DIRECTORY ..."   other eggs than the two pinned corpora
    FILESYSTEMS="ext4 btrfs xfs"      what to measure on; `folder` is a plain folder
    ROUNDS=5                          of each set; a large corpus has fewer by default
    POPULATE="web-generation4 web"    cold buildouts of the section populate; by default the first
    GROWTH="1000 10000 100000"        eggs in the caches of the section growth
"""

import importlib
import os
import signal
import sys
import time

import contenders

# Each is a module and a function of it without arguments.
SECTIONS = {
    "materialize": ("sections", "materialize"),
    "add": ("sections", "add"),
    "verify": ("sections", "verify"),
    "gc": ("sections", "gc"),
    "size": ("sections", "size"),
    "encodings": ("choices", "encodings"),
    "packings": ("choices", "packings"),
    "buildouts": ("buildouts", "buildouts"),
    "populate": ("populate", "populate"),
    "growth": ("growth", "growth"),
    "remote": ("remote", "remote"),
    "unreachable": ("unreachable", "unreachable"),
}


def main():
    wanted = sys.argv[1:] or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        sys.exit("No section %s; there are %s" % (", ".join(unknown), ", ".join(SECTIONS)))
    if not os.path.exists(contenders.EGGCACHE):
        sys.exit("%s is missing: make build" % contenders.EGGCACHE)
    # So that file systems are unmounted then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in wanted:
        begin = time.monotonic()
        print("== %s" % name, flush=True)
        module, function = SECTIONS[name]
        getattr(importlib.import_module(module), function)()
        print("== %s took %.0f s" % (name, time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    main()
