"""Measure how everything grows with the number of eggs.

For caches of 1,000, 10,000 and 100,000 small eggs of 100 entries each (benches/synthetic.rs), each on its
own file system: the time of operations on one egg and of whole commands, with their peak memory.

    GROWTH="1000 10000"    other sizes

The largest cache takes about 2 GB of disk.
"""

import os
import random
import sqlite3
import statistics
import subprocess
import time

import contenders
import filesystems
import gc_wait
import measure
import results
from contenders import EGGCACHE as PROGRAM

SIZES = [int(size) for size in os.environ.get("GROWTH", "1000 10000 100000").split()]
SYNTHETIC = os.path.join(contenders.ROOT, "target", "release", "examples", "synthetic")
VERSIONS = 10  # of each project
ASKED = 1000  # number of `find` requests
ADDED = 32  # eggs per `add`
RUNS, SECONDS = 9, 5  # of one command: stop after so many runs or seconds


def growth():
    for size in SIZES:
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            figures = one(place.path, size)
        results.put("growth", {str(size): figures})
        for what, taken in figures.items():
            print("%7d eggs  %-20s %s" % (size, what, taken), flush=True)


def one(folder, size):
    cache = os.path.join(folder, "cache")
    subprocess.check_call([SYNTHETIC, "make", str(size), cache])
    found = {"reindex": measured(cache, ["reindex"], lambda _: remove_index(cache))}
    eggs, entries, content, stored = counted(cache)
    assert (eggs, entries) == (size, 100 * size), (eggs, entries)
    found["made"] = {"eggs": eggs, "entries": entries, "bytes": content, "stored": stored}
    found["find"] = {"wall": find(cache, size)}
    milliseconds = subprocess.check_output([SYNTHETIC, "look-up", cache])
    found["look-up"] = {"wall": float(milliseconds) / 1000}
    name = "project-%d" % (size // VERSIONS // 2)
    found["--version"] = measured(cache, ["--version"])
    found["list, one version"] = measured(cache, ["list", name + "==1.0"])
    found["list, one project"] = measured(cache, ["list", name])
    found["list"] = measured(cache, ["list"])
    keep = ["gc", "--keep-versions"]
    found["gc --dry-run"] = measured(cache, keep + ["3", "--dry-run"])
    found["verify"] = measured(cache, ["verify"])
    new = [os.path.join(folder, "new-%d" % turn) for turn in range(RUNS)]
    for turn, place in enumerate(new):
        for number in range(ADDED):
            gc_wait.make_egg(place, "new%dof%d" % (number, turn))
    found["add"] = measured(cache, ["add"], lambda turn: [new[turn]])
    tenth = measured(cache, keep, lambda turn: [str(VERSIONS - 1 - turn)], runs=3)
    found["gc, a tenth"] = {**tenth, "eggs": size // VERSIONS}
    left = counted(cache)[0]
    assert left == size - tenth["rounds"] * (size // VERSIONS) + ADDED * found["add"]["rounds"], left
    time.sleep(2)  # --max-age counts whole seconds
    found["gc, all"] = {**measured(cache, ["gc", "--max-age", "0s"], runs=1), "eggs": left}
    assert counted(cache)[0] == 0
    return found


def measured(cache, words, more=lambda _: None, runs=RUNS):
    """Measure a command several times; `more` gets the number of the run and returns extra arguments."""
    taken = []
    while len(taken) < runs and sum(wall for wall, *_ in taken) < SECONDS:
        command = [PROGRAM, "--cache", cache] + words + (more(len(taken)) or [])
        os.sync()
        taken.append(measure.run(command))
    return measure.summary(taken)


def remove_index(cache):
    for name in os.listdir(cache):
        if name.startswith("index.sqlite"):
            os.remove(os.path.join(cache, name))


def counted(cache):
    """The number of eggs and entries, and their bytes before and after compression."""
    connection = sqlite3.connect(os.path.join(cache, "index.sqlite"))
    entries = "sum(files + directories + symlinks), sum(bytes), sum(blob_bytes)"
    row = connection.execute("SELECT count(*), %s FROM eggs" % entries).fetchone()
    connection.close()
    return row


def find(cache, size):
    """Median seconds of one `find` request through the pipe."""
    bridge = gc_wait.Bridge(cache)
    times = []
    for _ in range(ASKED):
        name = "project-%d" % random.randrange(size // VERSIONS)
        begin = time.perf_counter()
        eggs = bridge.ask({"op": "find", "name": name, "variant": ""})["eggs"]
        times.append(time.perf_counter() - begin)
        assert len(eggs) == VERSIONS, (name, len(eggs))
    bridge.close()
    return statistics.median(times)
