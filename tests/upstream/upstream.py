"""The tests of zc.buildout and zc.recipe.egg themselves, without the cache and with it.

``make upstream`` runs it, and writes docs/reference/upstream.md, which says what the modes are. The first
argument is a regular expression: only runs whose names match it are done, such as ``6.0.1 fresh``. The
second one chooses tests. Results are kept in build/upstream/results.json, outputs and logs beside it.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", folder) for folder in ("buildout", "python")]

import pythons  # noqa: E402
from conftest import the_wheel  # noqa: E402
from differences import REASONS, differences_of  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(ROOT, "build", "upstream")
RESULTS = os.path.join(BUILD, "results.json")
PAGE = os.path.join(ROOT, "docs", "reference", "upstream.md")
MODES = ("off", "idle", "fresh", "warm", "shared")
#: In the last line of each run of buildout; what follows tells how misses were built.
HITS = re.compile(r"^(\d+) hits?, \d+ miss", re.M)


class Suite:
    """The tests of one version: its sources, and one environment without eggcache and one with it."""

    def __init__(self, version, recipe, python, setuptools, *needed):
        self.version, self.recipe, self.python = version, recipe, python
        self.setuptools, self.needed = setuptools, list(needed) + ["zope.testing", "manuel"]
        self.folder = os.path.join(BUILD, version)

    def prepare(self):
        """Make what is missing. False if this machine does not have the Python."""
        path = pythons.find(self.python)
        if path is None:
            return False
        for name, wheel in (("off", None), ("on", the_wheel())):
            venv = os.path.join(self.folder, name)
            stamp, wanted = os.path.join(venv, "stamp"), str(wheel and os.stat(wheel).st_mtime_ns)
            if not os.path.exists(stamp):
                shutil.rmtree(venv, ignore_errors=True)
                subprocess.check_call([path, "-m", "venv", venv])
                self._install(venv)
            if not os.path.exists(stamp) or open(stamp).read() != wanted:
                if wheel is not None:
                    _pip(venv, "install", "--force-reinstall", "--no-deps", wheel)
                with open(stamp, "w") as file:
                    file.write(wanted)
            if wheel is not None:
                shutil.copy(os.path.join(HERE, "upstream_cache.py"), _packages(venv))
                with open(os.path.join(_packages(venv), "upstream_cache.pth"), "w") as file:
                    file.write("import upstream_cache\n")
        return True

    def _install(self, venv):
        _pip(venv, "install", "setuptools==" + self.setuptools, "wheel==0.45.1")
        _pip(venv, "install", "--no-build-isolation", *self.needed)
        sources = [self._source(venv, "zc.buildout", self.version)]
        sources.append(self._source(venv, "zc.recipe.egg", self.recipe))
        path = [os.path.join(source, "src") for source in sources]
        if self.version.startswith("2."):
            path.append(self._setuptools_egg(venv))
        with open(os.path.join(venv, "path"), "w") as file:
            file.write(os.pathsep.join(path))

    def _source(self, venv, project, version):
        """The folder of an unpacked sdist."""
        folder = os.path.join(self.folder, project)
        if not os.path.isdir(folder):
            new = folder + ".new"
            sdist = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
            _pip(venv, "download", *sdist, "-d", new, "%s==%s" % (project, version))
            [archive] = glob.glob(os.path.join(glob.escape(new), "*.tar.gz"))
            shutil.unpack_archive(archive, new)
            os.rename(new, folder)
        [source] = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
        return source

    def _setuptools_egg(self, venv):
        """Install setuptools as an egg instead. The tests of buildout 2 see how it is installed."""
        eggs = os.path.join(venv, "eggs")
        _pip(venv, "download", "--no-deps", "-d", eggs, "setuptools==" + self.setuptools)
        code = (
            "import os, sys, setuptools.wheel\n"
            "wheel = setuptools.wheel.Wheel(sys.argv[1])\n"
            "egg = os.path.join(os.path.dirname(sys.argv[1]), wheel.egg_name())\n"
            "wheel.install_as_egg(egg)\n"
            "print(egg)\n"
        )
        [wheel] = glob.glob(os.path.join(glob.escape(eggs), "*.whl"))
        said = subprocess.check_output([_program(venv), "-c", code, wheel], universal_newlines=True)
        _pip(venv, "uninstall", "-y", "setuptools")
        return said.splitlines()[-1]

    def run(self, mode, wanted):
        """Run the tests in one mode, and return the outcome of each."""
        caches = os.path.join(self.folder, "caches")
        if mode == "fresh":
            shutil.rmtree(caches, ignore_errors=True)
        if mode == "shared":
            shutil.rmtree(os.path.join(caches, "of all tests"), ignore_errors=True)
        os.makedirs(caches, exist_ok=True)
        venv = os.path.join(self.folder, "off" if mode == "off" else "on")
        command = [_program(venv), os.path.join(HERE, "run_tests.py"), mode, self.folder, wanted]
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "EGGCACHE", "UPSTREAM"))
        }
        with open(os.path.join(venv, "path")) as file:
            environ.update(UPSTREAM_PATH=file.read(), PYTHONWARNINGS="ignore")
        with open(os.path.join(self.folder, mode + ".out"), "w") as said:
            subprocess.check_call(command, env=environ, stdin=subprocess.DEVNULL, stderr=said)
        with open(os.path.join(self.folder, mode + ".json")) as file:
            return json.load(file)

    def hits(self, mode):
        """How many eggs came from the cache."""
        count = 0
        for log in glob.glob(os.path.join(glob.escape(self.folder), "* %s.log" % mode)):
            with open(log, errors="replace") as file:
                count += sum(int(hits) for hits in HITS.findall(file.read()))
        return count


SUITES = (
    Suite("6.0.1", "6.0.0", "3.11", "81.0.0", "pip==25.3", "packaging", "platformdirs", "build", "hatchling"),
    Suite("4.2.0", "3.0.0", "3.11", "79.0.1", "pip==25.3", "packaging"),
    # Its tests take a version of Python for one with one digit after the dot.
    Suite("2.13.8", "2.0.7", "3.9", "51.3.3"),
)


def _program(venv):
    return os.path.join(venv, "bin", "python")


def _packages(venv):
    [folder] = glob.glob(os.path.join(glob.escape(venv), "lib", "python*", "site-packages"))
    return folder


def _pip(venv, command, *args):
    pip = [_program(venv), "-m", "pip", "-q", "--disable-pip-version-check", command]
    subprocess.check_call(pip + list(args))


def save(results):
    with open(RESULTS + ".new", "w") as file:
        json.dump(results, file, indent=1, sort_keys=True)
    os.rename(RESULTS + ".new", RESULTS)


def load():
    if not os.path.exists(RESULTS):
        return {}
    with open(RESULTS) as file:
        return json.load(file)


def counts(results):
    """How many tests pass in each mode, in Markdown. A run that was not done has no number."""
    yield "| zc.buildout | zc.recipe.egg | Python | setuptools | %s |" % " | ".join(MODES)
    yield "|---|---|---|---|" + "---|" * len(MODES)
    for suite in SUITES:
        cells = [suite.version, suite.recipe, suite.python, suite.setuptools]
        for mode in MODES:
            outcomes = list(results.get(suite.version, {}).get(mode, {"outcomes": {}})["outcomes"].values())
            passed = "%d of %d" % (outcomes.count("ok"), len(outcomes))
            cells.append(passed if outcomes else "")
        yield "| %s |" % " | ".join(cells)


def hits(results):
    """How many eggs came from the cache, in Markdown."""
    yield "| zc.buildout | %s |" % " | ".join(MODES[2:])
    yield "|---|" + "---:|" * len(MODES[2:])
    for suite in SUITES:
        runs = results.get(suite.version, {})
        cells = [str(runs[mode]["hits"]) if mode in runs else "" for mode in MODES[2:]]
        yield "| %s | %s |" % (suite.version, " | ".join(cells))


def write_page(results):
    """Write the tables into the page, each between its markers."""
    with open(PAGE) as file:
        text = file.read()
    found = differences_of(results, [suite.version for suite in SUITES], MODES)
    for name, lines in (
        ("tests", counts(results)),
        ("hits", hits(results)),
        ("differences", table_of(found)),
    ):
        begin, end = "<!-- begin: %s -->\n" % name, "<!-- end: %s -->" % name
        before, rest = text.split(begin)
        text = before + begin + "".join(line + "\n" for line in lines) + end + rest.split(end)[1]
    with open(PAGE, "w") as file:
        file.write(text)
    return found


def table_of(found):
    """The differences in Markdown."""
    yield "| test | zc.buildout | modes | why |"
    yield "|---|---|---|---|"
    for (test, why), runs in sorted(found.items(), key=str):
        versions = ", ".join(sorted({version for version, _ in runs}))
        modes = ", ".join(mode for mode in MODES if mode in {mode for _, mode in runs})
        yield "| `%s` | %s | %s | %s |" % (test, versions, modes, REASONS.get(why, "not explained"))


def main():
    wanted_runs, wanted_tests = (sys.argv[1:] + ["", ""])[:2]
    os.makedirs(BUILD, exist_ok=True)
    results = load()
    for suite in SUITES:
        modes = [mode for mode in MODES if re.search(wanted_runs, "%s %s" % (suite.version, mode))]
        if modes and not suite.prepare():
            print("no Python %s" % suite.python)
            continue
        for mode in modes:
            print("== zc.buildout %s, %s" % (suite.version, mode), flush=True)
            outcomes = suite.run(mode, wanted_tests)
            run = results.setdefault(suite.version, {}).setdefault(mode, {"outcomes": {}})
            if not wanted_tests:
                run["outcomes"] = {}
            run["outcomes"].update(outcomes)
            run["hits"] = suite.hits(mode)
            save(results)
    found = write_page(results)
    for test, why in sorted(found, key=str):
        if why not in REASONS:
            print("%s differs: see build/upstream/results.json" % test)
    sys.exit(any(why not in REASONS for _, why in found))


if __name__ == "__main__":
    main()
