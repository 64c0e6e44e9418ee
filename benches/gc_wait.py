"""Measure how long a buildout waits for the cache while `gc` removes thousands of eggs from it.

    python3 benches/gc_wait.py [EGGS [FOLDER]]

Makes a cache of EGGS (default: 2000) small eggs in FOLDER (default: the folder for temporary files). One
`eggcache serve` then finds, materializes and stores eggs in a loop: first alone, then in parallel with
one `eggcache gc --max-age 0s`. Prints the median and the longest wait of each request. Both figures
include the time that the loop itself needs for the disk.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.environ.get("EGGCACHE") or os.path.join(ROOT, "target", "release", "eggcache")
ALONE = 100  # turns of the loop without gc
HOST = {
    "implementation": "cp",
    "python": "3.11",
    "soabi": "cpython-311-x86_64-linux-gnu",
    "platform": "linux-x86_64",
    "libc": "glibc 2.36",
    "generation": 5,
    "environment": "",
}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    work = tempfile.mkdtemp(prefix="eggcache-bench-", dir=sys.argv[2] if len(sys.argv) > 2 else None)
    try:
        cache = os.path.join(work, "cache")
        for number in range(count):
            make_egg(os.path.join(work, "eggs"), "old%d" % number)
        subprocess.check_call([PROGRAM, "-q", "--cache", cache, "add", os.path.join(work, "eggs")])
        time.sleep(2)  # --max-age counts whole seconds
        bridge = Bridge(cache)
        turns = Turns(work, bridge)
        for _ in range(ALONE):
            turns.turn()
        tell("without gc", turns.take())

        begin = time.monotonic()
        with tempfile.TemporaryFile() as report:  # a pipe would fill
            command = [PROGRAM, "--json", "--cache", cache, "gc", "--max-age", "0s"]
            gc = subprocess.Popen(command, stdout=report)
            while gc.poll() is None:
                turns.turn()
            seconds = time.monotonic() - begin
            report.seek(0)
            evicted = len(json.load(report)["evicted"])
        tell("with gc", turns.take())
        assert gc.returncode == 0 and evicted >= count, (gc.returncode, evicted)
        print("gc removed %d eggs in %.1f s" % (evicted, seconds))
        bridge.close()
        subprocess.check_call([PROGRAM, "-q", "--cache", cache, "verify"])
    finally:
        shutil.rmtree(work)


class Turns:
    """The loop, and the duration of each of its requests."""

    def __init__(self, work, bridge):
        self.work = work
        self.bridge = bridge
        self.number = 0
        self.waits = {}

    def turn(self):
        name = "new%d" % self.number
        self.number += 1
        egg = make_egg(os.path.join(self.work, "new"), name)
        request = {"op": "store", "path": egg, "source_sha256": "", "variant": ""}
        self.ask(request)
        # Usually one; none if gc has just evicted it at the age of a second.
        for found in self.ask({"op": "find", "name": name, "variant": ""})["eggs"]:
            into = os.path.join(self.work, "out")
            self.ask({"op": "materialize", "digest": found["digest"], "into": into})

    def ask(self, request):
        begin = time.monotonic()
        answer = self.bridge.ask(request)
        self.waits.setdefault(request["op"], []).append(time.monotonic() - begin)
        return answer

    def take(self):
        waits, self.waits = self.waits, {}
        return waits


class Bridge:
    def __init__(self, cache):
        self.process = subprocess.Popen(
            [PROGRAM, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.answer()
        self.ask({"op": "open", "cache": cache, "host": HOST, "buildout": "5", "setuptools": "80"})

    def ask(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        answer = {"busy": True}
        while "busy" in answer:
            answer = json.loads(self.process.stdout.readline())
        assert answer.get("kind", "unusable") == "unusable", answer
        return answer

    def close(self):
        self.ask({"op": "close"})
        self.process.stdin.close()
        self.process.wait()


def make_egg(folder, name):
    egg = os.path.join(folder, "%s-1.0-py3.11.egg" % name)
    info = os.path.join(egg, "%s-1.0.dist-info" % name)
    os.makedirs(info)
    with open(os.path.join(info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name)
    with open(os.path.join(egg, "%s.py" % name), "w") as file:
        file.write("name = %r\n" % name * 100)
    return egg


def tell(when, waits):
    for op in ("find", "materialize", "store"):
        times = waits.get(op)
        if times:
            print(
                "%-10s  %-11s  median %7.1f ms, longest %8.1f ms, of %d"
                % (when, op, 1000 * statistics.median(times), 1000 * max(times), len(times))
            )


if __name__ == "__main__":
    main()
