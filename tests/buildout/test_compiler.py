"""Eggs of projects that do without their extension module where there is no compiler."""

import pytest

import native
from conftest import summary

OPTIONAL = "optional=True"
CODE = native.CODE.replace("#include <depth.h>", "#define DEPTH 1\nstatic int depth(void) { return 1; }")


def project(world, name):
    return world.project(name, "native", versions="native = 1.0")


@pytest.fixture
def without_compiler(newest_world):
    folder = newest_world.path / "empty"
    folder.mkdir()
    return {"PATH": str(folder)}


def test_an_egg_that_lacks_its_extension_module_is_not_stored(newest_world, without_compiler):
    world = newest_world
    native.sdist(world.index, OPTIONAL, CODE)
    first, second, third = (project(world, name) for name in ("first", "second", "third"))
    output = first.run(env=without_compiler)
    assert native.depth(first) == "none"
    assert "it was built without a compiler" in output
    second.run()
    assert native.depth(second) == "11"
    output = third.run(env=without_compiler)
    assert summary(output)["misses"] == 0, output
    assert native.depth(third) == "11"


def test_without_a_compiler_other_eggs_are_stored(newest_world, without_compiler):
    world = newest_world
    native.dists.sdist(world.index, "alpha", "1.0")
    for name in ("first", "second"):
        output = world.project(name, "alpha", versions="alpha = 1.0").run(env=without_compiler)
    assert summary(output)["misses"] == 0, output
    assert "alpha" in [egg["name"] for egg in world.cached()]
