"""Materialize against `cp -a`: the same eggs, fresh folders, alternating, warm and cold.

    python3 benches/materialize.py EGGS_DIRECTORY [ROUNDS]

EGGS_DIRECTORY is any folder of built eggs. Nothing is deleted between runs, as ext4 creates files
slowly after it has deleted many. Cold needs root, to drop the page cache. Prints medians of wall
time, and of user and system time together.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "target", "release", "eggcache")


def main():
    eggs = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    # Beside the eggs, so that both contenders use one file system.
    work = tempfile.mkdtemp(prefix="eggcache-bench-", dir=os.path.dirname(eggs))
    try:
        cache = os.path.join(work, "cache")
        subprocess.check_call([PROGRAM, "-q", "--cache", cache, "add", eggs])
        kept, given = du(os.path.join(cache)), du(eggs)
        print("cache / eggs directory on disk: %.2f (%d / %d KiB)" % (kept / given, kept, given))
        compare(work, eggs, cache, rounds, "warm", lambda: os.sync())
        if os.geteuid() == 0:
            compare(work, eggs, cache, rounds, "cold", drop_caches)
    finally:
        shutil.rmtree(work)


def compare(work, eggs, cache, rounds, name, before):
    contenders = {
        "eggcache": lambda into: [PROGRAM, "-q", "--cache", cache, "materialize", "--all", "--into", into],
        "cp -a": lambda into: ["cp", "-a", eggs, into],
    }
    times = {contender: [] for contender in contenders}
    for number in range(rounds + 1):
        for contender, command in contenders.items():
            into = os.path.join(work, "%s-%s-%d" % (name, contender.split()[0], number))
            before()
            measured = timed(command(into))
            if number > 0:  # the first warms up
                times[contender].append(measured)
    median = {
        contender: [statistics.median(column) for column in zip(*rows)]
        for contender, rows in times.items()
    }
    for contender, (wall, cpu) in median.items():
        print("%s  %-9s %.3f s wall, %.3f s user+sys" % (name, contender, wall, cpu))
    ratio = median["eggcache"][0] / median["cp -a"][0]
    print("%s  eggcache / cp -a: %.2f of %d runs each" % (name, ratio, rounds))


def timed(command):
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.check_call(command)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return wall, cpu


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def du(path):
    return int(subprocess.check_output(["du", "-sk", path]).split()[0])


if __name__ == "__main__":
    main()
