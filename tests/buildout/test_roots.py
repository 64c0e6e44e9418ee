"""Roots: the eggs of a buildout are recorded after it has succeeded, and `gc` keeps them."""

import json
import shutil

import pytest

DAY = 86400


def roots(world):
    return json.loads(world.eggcache("roots", "--json").stdout)["roots"]


def names(root):
    """Projects and versions of the eggs that a root uses and the cache has."""
    return sorted(
        "-".join(egg["file_name"].split("-")[:2]).lower() for egg in root["eggs"] if egg["digest"]
    )


def forget_use(world, *more):
    """Evict every egg that nothing protects."""
    return json.loads(world.eggcache("gc", "--max-size", "0", "--json", *more).stdout)


def test_a_root_is_registered_with_the_eggs_that_it_uses(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    project = world.project("project")
    project.run()
    [root] = roots(world)
    assert root["directory"] == str(project.path)
    assert root["eggs_directory"] == str(project.eggs_directory)
    assert root["buildout"] == world.buildout.version
    assert root["state"] == "live"
    assert names(root) == project.eggs()
    assert "alpha-1.0" in names(root) and "beta-1.0" in names(root)


def test_a_run_with_nothing_to_do_keeps_the_eggs_of_its_root(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    before = roots(world)
    project.run()
    assert roots(world) == before
    project.run("-o")
    assert roots(world) == before


def test_a_failed_first_run_registers_no_root(world):
    world.wheel("alpha", "1.0")
    project = world.project("project", "alpha missing")
    project.run(check=False)
    assert project.returncode != 0
    assert roots(world) == []


def test_a_failed_run_does_not_change_its_root(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    before = roots(world)
    world.wheel("alpha", "1.1")
    broken = "[broken]\nrecipe = zc.recipe.egg\neggs = missing"
    (project.path / "broken.cfg").write_text(
        "[buildout]\nextends = buildout.cfg\nparts = app broken\n" + broken
    )
    project.run("-c", "broken.cfg", check=False)
    assert project.returncode != 0 and "alpha-1.1" in project.eggs()
    assert roots(world) == before


def test_gc_keeps_the_eggs_of_a_root(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    world.wheel("gamma", "1.0")
    other = world.project("other", "gamma")
    other.run()
    shutil.rmtree(str(other.path))
    report = forget_use(world, "--grace", "0s")
    assert [egg["name"] for egg in report["evicted"]] == ["gamma"]
    assert report["forgotten_roots"] == [str(other.path)]
    assert {kept["reason"] for kept in report["kept_eggs"]} == {"root"}
    world.cut_network()
    again = world.project("again", versions="alpha = 1.0")
    again.run("-N")
    assert again.script("alpha") == "alpha 1.0"


def test_a_root_whose_folder_is_gone_is_kept_for_a_while(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    shutil.rmtree(str(project.path))
    assert forget_use(world)["evicted"] == []
    [mark] = (world.cache / "roots").glob("*.gone")
    [record] = (world.cache / "roots").glob("*.json")
    root = json.loads(record.read_text())
    root["last_run"] -= 40 * DAY
    record.write_text(json.dumps(root))
    mark.write_text(str(int(mark.read_text()) - 29 * DAY))
    assert forget_use(world)["evicted"] == []
    mark.write_text(str(int(mark.read_text()) - 2 * DAY))
    report = forget_use(world)
    assert report["kept"] == 0 and report["forgotten_roots"] == [str(project.path)]
    assert roots(world) == []


def test_a_root_drops_an_egg_replaced_by_another_version(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    world.wheel("alpha", "1.1")
    project.run()
    assert "alpha-1.0" in project.eggs() and "alpha-1.1" in project.eggs()
    [root] = roots(world)
    assert "alpha-1.1" in names(root) and "alpha-1.0" not in names(root)


def test_running_one_part_keeps_the_eggs_of_the_others(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.wheel("gamma", "1.0")
    other = "[other]\nrecipe = zc.recipe.egg\neggs = gamma"
    project = world.project("project", sections=other, parts="app other")
    project.run()
    before = roots(world)
    assert "gamma-1.0" in names(before[0])
    project.run("install", "app")
    assert roots(world) == before


def test_an_older_buildout_gets_a_root_with_all_its_eggs(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run(cache=False)
    world.eggcache("add", "--generation", "6", str(project.eggs_directory))
    project.run()
    [root] = roots(world)
    assert names(root) == project.eggs()


def test_a_custom_egg_is_part_of_its_root(world):
    world.c_sdist("native", "1.0")
    sections = "[custom]\nrecipe = zc.recipe.egg:custom\negg = native\ndefine = FLAVOUR_7"
    options = dict(parts="custom app", sections=sections, versions="native = 1.0")
    project = world.project("project", "native", **options)
    project.run()
    [root] = roots(world)
    [native] = [egg for egg in root["eggs"] if "directory" in egg]
    assert native["file_name"].startswith("native") and native["digest"]
    assert native["directory"] == str(project.path / "develop-eggs")
    project.run()
    assert roots(world) == [root]


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_damaged_root_record_is_rewritten(newest_world, damage):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    before = roots(world)
    [record] = (world.cache / "roots").glob("*.json")
    record.write_text(damage)
    project.run()
    assert [names(root) for root in roots(world)] == [names(root) for root in before]


@pytest.mark.parametrize("options", ["", "extensions = delta"])
def test_a_root_drops_the_eggs_of_a_removed_part(world, options):
    world.wheel("alpha", "1.0")
    world.wheel("delta", "1.0")
    world.wheel("gamma", "1.0")
    other = "[other]\nrecipe = zc.recipe.egg\neggs = gamma"
    project = world.project("project", options=options, sections=other, parts="app other")
    project.run()
    [before] = roots(world)
    configuration = project.path / "buildout.cfg"
    text = configuration.read_text().replace("parts = app other", "parts = app")
    configuration.write_text(text)
    project.run("install", "app")
    assert names(roots(world)[0]) == names(before), "a run of app alone keeps the eggs of other"
    project.run()
    assert "gamma-1.0" in project.eggs()
    [after] = roots(world)
    assert names(after) == [egg for egg in names(before) if egg != "gamma-1.0"]
    assert [egg["name"] for egg in forget_use(world)["evicted"]] == ["gamma"]
