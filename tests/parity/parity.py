"""Eggs of popular wheels, made by pip and by eggcache, for each Python and zc.buildout: are they the same?

``make parity`` runs it, and writes a table into docs/reference/convert.md. The first argument is a regular
expression: only cells whose names match it are tried, such as ``3.12 6.0.1``. The second one is how many
wheels each cell tries at most. Two builders also convert the wheels, in another order: are their eggs equal? Results are kept in build/parity.json: another run tries the rest. Wheels
and environments are below build/parity/.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "python"))

import pythons  # noqa: E402

PINS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wheels.txt")
BUILD = os.path.join(ROOT, "build", "parity")
RESULTS = os.path.join(ROOT, "build", "parity.json")
PAGE = os.path.join(ROOT, "docs", "reference", "convert.md")
BEGIN, END = "<!-- begin: parity -->", "<!-- end: parity -->"
PROGRAM = os.path.join(ROOT, "target", "release", "eggcache")

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: Name of the stock buildout -> zc.buildout, setuptools and pip; None for the pip that comes with the Python.
BUILDOUTS = {
    "5.2.0": ("5.2.0", "80.9.0", None),
    "6.0.1": ("6.0.1", "81.0.0", "25.3"),
    # This pip blocks imports while it installs.
    "6.0.1 pip 26.3": ("6.0.1", "81.0.0", "26.3"),
}
NO_WHEEL = "no wheel"
#: How many processes compare, and how many wheels each gets at once.
WORKERS, BATCH = 2, 10
#: How many wheels pip downloads at once.
DOWNLOADS = 50


def all_cells(wanted):
    """The cells as Python and stock buildout."""
    for python in PYTHONS:
        for buildout in BUILDOUTS:
            if re.search(wanted, "%s %s" % (python, buildout)):
                yield python, buildout


def all_pins():
    with open(PINS) as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith("#")]


def run(command, **kw):
    """Run a command without the user's configuration of pip, and return what it says."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EGGCACHE"))}
    environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, text=True, **kw)


def environment(path, python, buildout):
    """The Python of a virtual environment with zc.buildout."""
    venv = os.path.join(BUILD, "venv-%s-%s" % (python, buildout.replace(" ", "-")))
    program, stamp = os.path.join(venv, "bin", "python"), os.path.join(venv, "stamp")
    if not os.path.exists(stamp):
        version, setuptools, pip = BUILDOUTS[buildout]
        run([path, "-m", "venv", "--clear", venv], check=True)
        if pip:
            run([program, "-m", "pip", "install", "-q", "pip==" + pip], check=True)
        pins = ["zc.buildout==" + version, "setuptools==" + setuptools, "wheel==0.45.1"]
        run([program, "-m", "pip", "install", "-q"] + pins, check=True)
        open(stamp, "w").close()
    return program


class Wheels:
    """The wheels of one Python, downloaded once. ``known`` has the file name for each pin."""

    def __init__(self, python, program):
        self.folder = os.path.join(BUILD, "wheels-" + python)
        self.program = program
        os.makedirs(self.folder, exist_ok=True)
        self.index = os.path.join(self.folder, "known.json")
        self.known = load(self.index, {})

    def fetch(self, pins):
        """Download what is missing. A pin without a wheel gets None."""
        missing = [pin for pin in pins if pin not in self.known]
        for start in range(0, len(missing), DOWNLOADS):
            self._download(missing[start : start + DOWNLOADS])
            save(self.index, self.known)

    def _download(self, pins):
        command = [self.program, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        while pins:
            done = run(command + ["-d", self.folder] + pins, stderr=subprocess.PIPE)
            if done.returncode == 0:
                break
            refused = re.search(r"No matching distribution found for (\S+)", done.stderr)
            if refused is None or refused.group(1) not in pins:
                sys.exit("pip download fails:\n" + done.stderr)
            pins.remove(refused.group(1))
            self.known[refused.group(1)] = None
        by_project = {}
        for path in glob.glob(os.path.join(glob.escape(self.folder), "*.whl")):
            name = os.path.basename(path)
            by_project[normalized(name.split("-")[0])] = name
        self.known.update((pin, by_project[normalized(pin.split("==")[0])]) for pin in pins)


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def compare(program, paths):
    """Compare what pip and eggcache make of wheels. Returns a result for each path."""
    command = [PROGRAM, "--json", "convert", "--check", "--python", program]
    done = run(command + paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in (0, 4):
        sys.exit("eggcache convert --check fails:\n" + done.stderr)
    wheels = json.loads(done.stdout)["wheels"]
    found = {it.pop("wheel"): it for it in wheels}
    for path in unequal(program, [path for path in paths if found[path]["verdict"] == "same"]):
        found[path] = {"verdict": "differs", "files": [{"path": "", "what": "another builder's egg"}]}
    return found


def unequal(program, paths):
    """The wheels whose eggs depend on their order or on the number of compilers."""
    if not paths:
        return []
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        one, other = os.path.join(folder, "one"), os.path.join(folder, "other")
        eggs = converted(program, paths, one, "2")
        converted(program, paths[::-1], other, "1")
        is_equal = lambda egg: contents(os.path.join(one, egg)) == contents(os.path.join(other, egg))
        return [path for path, egg in eggs.items() if not is_equal(egg)]


def converted(program, paths, into, threads):
    """Convert wheels, and return the name of the egg for each path."""
    command = ["env", "RAYON_NUM_THREADS=" + threads, PROGRAM, "--json", "convert", "--compile-all"]
    command += ["--python", program, "--into", into]
    done = run(command + paths, stdout=subprocess.PIPE, check=True)
    return {it["wheel"]: it["egg"] for it in json.loads(done.stdout)["wheels"]}


def contents(egg):
    """The content of each file."""
    found = {}
    for folder, _, names in os.walk(egg):
        for path in (os.path.join(folder, name) for name in names):
            with open(path, "rb") as file:
                found[os.path.relpath(path, egg)] = file.read()
    return found


def try_cell(python, buildout, pins, results):
    """Compare the wheels of a cell that have no result yet. False if this machine lacks the Python."""
    path = pythons.find(python)
    if path is None:
        return False
    program = environment(path, python, buildout)
    cell = results.setdefault("%s %s" % (python, buildout), {"wheels": {}})
    cell["pip"] = run([program, "-m", "pip", "--version"], check=True, stdout=subprocess.PIPE).stdout.split()[1]
    wheels = Wheels(python, program)
    wheels.fetch(pins)
    paths = {}
    for pin in pins:
        if wheels.known[pin] is None:
            cell["wheels"][pin] = {"verdict": NO_WHEEL}
        elif pin not in cell["wheels"]:
            paths[os.path.join(wheels.folder, wheels.known[pin])] = pin
    todo, started = sorted(paths), time.monotonic()
    batches = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    with ThreadPoolExecutor(WORKERS) as workers:
        for found in workers.map(lambda batch: compare(program, batch), batches):
            cell["wheels"].update((paths[path], result) for path, result in found.items())
            save(RESULTS, results)
            for path, result in found.items():
                if result["verdict"] in ("differs", "failed"):
                    print("%s %s: %s: %s" % (python, buildout, paths[path], json.dumps(result)), flush=True)
    save(RESULTS, results)
    seconds = time.monotonic() - started
    print("%s %s: %d wheels compared in %d s" % (python, buildout, len(todo), seconds), flush=True)
    return True


def load(path, default):
    if not os.path.exists(path):
        return default
    with open(path) as file:
        return json.load(file)


def save(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
    os.rename(path + ".new", path)


def table(results):
    """The results in Markdown. A cell that was not tried has no line."""
    yield "| Python | zc.buildout | pip | wheels | files | of them compiled | same | different | left to buildout |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|"
    for python, buildout in all_cells(""):
        cell = results.get("%s %s" % (python, buildout))
        if not cell:
            continue
        found = [it for it in cell["wheels"].values() if it["verdict"] != NO_WHEEL]
        counts = {verdict: 0 for verdict in ("same", "differs", "failed", "left")}
        for it in found:
            counts[it["verdict"]] += 1
        files = sum(it.get("files", 0) for it in found if it["verdict"] == "same")
        compiled = sum(it.get("compiled", 0) for it in found)
        numbers = [len(found), files, compiled, counts["same"]]
        numbers += [counts["differs"] + counts["failed"], counts["left"]]
        row = [python, BUILDOUTS[buildout][0], cell["pip"]] + [format(number, ",") for number in numbers]
        yield "| %s |" % " | ".join(row)


def reasons(results):
    """Why wheels were left to buildout, in Markdown."""
    left = {}
    for cell in results.values():
        for pin, it in cell["wheels"].items():
            if it["verdict"] == "left":
                left[pin] = it["reason"]
    return ["%s is left: %s." % (pin, left[pin]) for pin in sorted(left)]


def write_page(results):
    """Write the table into the page, between its markers."""
    with open(PAGE) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    lines = list(table(results))
    left = reasons(results)
    if left:
        lines += ["", "\n".join(left)]
    with open(PAGE, "w") as file:
        file.write("%s%s\n%s\n%s%s" % (before, BEGIN, "\n".join(lines), END, after))


def main():
    arguments = sys.argv[1:] + ["", ""]
    pins = all_pins()
    if arguments[1]:
        # Some of each kind.
        step = max(len(pins) // int(arguments[1]), 1)
        pins = pins[::step][: int(arguments[1])]
    os.makedirs(BUILD, exist_ok=True)
    results = load(RESULTS, {})
    for python, buildout in all_cells(arguments[0]):
        if not try_cell(python, buildout, pins, results):
            print("%s %s: no such Python" % (python, buildout))
    print("\n".join(table(results)))
    write_page(results)
    verdicts = [it["verdict"] for cell in results.values() for it in cell["wheels"].values()]
    sys.exit("differs" in verdicts or "failed" in verdicts)


if __name__ == "__main__":
    main()
