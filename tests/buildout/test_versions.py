"""Choice of versions: the cache must never change which version buildout chooses."""

import os

from conftest import summary


def fill(world, *pins, name="alpha"):
    """Add versions of a project to the cache, in this order."""
    for number, version in enumerate(pins):
        project = world.project("fill-%s-%d" % (name, number), name, versions="%s = %s" % (name, version))
        project.run()


def test_newest_asks_the_index_and_takes_a_newer_version(world):
    world.wheel("alpha", "1.0")
    world.project("first").run()
    world.wheel("alpha", "1.1")
    project = world.project("project")
    output = project.run()
    assert project.installed("alpha") == "1.1"
    assert summary(output) == {"hits": 1, "misses": 1, "stored": 1}


def test_newest_takes_from_the_cache_exactly_what_the_index_has(world):
    world.wheel("alpha", "1.0")
    world.project("first").run()
    project = world.project("project")
    assert summary(project.run())["misses"] == 0
    assert project.installed("alpha") == "1.0"


def test_newest_refuses_a_cached_egg_of_another_archive(world):
    world.wheel("alpha", "1.0", marker="old")
    world.project("first").run()
    world.wheel("alpha", "1.0", marker="new")
    project = world.project("project")
    assert summary(project.run())["misses"] == 1
    assert project.script("alpha") == "alpha 1.0 new"


def test_newest_never_falls_back_to_an_older_version(world):
    world.wheel("alpha", "1.0")
    world.project("first").run()
    world.cut_network()
    project = world.project("project")
    project.run(check=False)
    assert project.returncode != 0
    assert project.installed("alpha") is None


def test_without_newest_the_best_cached_version_is_taken(world):
    for version in ("1.9", "1.10"):
        world.wheel("alpha", version)
    fill(world, "1.10", "1.9")
    world.wheel("alpha", "2.0")
    project = world.project("project")
    assert summary(project.run("-N"))["misses"] == 0
    assert project.installed("alpha") == "1.10"


def test_a_version_that_pep_440_does_not_allow_is_skipped(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    first = world.project("first")
    first.run()
    old = world.path / "alpha-1.0_foo_bar-py3.11.egg" / "EGG-INFO"
    old.mkdir(parents=True)
    (old / "PKG-INFO").write_text("Name: alpha\nVersion: 1.0-foo-bar\n")
    world.eggcache("add", "--generation", "6", str(old.parent))
    world.cut_network()
    project = world.project("project")
    assert summary(project.run("-N"))["misses"] == 0
    assert project.installed("alpha") == "1.0"


def test_without_newest_a_requirement_still_holds(world):
    for version in ("1.9", "1.10"):
        world.wheel("alpha", version)
    fill(world, "1.10", "1.9")
    project = world.project("project", versions="alpha = <1.10")
    project.run("-N")
    assert project.installed("alpha") == "1.9"


def test_an_installed_egg_that_satisfies_is_kept(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    world.wheel("alpha", "1.1")
    world.project("other").run()
    project.run("-N")
    assert project.installed("alpha") == "1.0"


def test_final_releases_are_preferred(world):
    for version in ("1.0", "2.0rc1"):
        world.wheel("alpha", version)
    fill(world, "1.0", "2.0rc1")
    world.cut_network()
    project = world.project("final")
    project.run("-N")
    assert project.installed("alpha") == "1.0"


def test_a_pre_release_is_chosen_if_allowed(world):
    for version in ("1.0", "2.0rc1"):
        world.wheel("alpha", version)
    fill(world, "1.0", "2.0rc1")
    world.cut_network()
    project = world.project("pre", options="prefer-final = false")
    project.run("-N")
    assert project.installed("alpha") == "2.0rc1"


def test_a_pin_to_a_pre_release_is_served(world):
    world.wheel("alpha", "2.0rc1")
    fill(world, "2.0rc1")
    world.cut_network()
    project = world.project("project", versions="alpha = 2.0rc1")
    assert summary(project.run())["misses"] == 0
    assert project.installed("alpha") == "2.0rc1"


def test_a_pin_is_not_served_a_local_version(world):
    local = world.wheel("alpha", "1.0+abc.1")
    fill(world, "1.0+abc.1")
    os.remove(local)
    world.wheel("alpha", "1.0")
    project = world.project("project", versions="alpha = 1.0")
    assert summary(project.run())["misses"] == 1
    assert project.script("alpha") == "alpha 1.0"


def test_a_pin_to_a_local_version_is_served(world):
    world.wheel("alpha", "1.0+abc.1")
    fill(world, "1.0+abc.1")
    world.cut_network()
    project = world.project("project", versions="alpha = 1.0+abc.1")
    assert summary(project.run())["misses"] == 0
    assert project.script("alpha") == "alpha 1.0+abc.1"


def test_without_newest_a_local_version_needs_a_pin(world):
    for version in ("1.0", "1.0+abc.1"):
        wheel = world.wheel("alpha", version)
        fill(world, version)
        os.rename(str(world.path / "fill-alpha-0"), str(world.path / version))
    os.remove(wheel)
    assert sorted(egg["version"] for egg in world.cached() if egg["name"] == "alpha") == ["1.0", "1.0+abc.1"]
    for number, options in enumerate((["-N"], ["-o"])):
        project = world.project("project%d" % number)
        project.run(*options)
        assert project.script("alpha") == "alpha 1.0"


def test_a_conflicting_constraint_fails_as_in_stock_buildout(newest_world):
    newest_world.wheel("alpha", "1.0", requires=["beta>=2"])
    newest_world.wheel("beta", "2.0")
    fill(newest_world, "1.0")
    pins = "alpha = 1.0\nbeta = 1.0"
    runs = [newest_world.project(name, versions=pins) for name in ("cached", "plain")]
    outputs = [run.run(check=False, cache=run is runs[0]) for run in runs]
    assert [run.returncode for run in runs] == [1, 1]
    told = [output.count("is not allowed by your [versions] constraint") for output in outputs]
    assert told == [1, 1] and "without the cache" not in outputs[0], outputs[0]


def test_offline_copies_from_the_cache(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    first = world.project("first")
    first.run()
    world.cut_network()
    second = world.project("second")
    output = second.run("-o")
    assert summary(output) == {"hits": 3, "misses": 0, "stored": 0}
    assert second.snapshot() == first.snapshot()
    assert second.script("alpha") == "alpha 1.0"


def test_offline_uses_installed_eggs(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    world.cut_network()
    assert summary(project.run("-o")) == {"hits": 0, "misses": 0, "stored": 0}


def test_offline_takes_the_best_cached_version(world):
    for version in ("1.9", "1.10", "2.0rc1"):
        world.wheel("alpha", version)
    fill(world, "1.10", "1.9", "2.0rc1")
    world.cut_network()
    project = world.project("project")
    project.run("-o")
    assert project.installed("alpha") == "1.10"


def test_eggs_of_another_generation_are_not_served(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    first = world.project("first")
    first.run(cache=False)
    world.eggcache("add", "--generation", "4", str(first.eggs_directory))
    project = world.project("project", versions="alpha = 1.0")
    assert summary(project.run())["hits"] == 0


def test_eggs_of_another_environment_are_not_served(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.project("first", options="egg-cache-environment = el8").run()
    assert summary(world.project("other", options="egg-cache-environment = el9").run())["hits"] == 0
    assert summary(world.project("same", options="egg-cache-environment = el9").run())["misses"] == 0
