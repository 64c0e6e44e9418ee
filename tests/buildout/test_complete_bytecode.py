"""``egg-cache-compile``: eggs of wheels with all bytecode, apart from those of other buildouts."""

import struct

import pytest

from conftest import Buildout, World, summary
from test_convert import make_wheel
from test_converting import add_wheel, contents, counts

#: The modules of a wheel without ``top_level.txt``, which stock buildout does not compile.
FLAT = {"gamma/__init__.py": "x = 1\n", "gamma/part.py": "y = 2\n"}


@pytest.fixture(scope="module", params=["6.0.1", "5.2.0"])
def buildout(request):
    return Buildout(request.param)


@pytest.fixture
def world(tmp_path, buildout, web):
    world = World(tmp_path, buildout, web)
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    add_wheel(world, make_wheel(tmp_path, "gamma", FLAT))
    return world


def bytecode(project):
    """The headers of the compiled files of gamma."""
    found = sorted(project.eggs_directory.rglob("gamma/__pycache__/*.pyc"))
    return [struct.unpack("<4sI8s", path.read_bytes()[:16]) for path in found]


def compiling(world, name, value="all", eggs="alpha gamma"):
    return world.project(name, eggs=eggs, options="egg-cache-compile = %s" % value)


def variants(world):
    return sorted({egg["variant"] for egg in world.cached()})


def test_all_sources_are_compiled_also_of_the_wheel_that_was_compared(world):
    project = compiling(world, "first")
    output = project.run()
    assert summary(output) == {"hits": 0, "misses": 4, "stored": 4}
    assert counts(output) == (4, 0), output
    assert len(bytecode(project)) == 2 and "unused option" not in output
    recipe = list(project.eggs_directory.rglob("zc/recipe/egg/*.py"))
    pyc = list(project.eggs_directory.rglob("zc/recipe/egg/__pycache__/*.pyc"))
    assert len(pyc) == len(recipe) > 0
    assert project.script("alpha") == "alpha 1.0"
    second = compiling(world, "second")
    assert summary(second.run()) == {"hits": 4, "misses": 0, "stored": 0}
    assert contents(second) == contents(project)
    world.eggcache("check", str(second.path))


def test_eggs_with_and_without_the_option_are_kept_apart(world):
    compiling(world, "all").run()
    assert variants(world) == ["compile-all"]
    stock = world.project("stock", eggs="alpha gamma")
    output = stock.run()
    assert summary(output)["hits"] == 0 and bytecode(stock) == []
    assert variants(world) == ["", "compile-all"]
    again = world.project("again", eggs="alpha gamma")
    assert summary(again.run())["hits"] == 4 and bytecode(again) == []
    unchecked = compiling(world, "unchecked", "all-unchecked-hash")
    assert summary(unchecked.run())["hits"] == 0
    assert variants(world) == ["", "compile-all", "compile-all-unchecked-hash"]
    for value, flags in (("all", 0), ("all-unchecked-hash", 1)):
        project = compiling(world, "from-cache-" + value, value)
        assert summary(project.run())["hits"] == 4
        assert [header[1] for header in bytecode(project)] == [flags, flags]


def test_offline_the_variant_of_the_run_is_copied(world):
    world.project("stock", eggs="alpha gamma").run()
    compiling(world, "online").run()
    project = compiling(world, "offline")
    assert summary(project.run("-o"))["hits"] == 4
    assert len(bytecode(project)) == 2


def test_eggs_that_buildout_builds_itself_stay_as_they_are(world):
    world.c_sdist("delta", "1.0")
    project = compiling(world, "first", eggs="delta gamma")
    assert counts(project.run()) == (2, 1)
    stock = world.project("stock", eggs="delta")
    stock.run(cache=False)
    delta = {path: it for path, it in contents(stock).items() if path.startswith("delta")}
    assert delta and delta.keys() <= contents(project).keys()
    assert summary(compiling(world, "second", eggs="delta gamma").run())["hits"] == 3


def test_where_no_wheel_is_converted_the_option_has_no_effect(world):
    options = "egg-cache-compile = all\negg-cache-convert = false"
    project = world.project("project", eggs="alpha gamma", options=options)
    project.run()
    assert bytecode(project) == [] and variants(world) == [""]
