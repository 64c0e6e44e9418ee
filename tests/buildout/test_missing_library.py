"""Eggs that need a shared library of the machine, after an upgrade has replaced it."""

import pytest

import native
from conftest import summary


@pytest.fixture
def library(newest_world):
    """A folder with version 1 of a library, which an environment makes compilers and the loader find."""
    folder = newest_world.path / "usr"
    native.library(folder, 1)
    environ = {
        "CFLAGS": "-I%s/include" % folder,
        "LDFLAGS": "-L%s/lib" % folder,
        "LD_LIBRARY_PATH": "%s/lib" % folder,
    }
    return folder, environ


def test_an_egg_whose_library_was_replaced_is_built_again_once(newest_world, library):
    world, (folder, environ) = newest_world, library
    native.sdist(world.index)
    first, second, third = (
        world.project(name, "native", versions="native = 1.0")
        for name in ("first", "second", "third")
    )
    first.run(env=environ)
    assert native.depth(first, environ) == "11"
    native.library(folder, 2)
    output = second.run(env=environ)
    assert "needs libdepth.so.1" in output
    assert native.depth(second, environ) == "22"
    output = third.run(env=environ)
    assert summary(output)["misses"] == 0, output
    assert native.depth(third, environ) == "22"


def test_an_egg_is_served_if_only_the_run_time_finds_its_library(newest_world, library):
    world, (folder, environ) = newest_world, library
    native.sdist(world.index)
    world.project("first", "native", versions="native = 1.0").run(env=environ)
    del environ["LD_LIBRARY_PATH"]
    output = world.project("second", "native", versions="native = 1.0").run(env=environ)
    assert summary(output)["misses"] == 0, output
