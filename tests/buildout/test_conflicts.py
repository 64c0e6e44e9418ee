"""Without `newest`, and offline, the best cached version may not fit to what other eggs require. That is
never the end of a buildout that succeeds without the cache."""

import re

import pytest

from test_versions import fill

#: A wheel with an extra that requires beta.
FAST = ["beta; extra == 'fast'\nProvides-Extra: fast"]


def picked(output):
    """The versions that buildout reports as picked."""
    return sorted(re.findall(r"^[\w.-]+ = [\w.]+$", output, re.M))


def assert_same_as_stock(world, eggs, **kw):
    """Without the cache and with it, `-N` ends in the same eggs. Returns the output with the cache."""
    stock = world.project("stock", eggs, **kw)
    without = stock.run("-N", cache=False)
    project = world.project("project", eggs, **kw)
    output = project.run("-N")
    assert project.eggs() == stock.eggs(), output
    assert picked(output) == picked(without)
    return output


def lines(output, text):
    return [line for line in output.splitlines() if text in line]


@pytest.mark.parametrize("name", ["alpha", "alpha-one"])
def test_a_conflict_with_a_cached_version_is_resolved_with_the_index(world, name):
    world.wheel(name, "1.0")
    fill(world, "1.0", name=name)
    world.wheel(name, "1.1")
    world.wheel("beta", "1.1", requires=[name + ">=1.1"])
    output = assert_same_as_stock(world, name + " beta")
    expected = "eggcache: %s 1.0 from the cache cannot be used with the other eggs; asking the index for %s."
    assert lines(output, "from the cache") == [expected % (name, name)]


def test_a_cached_version_that_conflicts_with_a_constraint_is_not_the_end(world):
    world.wheel("alpha", "1.0")
    world.wheel("beta", "1.0", requires=["alpha<2"])
    fill(world, "1.0", name="beta")
    world.wheel("alpha", "2.0")
    world.wheel("beta", "2.0", requires=["alpha>=2"])
    output = assert_same_as_stock(world, "beta", versions="alpha = 2.0")
    assert len(lines(output, "from the cache")) == 1, output


def test_a_cached_version_without_a_required_extra_is_not_the_end(world):
    world.wheel("alpha", "1.0")
    fill(world, "1.0")
    world.wheel("alpha", "1.1", requires=FAST)
    world.wheel("beta", "1.0")
    output = assert_same_as_stock(world, "alpha[fast]")
    assert len(lines(output, "from the cache")) == 1, output


def test_a_cached_version_that_is_too_new_is_not_kept(world):
    world.wheel("alpha", "1.0")
    removed = world.wheel("alpha", "2.0")
    fill(world, "2.0")
    (world.index / "alpha" / removed.rsplit("/", 1)[1]).unlink()
    world.wheel("beta", "1.0", requires=["alpha<2"])
    assert_same_as_stock(world, "alpha beta")
    again = world.project("again", "alpha beta")
    again.run("-N")
    again.run("-N")
    assert again.installed("alpha") == "1.0"


def test_offline_another_cached_version_is_tried(world):
    for version in ("1.0", "1.1"):
        world.wheel("alpha", version)
    world.wheel("beta", "1.0", requires=["alpha<1.1"])
    fill(world, "1.0", "1.1")
    fill(world, "1.0", name="beta")
    world.cut_network()
    project = world.project("project", "alpha beta")
    output = project.run("-o")
    assert project.eggs() == ["alpha-1.0", "beta-1.0", "zc.recipe.egg-" + world.buildout.recipe], output
    assert len(lines(output, "from the cache")) == 1, output


def test_a_conflict_that_no_offer_has_caused_ends_as_without_the_cache(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    fill(world, "1.0")
    world.wheel("alpha", "1.1")
    world.wheel("beta", "1.1", requires=["alpha>=1.1"])
    for cache in (False, True):
        project = world.project("project-%s" % cache, "alpha beta", versions="alpha = 1.0")
        output = project.run("-N", check=False, cache=cache)
        assert project.returncode != 0
        assert "from the cache" not in output
        assert "The requirement ('alpha>=1.1') is not allowed by your [versions] constraint" in output


def test_a_conflict_in_a_later_part_leaves_the_first_part_its_egg(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    fill(world, "1.0")
    world.wheel("alpha", "1.1")
    world.wheel("beta", "1.1", requires=["alpha>=1.1"])
    sections = "[second]\nrecipe = zc.recipe.egg\neggs =\n  alpha\n  beta\nscripts = beta\n"
    project = world.project("project", sections=sections, parts="app second")
    project.run("-N")
    assert project.script("alpha") == "alpha 1.0"
    assert project.script("beta") == "beta 1.1"
    assert project.eggs()[:2] == ["alpha-1.0", "alpha-1.1"]
