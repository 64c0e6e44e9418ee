"""Custom builds against files in the folder of their buildout, as a part with ``parts/`` has them."""

import shutil

import pytest

import native
from conftest import summary

CUSTOM = """
[custom]
recipe = zc.recipe.egg:custom
egg = native
include-dirs = local/include
library-dirs = local/lib
rpath = %s
"""

RELATIVE, ABSOLUTE = "$ORIGIN/../../local/lib", "local/lib"


def custom(world, name, rpath, number=1):
    project = world.project(
        name, "native", sections=CUSTOM % rpath, versions="native = 1.0", parts="custom app"
    )
    native.library(project.path / "local", number)
    return project


def stored(world):
    return [egg for egg in world.cached() if egg["name"] == "native"]


def test_a_relocatable_build_is_served_in_another_folder(world):
    native.sdist(world.index)
    custom(world, "first", RELATIVE).run("install", "custom")
    world.project("recipe", "zc.recipe.egg").run()
    second, third = custom(world, "second", RELATIVE), custom(world, "third", RELATIVE)
    output = second.run("install", "custom")
    assert summary(output)["misses"] == 0, output
    assert native.depth(second) == "11"
    assert len(stored(world)) == 1
    world.cut_network()
    third.run("-o")
    assert native.depth(third) == "11"


def test_a_build_that_contains_the_path_of_its_folder_is_stored_once(newest_world):
    world = newest_world
    native.sdist(world.index)
    first = custom(world, "first", ABSOLUTE)
    first.run("install", "custom")
    for name in ("second", "third"):
        project = custom(world, name, ABSOLUTE)
        output = project.run("install", "custom")
        assert summary(output)["misses"] == 1 and summary(output)["stored"] == 0, output
        assert "it contains the path of another folder" in output
        assert native.depth(project) == "11"
    assert len(stored(world)) == 1
    shutil.rmtree(str(first.path / "develop-eggs"))
    (first.path / ".installed.cfg").unlink()
    world.cut_network()
    output = first.run("install", "custom")
    assert summary(output)["misses"] == 0, output
    assert native.depth(first) == "11"


def test_offline_the_log_says_why_a_custom_build_is_not_restored(newest_world):
    world = newest_world
    native.sdist(world.index)
    custom(world, "first", ABSOLUTE).run("install", "custom")
    world.project("recipe", "zc.recipe.egg").run()
    world.cut_network()
    second = custom(world, "second", ABSOLUTE)
    output = second.run("-o", check=False)
    assert second.returncode != 0
    assert "it contains the path of another folder" in output
    third = custom(world, "third", RELATIVE)
    output = third.run("-o", check=False)
    assert third.returncode != 0
    assert "was built with other options" in output


@pytest.mark.parametrize("rpath", [RELATIVE, ABSOLUTE])
def test_a_build_against_other_files_is_not_served(newest_world, rpath):
    world = newest_world
    native.sdist(world.index)
    custom(world, "first", rpath, 1).run("install", "custom")
    second = custom(world, "second", rpath, 2)
    output = second.run("install", "custom")
    assert summary(output)["misses"] == 1, output
    assert native.depth(second) == "22"


def test_offline_a_missing_custom_build_is_looked_for_as_without_the_cache(world):
    native.sdist(world.index)
    custom(world, "first", ABSOLUTE).run("install", "custom")
    recipe = world.project("recipe", "zc.recipe.egg")
    recipe.run()
    world.cut_network()
    asked, outputs = [], []
    for name, cache in (("stock", False), ("cached", True)):
        project = custom(world, name, ABSOLUTE)
        shutil.copytree(str(recipe.path / "eggs"), str(project.path / "eggs"))
        before = len(world.web.requests)
        outputs.append(project.run("-o", check=False, cache=cache))
        assert project.returncode != 0
        asked.append([path.split("/", 2)[2] for path in world.web.requests[before:]])
    # Buildout asks its default index, also offline. The list of all projects is the last resort of setuptools.
    assert asked[1] == ["native/", ""], outputs
    # Stock does not find the recipe everywhere.
    if "'native==1.0'" in outputs[0]:
        assert asked[0] == asked[1], outputs
