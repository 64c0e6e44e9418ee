"""How look-ups and listings grow with the number of eggs.

Indexes of 1,000, 10,000 and 100,000 rows (no blobs: what is measured is the index), by giving one
real egg many names and versions: the round trip of `find` through `eggcache serve`, and the wall time
of commands.
"""

import hashlib
import os
import random
import shlex
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time

import gc_wait
import measure
import results
from contenders import EGGCACHE as PROGRAM

SIZES = (1000, 10000, 100000)
VERSIONS = 10  # of each project
ASKED = 1000  # look-ups


def growth():
    work = tempfile.mkdtemp(prefix="eggcache-growth-")
    try:
        for size in SIZES:
            results.put("growth", {str(size): one(work, size)})
    finally:
        shutil.rmtree(work)


def one(work, size):
    cache = os.path.join(work, str(size))
    egg = gc_wait.make_egg(os.path.join(work, "eggs-%d" % size), "first")
    subprocess.check_call([PROGRAM, "-q", "--cache", cache, "add", egg])
    fill(os.path.join(cache, "index.sqlite"), size)
    found = {"find": find(cache, size)}
    name = "project-%d" % (size // VERSIONS // 2)
    for what, arguments in {
        "--version": "--version",
        "list, one project": "list %s" % name,
        "list, one version": "list %s==1.0" % name,
        "list": "list",
        "gc --dry-run": "--json gc --dry-run --keep-versions 3 --max-age 1d",
    }.items():
        command = [PROGRAM, "--cache", cache] + shlex.split(arguments)
        found[what] = statistics.median(1000 * measure.run(command)[0] for _ in range(5))
    for what, told in found.items():
        print("%7d eggs  %-18s %9.2f ms" % (size, what, told), flush=True)
    return found


def fill(index, size):
    connection = sqlite3.connect(index)
    cursor = connection.execute("SELECT * FROM eggs")
    columns = [column[0] for column in cursor.description]
    row = dict(zip(columns, cursor.fetchone()))
    now = int(time.time())

    def rows():
        for number in range(size - 1):
            name, version = "project-%d" % (number // VERSIONS), "1.%d" % (number % VERSIONS)
            digest = hashlib.sha256(b"%d" % number).hexdigest()
            file_name = "%s-%s-py3.11.egg" % (name.replace("-", "_"), version)
            changed = {"name": name, "version": version, "digest": digest, "file_name": file_name}
            yield [{**row, **changed, "used_at": now - number}[column] for column in columns]

    marks = ", ".join("?" * len(columns))
    with connection:
        connection.executemany("INSERT INTO eggs VALUES (%s)" % marks, rows())
    connection.close()


def find(cache, size):
    """Milliseconds of one `find`, through the pipe and back."""
    bridge = gc_wait.Bridge(cache)
    times = []
    for _ in range(ASKED):
        name = "project-%d" % random.randrange((size - 1) // VERSIONS)
        begin = time.perf_counter()
        eggs = bridge.ask({"op": "find", "name": name, "variant": ""})["eggs"]
        times.append(1000 * (time.perf_counter() - begin))
        assert len(eggs) == VERSIONS, (name, len(eggs))
    bridge.close()
    return statistics.median(times)

