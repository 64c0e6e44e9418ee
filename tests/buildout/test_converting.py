"""Wheels that the program converts in place of pip: the same eggs, scripts and logs, and never a failure.

Stock buildout is the same environment with an empty ``egg-cache``.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from conftest import ROOT, Buildout, World, summary
from test_convert import make_wheel, odd_wheels
from test_speedups import CHANGING

ALONE = "continuing without the cache"

#: The projects of `test_convert.odd_wheels`.
ODD = (
    "scripts namespaces namespaces-flat lonely lonely-flat wrong wrong-flat all-wrong modules modes "
    "own-metadata odd-data"
)


@pytest.fixture(scope="module", params=["6.0.1", "5.2.0"])
def buildout(request):
    return Buildout(request.param)


@pytest.fixture
def world(tmp_path, buildout, web):
    world = World(tmp_path, buildout, web)
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    return world


def add_wheel(world, path):
    """Put a wheel into the index."""
    name = os.path.basename(path).split("-")[0].replace("_", "-")
    (world.index / name).mkdir(exist_ok=True)
    shutil.move(path, str(world.index / name))


def counts(output):
    """How many eggs were converted and built; None if the summary does not say it."""
    found = re.search(r"miss(?:es)?: (\d+) converted, (\d+) built, ", output)
    return found and tuple(map(int, found.groups()))


def contents(project):
    """Modes and contents of the files in the eggs of a buildout, without what names temporary places."""
    found = {}
    for path, (mode, _, content) in project.snapshot().items():
        if path.endswith(".pyc"):
            content = None
        elif os.path.basename(path) == "direct_url.json":
            content = re.sub(b'"url": "file://[^"]*/', b'"url": "', content)
        elif os.path.basename(path) == "RECORD":
            rows = content.decode().splitlines()
            content = [row for row in rows if "direct_url.json," not in row and not _is_dropped(row)]
        found[path] = mode, content
    return found


def _is_dropped(row):
    """Whether a row of RECORD is of a script or header, which pip writes elsewhere and buildout removes."""
    return row.startswith(("../../bin/", "../../include/"))


def compiled(project):
    return sorted(str(path) for path in project.eggs_directory.rglob("*.pyc"))


def assert_same_code(one, other):
    """Compare all bytecode in the eggs of two buildouts, without headers and names of files."""
    pairs = list(zip(compiled(one), compiled(other)))
    assert len(pairs) == len(compiled(one)) > 3
    hexed = lambda path: path.encode().hex()
    lines = "".join("%s %s\n" % (hexed(mine), hexed(its)) for mine, its in pairs)
    script = os.path.join(ROOT, "src", "ops", "convert", "compare_bytecode.py")
    done = subprocess.run([sys.executable, script], input=lines, stdout=subprocess.PIPE, text=True)
    wrong = [pair for pair, answer in zip(pairs, done.stdout.splitlines()) if answer != "same"]
    assert (done.returncode, wrong) == (0, [])


def scripts(project):
    folder = project.path / "bin"
    return {path.name: path.read_text().replace(str(project.path), "PROJECT") for path in folder.iterdir()}


def lines(output, project):
    """What buildout itself says."""
    own = [line for line in output.splitlines() if not line.startswith(("eggcache", "root: ", "egg-cache"))]
    own = [CHANGING.sub("...", line.replace(str(project.path), "PROJECT")) for line in own]
    temporary = re.escape(tempfile.gettempdir())
    return [re.sub(temporary + r"/(\w+get_dist|pip-[\w-]+)", "TEMP", line) for line in own]


@pytest.fixture
def proven(world):
    """A world in whose cache the result of a comparison is recorded."""
    output = world.project("proving", eggs="beta").run()
    assert counts(output) == (2, 0), output
    return world


def hook(world, code):
    """An environment in which buildout runs this code at its start."""
    folder = world.path / "site"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def parity(world):
    return json.loads(world.eggcache("stats", "--json").stdout)["parity"]


# -- The result


def test_converted_eggs_and_scripts_are_those_of_stock(world, tmp_path):
    for path in odd_wheels(tmp_path):
        add_wheel(world, path)
    eggs = "alpha beta " + ODD
    stock = world.project("stock", eggs=eggs)
    stock.run(cache=False)
    first = world.project("first", eggs=eggs)
    output = first.run()
    total = len(eggs.split()) + 1
    assert counts(output) == (total, 0), output
    assert summary(output) == {"hits": 0, "misses": total, "stored": total}
    [result] = parity(world)
    assert result["difference"] is None and result["wheel"].startswith("zc")
    assert "equals that of pip" in world.eggcache("stats").stdout
    second = world.project("second", eggs=eggs)
    assert summary(second.run()) == {"hits": total, "misses": 0, "stored": 0}
    for project in (first, second):
        assert contents(project) == contents(stock)
        assert scripts(project) == scripts(stock)
        assert_same_code(project, stock)
    assert first.script("alpha") == "alpha 1.0"
    world.eggcache("check", str(first.path))


def test_with_the_option_pip_installs_wheels(world):
    project = world.project("project", options="egg-cache-convert = false")
    output = project.run()
    assert counts(output) is None and summary(output)["misses"] == 3 and parity(world) == []
    assert "unused option" not in output


@pytest.mark.parametrize("verbosity", ["-q", "-N", "-v", "-vv"])
def test_logs_are_those_of_stock(proven, verbosity):
    stock = proven.project("stock")
    project = proven.project("project", options="egg-cache-environment = other")
    # With debug log, buildout repeats what pip says.
    said = stock.run(verbosity, cache=False)
    output = project.run(verbosity)
    assert (counts(output) is None) == (verbosity != "-N")
    if verbosity == "-v":
        # The options differ, which -vv shows.
        assert lines(output, project) == lines(said, stock)
    assert contents(project) == contents(stock)


def test_two_builders_store_the_same_eggs_also_of_the_wheel_that_was_compared(world, tmp_path, web):
    other = tmp_path / "elsewhere"
    other.mkdir()
    other = World(other, world.buildout, web)
    for wheel in world.index.rglob("*.whl"):
        (other.index / wheel.parent.name).mkdir(exist_ok=True)
        shutil.copy(str(wheel), str(other.index / wheel.parent.name))
    found = []
    for builder in (world, other):
        assert counts(builder.project("project").run()) == (3, 0)
        assert parity(builder)[0]["wheel"].startswith("zc")
        found.append({egg["name"]: egg["digest"] for egg in builder.cached()})
    assert found[0] == found[1] and len(found[0]) == 3


# -- What is left to pip


def test_a_wheel_that_is_unusual_is_left_to_pip(proven, tmp_path):
    files = {"gamma/__init__.py": "x = 1\n", "gamma-1.0.data/data/lib/x.txt": "x"}
    add_wheel(proven, make_wheel(tmp_path, "gamma", files, "gamma\n"))
    stock = proven.project("stock", eggs="gamma")
    stock.run(cache=False)
    project = proven.project("project", eggs="alpha gamma")
    output = project.run()
    assert counts(output) == (1, 1), output
    gamma = {path: it for path, it in contents(project).items() if path.startswith("gamma")}
    assert gamma and gamma.items() <= contents(stock).items()


def test_a_wheel_that_pip_refuses_fails_as_in_stock(proven, tmp_path):
    path = make_wheel(tmp_path, "gamma", {"gamma/__init__.py": "x = 1\n"})
    with open(path, "r+b") as file:
        # The checksum of the first file, in the directory of the archive.
        file.seek(file.read().index(b"PK\x01\x02") + 16)
        file.write(b"????")
    add_wheel(proven, path)
    stock = proven.project("stock", eggs="gamma")
    said = stock.run(cache=False, check=False)
    project = proven.project("project", eggs="gamma")
    output = project.run(check=False)
    assert stock.returncode == project.returncode != 0
    assert "Failed to run command" in said and "Failed to run command" in output
    assert ALONE not in output


@pytest.mark.parametrize("environ", [{"PIP_NO_COMPILE": "1"}, {"PYTHONPYCACHEPREFIX": "/nowhere"}])
def test_a_configuration_of_pip_that_counts_is_left_to_pip(proven, environ):
    stock = proven.project("stock")
    stock.run(env=environ, cache=False)
    project = proven.project("project")
    assert counts(project.run(env=environ)) is None
    assert contents(project) == {**contents(stock), **contents(project)}


# -- What differs


def test_a_difference_is_one_warning_and_pip_installs_wheels_from_then_on(world):
    # A sitecustomize that changes what pip writes.
    changing = hook(world, "import os, sys\nif '-m' in sys.orig_argv:\n    os.umask(0o077)\n")
    stock = world.project("stock")
    stock.run(env=changing, cache=False)
    project = world.project("project")
    output = project.run(env=changing)
    assert output.count("differs from the one of pip") == 1 and counts(output) is None
    assert re.search(r"the egg that eggcache makes of zc\S+whl differs from the one of pip \(\S+: kind or mode\)", output)
    assert contents(project) == contents(stock)
    [result] = parity(world)
    assert "kind or mode" in result["difference"]
    assert "differs from that of pip" in world.eggcache("stats").stdout
    world.wheel("gamma", "1.0")
    again = world.project("again", eggs="gamma").run()
    assert "differs" not in again and counts(again) is None


# -- Failures


def assert_built(world, project, output, is_alone=False):
    assert output.count(ALONE) == is_alone, output
    assert counts(output) is None
    assert project.script("alpha") == "alpha 1.0"
    stock = world.project("stock")
    stock.run(cache=False)
    assert contents(project) == contents(stock)
    assert not glob.glob(str(project.eggs_directory / ".eggcache-*"))


@pytest.mark.parametrize(
    "worker",
    [
        "exit 1",
        "echo ready $TAG; exit 1",
        pytest.param("exec sleep 600", marks=pytest.mark.one_version),
    ],
    ids=["does-not-start", "dies", "does-not-answer"],
)
def test_a_compiler_that_fails_is_replaced_by_pip(proven, worker):
    program = proven.path / "worker"
    tag = sys.implementation.cache_tag
    program.write_text("#!/bin/sh\n%s\n" % worker.replace("$TAG", tag))
    program.chmod(0o755)
    code = (
        "import eggcache._converter as it\n"
        "describe = it.Converter._describe\n"
        "def changed(self):\n"
        "    found = describe(self)\n"
        "    found['python']['executable'] = %r\n"
        "    return found\n"
        "it.Converter._describe = changed\n" % str(program)
    )
    project = proven.project("project")
    assert_built(proven, project, project.run(env=hook(proven, code)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_dies_while_it_converts_is_replaced_by_pip(proven, how):
    code = (
        "import os\n"
        "import eggcache._bridge as bridge\n"
        "bridge.SILENCE = 5\n"
        "call = bridge.Bridge.call\n"
        "def failing(self, op, **kw):\n"
        "    if op == 'convert':\n"
        "        open(os.path.join(kw['into'], 'half'), 'w').close()\n"
        "        os.kill(self._process.pid, %d)\n"
        "    return call(self, op, **kw)\n"
        "bridge.Bridge.call = failing\n" % how
    )
    project = proven.project("project")
    output = project.run(env=hook(proven, code))
    assert_built(proven, project, output, is_alone=True)


def killed_run(world, op, is_done):
    """The environment of a buildout that is killed with the program, before this is asked for or when it is done."""
    code = (
        "import os\n"
        "import eggcache._bridge as bridge\n"
        "call = bridge.Bridge.call\n"
        "def dying(self, op, **kw):\n"
        "    answer = call(self, op, **kw) if op != %r or %r else None\n"
        "    if op == %r:\n"
        "        os.kill(self._process.pid, 9)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return answer\n"
        "bridge.Bridge.call = dying\n" % (op, is_done, op)
    )
    return hook(world, code)


def test_after_a_killed_run_the_next_one_makes_the_same_egg_and_leaves_nothing(proven):
    whole = proven.project("whole", versions="alpha = 1.0")
    whole.run()
    digests = {egg["name"]: egg["digest"] for egg in proven.cached()}
    for op, is_done in [("spool", True), ("convert", False), ("convert", True), ("settle", False)]:
        proven.eggcache("remove", "--force", "alpha")
        project = proven.project("killed-%s-%s" % (op, is_done), versions="alpha = 1.0")
        project.run(check=False, env=killed_run(proven, op, is_done))
        assert project.returncode == -signal.SIGKILL
        proven.eggcache("verify")
        project.run()
        for folder in project.eggs_directory.glob("tmp*"):
            # Buildout itself installs into such a folder first, and leaves it.
            shutil.rmtree(str(folder))
        assert contents(project) == contents(whole), op
        # An egg that is in the eggs directory before it is stored is not made again.
        cached = {egg["name"]: egg["digest"] for egg in proven.cached()}
        assert cached == digests or (op == "settle" and cached.items() < digests.items()), op
        proven.eggcache("verify")
