"""The options, and the first way to enable the cache: the package beside zc.buildout."""

import os
import shutil

from conftest import summary


def test_without_the_option_nothing_happens(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.remove_cache()
    output = world.project("project").run(cache=False)
    assert "eggcache" not in output
    assert not world.cache.exists()


def test_a_relative_path_is_relative_to_the_file_that_sets_it(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    base = world.path / "base"
    base.mkdir()
    (base / "base.cfg").write_text("[buildout]\negg-cache = my cache\n")
    project = world.project("project", options="extends = ../base/base.cfg")
    config = project.path / "buildout.cfg"
    config.write_text(config.read_text().replace("egg-cache = %s\n" % world.cache, ""))
    project.run()
    assert (base / "my cache" / "index.sqlite").is_file()


def test_the_option_works_from_the_user_defaults(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("project")
    config = project.path / "buildout.cfg"
    config.write_text(config.read_text().replace("egg-cache = %s\n" % world.cache, ""))
    (world.path / ".buildout").mkdir()
    (world.path / ".buildout" / "default.cfg").write_text("[buildout]\negg-cache = ~/home-cache\n")
    made = "no cache at %s: created an empty one" % (world.path / "home-cache")
    assert made in project.run()
    assert (world.path / "home-cache" / "index.sqlite").is_file()
    assert made not in project.run()


def test_the_download_cache_is_left_alone_on_a_hit(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.project("first", versions="alpha = 1.0").run()
    options = "download-cache = ../downloads"
    (world.path / "downloads").mkdir()
    world.project("second", options=options, versions="alpha = 1.0").run()
    assert os.listdir(str(world.path / "downloads" / "dist")) == []


def test_the_download_cache_is_completed_on_request(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.project("first", versions="alpha = 1.0").run()
    options = "download-cache = ../downloads\negg-cache-fetch-archives = true"
    (world.path / "downloads").mkdir()
    project = world.project("second", options=options, versions="alpha = 1.0")
    output = project.run()
    assert summary(output)["misses"] == 0 and "unused option" not in output
    downloads = os.listdir(str(world.path / "downloads" / "dist"))
    assert "alpha-1.0-py3-none-any.whl" in downloads


def test_the_fetched_archive_is_that_of_the_egg(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.project("first", versions="alpha = 1.0").run()
    world.wheel("alpha", "2.0")
    options = "download-cache = ../downloads\negg-cache-fetch-archives = true"
    (world.path / "downloads").mkdir()
    project = world.project("second", options=options)
    project.run("-N")
    assert project.installed("alpha") == "1.0"
    downloads = os.listdir(str(world.path / "downloads" / "dist"))
    assert [name for name in downloads if name.startswith("alpha")] == ["alpha-1.0-py3-none-any.whl"]


def test_a_missing_archive_fails_as_in_stock_buildout(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.project("first", versions="alpha = 1.0").run()
    shutil.copytree(str(world.index / "zc.recipe.egg"), str(world.path / "downloads" / "dist"))
    options = "download-cache = ../downloads\ninstall-from-cache = true"
    project = world.project("second", options=options, versions="alpha = 1.0")
    output = project.run(check=False)
    assert project.returncode == 1 and "Couldn't find a distribution for 'alpha==1.0'" in output
    [archive] = (world.index / "alpha").iterdir()
    shutil.copy(str(archive), str(world.path / "downloads" / "dist"))
    assert summary(project.run())["hits"] > 0


def test_a_failed_run_stores_the_eggs_it_built(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0", requires=["missing"])
    project = world.project("project")
    output = project.run(check=False)
    assert project.returncode != 0
    assert summary(output)["stored"] == 2


def test_the_cache_is_asked_only_once_for_a_missing_egg(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    hook = world.path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import eggcache._bridge as bridge\n"
        "call = bridge.Bridge.call\n"
        "def noted(self, op, **kw):\n"
        "    if op == 'find':\n"
        "        with open(%r, 'a') as asked:\n"
        "            asked.write(kw['name'] + '\\n')\n"
        "    return call(self, op, **kw)\n"
        "bridge.Bridge.call = noted\n" % str(world.path / "asked")
    )
    output = world.project("project", versions="alpha = 1.0").run(env={"PYTHONPATH": str(hook)})
    assert summary(output)["stored"] == 2
    assert (world.path / "asked").read_text().split().count("alpha") == 1
