"""Run measurements and store the results: `make bench`.

    python3 benches/bench.py [SECTION ...]

Without sections, all of them run. Each writes to docs/explanation/performance/results.json, from which
benches/report.py makes the tables and plots of docs/explanation/performance.md.

    BENCH_EGGS="NAME=DIRECTORY ..."   eggs to use instead of the two pinned corpora
    FILESYSTEMS="ext4 btrfs xfs"      file systems to measure on; `folder` is a plain folder
    ROUNDS=5                          rounds of each set; a large corpus has fewer by default
    POPULATE="web-generation4 web"    corpora of the section populate; by default the first
    COLD="web scientific"             corpora of the sections cold and memory; by default both
    GROWTH="1000 10000 100000"        cache sizes of the section growth, in eggs
    SBOM=334                          eggs of the buildout of the section sbom
"""

import importlib
import os
import signal
import sys
import time

import contenders

# Each section is a module and a function in it without arguments.
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
    "cold": ("cold", "cold"),
    "memory": ("cold", "memory"),
    "growth": ("growth", "growth"),
    "remote": ("remote", "remote"),
    "unreachable": ("unreachable", "unreachable"),
    "sbom": ("sbom", "sbom"),
}


def main():
    wanted = sys.argv[1:] or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        sys.exit("unknown section %s; the sections are %s" % (", ".join(unknown), ", ".join(SECTIONS)))
    if not os.path.exists(contenders.EGGCACHE):
        sys.exit("%s is missing: run `make build`" % contenders.EGGCACHE)
    # Exit normally on SIGTERM, so that file systems are unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in wanted:
        begin = time.monotonic()
        print("== %s" % name, flush=True)
        module, function = SECTIONS[name]
        getattr(importlib.import_module(module), function)()
        print("== %s took %.0f s" % (name, time.monotonic() - begin), flush=True)


if __name__ == "__main__":
    main()
