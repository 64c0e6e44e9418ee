"""A buildout gets eggs of its own index and find-links, whatever other buildouts have stored.

`test_archives` compares runs with stock buildout; these are single cases beside it. With
``EGGCACHE_THOROUGH``, those that depend on the version of buildout run with all of them.
"""

import os
import shutil

import pytest

import dists
from conftest import ALL, Buildout, World, summary
from test_archives import code, make_places, project

THOROUGH = "EGGCACHE_THOROUGH" in os.environ

#: Nothing listens there.
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(params=ALL if THOROUGH else [ALL[0], ALL[-1]])
def some_world(tmp_path, request, web):
    return World(tmp_path, Buildout(request.param), web)


def archive(folder, marker, version="1.0"):
    """Put an archive of alpha into a find-links folder."""
    made = dists.wheel(folder / "made", "alpha", version, marker=marker)
    path = folder / os.path.basename(made)
    shutil.move(made, str(path))
    shutil.rmtree(str(folder / "made"))
    return path


@pytest.fixture
def folders(newest_world):
    """Two folders with different archives of alpha 1.0."""
    found = [newest_world.path / name for name in ("one", "two")]
    for folder in found:
        folder.mkdir()
        archive(folder, folder.name)
    return found


def of_links(world, name, *links, **kw):
    options = "find-links = " + "\n  ".join(map(str, links))
    return world.project(name, options=options, versions="alpha = 1.0", **kw)


# -- Offline


def test_offline_uses_the_own_archive_of_several(some_world):
    world = some_world
    places = make_places(world)
    names = ["other", "links", "folder-only"]
    for name in names:
        project(world, places, "filling-" + name, name).run()
    for name in names:
        made = project(world, places, "offline-" + name, name)
        output = made.run("-o")
        assert code(made) == {"folder-only": "folder"}.get(name, name), output
        assert "several archives" not in output


def test_offline_the_places_of_a_part_count(newest_world, folders):
    for number, folder in enumerate(folders):
        of_links(newest_world, "filling%d" % number, folder).run()
    part = "find-links = %s" % folders[1]
    online = of_links(newest_world, "online", folders[0], sections=part)
    online.run()
    offline = of_links(newest_world, "offline", folders[0], sections=part)
    offline.run("-o")
    assert code(online) == code(offline) == "two"


def test_offline_one_of_several_unknown_archives_is_not_used(newest_world, folders):
    for number, folder in enumerate(folders):
        of_links(newest_world, "filling%d" % number, folder).run()
    third = of_links(newest_world, "third", NOWHERE)
    # Stock buildout asks the default index.
    output = third.run("-o", check=False, env={"buildout_testing_index_url": NOWHERE})
    assert third.returncode != 0
    assert output.count("several archives of alpha") == 1


# -- What else differs


def test_an_index_of_another_query_is_another_place(newest_world):
    """The cache has the egg of one repository, and this buildout names another one."""
    world = newest_world
    world.wheel("alpha", "1.0")
    page = world.index_url + "alpha/"
    of_links(world, "first", page + "?repo=x").run()
    asked = len(world.web.requests)
    again = of_links(world, "again", page + "?repo=x")
    assert summary(again.run())["misses"] == 0
    assert len(world.web.requests) == asked
    of_links(world, "second", page + "?repo=y").run()
    assert len(world.web.requests) > asked


def test_a_local_version_in_a_folder_comes_first(newest_world):
    """Stock buildout takes ``1.0+abc`` for ``==1.0``."""
    world = newest_world
    folder = world.path / "folder"
    folder.mkdir()
    archive(folder, "plain")
    of_links(world, "first", folder).run()
    archive(folder, "local", "1.0+abc")
    stock, cached = of_links(world, "stock", folder), of_links(world, "cached", folder)
    stock.run(cache=False)
    cached.run()
    assert code(stock) == code(cached) == "local"


def test_an_unpacked_egg_in_a_folder_comes_first(newest_world):
    """An egg directory in find-links wins over a source distribution."""
    world = newest_world
    folder, eggs = world.path / "folder", world.path / "unpacked"
    folder.mkdir()
    made = archive(folder, "unpacked")
    unpacking = of_links(world, "unpacking", folder)
    unpacking.run(cache=False)
    made.unlink()
    [egg] = unpacking.eggs_directory.glob("alpha-*.egg")
    shutil.copytree(str(egg), str(eggs / egg.name))
    shutil.move(dists.c_sdist(folder / "made", "alpha", "1.0", marker="source"), str(folder))
    sdist = of_links(world, "first", folder)
    sdist.run()
    stock, cached = of_links(world, "stock", folder, eggs), of_links(world, "cached", folder, eggs)
    stock.run(cache=False)
    cached.run()
    assert code(stock) == code(cached) == "unpacked"


def test_a_download_cache_comes_first(newest_world, folders):
    """Among equal archives, buildout takes that of its download cache."""
    world, options = newest_world, "download-cache = ../downloads\n"
    downloads = world.path / "downloads" / "dist"
    downloads.mkdir(parents=True)
    archive(downloads, "downloaded")
    of_links(world, "first", *folders).run()
    for name, cache in [("stock", False), ("cached", True), ("again", True)]:
        links = options + "find-links = %s\n  %s" % tuple(folders)
        made = world.project(name, options=links, versions="alpha = 1.0")
        output = made.run(cache=cache)
        assert code(made) == "downloaded"
    assert summary(output)["misses"] == 0


def test_a_page_of_links_is_left_to_buildout(newest_world, folders):
    page = newest_world.path / "page"
    page.mkdir()
    for number, folder in enumerate(folders):
        (page / "index.html").write_text(
            '<a href="../%s/alpha-1.0-py3-none-any.whl">alpha</a>' % folder.name
        )
        made = of_links(newest_world, "project%d" % number, page.as_uri() + "/")
        made.run()
        assert code(made) == folder.name


def test_a_replaced_archive_of_a_local_index_is_noticed(newest_world):
    world = newest_world
    for marker in ("old", "new"):
        world.wheel("alpha", "1.0", marker=marker)
        made = world.project(marker, versions="alpha = 1.0")
        config = made.path / "buildout.cfg"
        config.write_text(config.read_text().replace(world.index_url, str(world.index)))
        made.run()
        assert code(made) == marker


def test_an_archive_that_is_gone_is_not_served(newest_world, folders):
    of_links(newest_world, "first", folders[0]).run()
    next(folders[0].glob("alpha*")).unlink()
    second = of_links(newest_world, "second", folders[0])
    output = second.run(check=False)
    assert second.returncode != 0 and "Couldn't find" in output, output


def test_a_foreign_version_does_not_count_as_available(newest_world):
    world = newest_world
    places = make_places(world)
    dists.wheel(world.path / "other", "alpha", "9.0", marker="foreign")
    project(world, places, "first", "index").run()
    project(world, places, "foreign", "other", versions="alpha = 9.0").run()
    made = project(world, places, "made", "index", versions="")
    made.run("-N")
    assert (made.installed("alpha"), code(made)) == ("1.0", "index")


# -- What the cache keeps


def test_a_choice_survives_the_loss_of_the_index(newest_world, folders):
    world = newest_world
    of_links(world, "first", folders[0]).run()
    for path in world.cache.glob("index.sqlite*"):
        path.unlink()
    world.cut_network()
    second = of_links(world, "second", folders[0])
    assert summary(second.run())["misses"] == 0
    assert code(second) == "one"


def test_an_egg_that_was_added_by_hand_is_used_on_request(newest_world, folders):
    world = newest_world
    first = of_links(world, "first", folders[0])
    first.run(cache=False)
    world.eggcache("add", "--generation", str(world.buildout.generation), str(first.eggs_directory))
    asking = of_links(world, "asking", folders[1])
    said = asking.run()
    assert code(asking) == "two"
    assert "added by hand are not used for alpha, zc.recipe.egg, because" in said
    options = "egg-cache-unknown-archives = use\nfind-links = %s" % NOWHERE
    using = world.project("using", options=options, versions="alpha = 1.0")
    output = using.run()
    assert code(using) == "one" and "unused option" not in output
    assert "added by hand" not in output
    # The other archive is known, and was chosen among other places.
    assert summary(output)["misses"] == 0


def test_without_a_pin_the_index_decides_on_the_version_of_an_egg_that_was_added_by_hand(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    first = world.project("first")
    first.run(cache=False)
    world.eggcache("add", "--generation", str(world.buildout.generation), str(first.eggs_directory))
    said = world.project("asking").run()
    assert "added by hand are not used for alpha, zc.recipe.egg, because" in said
    for name in ("alpha", "zc.recipe.egg"):
        world.eggcache("remove", name, "--force")
    world.eggcache("add", "--generation", str(world.buildout.generation), str(first.eggs_directory))
    options = "egg-cache-unknown-archives = use"
    assert summary(world.project("using", options=options).run())["misses"] == 0
    world.wheel("alpha", "2.0")
    newer = world.project("newer", options=options)
    assert summary(newer.run())["misses"] == 1
    assert newer.installed("alpha") == "2.0"


def test_no_secret_of_a_query_is_stored_or_logged(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    log = world.path / "log"
    env = {"EGGCACHE_LOG": str(log), "EGGCACHE_LOG_LEVEL": "trace"}
    link = world.index_url.replace("http://", "http://user:hidden@") + "alpha/?token=hidden"
    output = of_links(world, "first", link).run(env=env) + of_links(world, "second", link).run(env=env)
    told = [line for line in output.splitlines() if line.startswith("eggcache")]
    assert "hidden" not in str(told) + str(world.cached()) + log.read_text()
    for path, _, names in os.walk(str(world.cache)):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                assert b"hidden" not in file.read(), name


# -- Remotes


def test_an_egg_of_a_remote_knows_its_choice(newest_world, folders):
    world = newest_world
    key = world.path / "key"
    world.eggcache("keygen", str(key))

    def member(name, folder, *options):
        world.cache = world.path / (name + "-cache")
        remote = str(world.path / "pool")
        world.eggcache("remote", "add", "team", remote, "--key", "%s.pub" % key, *options)
        return of_links(world, name, folder)

    member("builder", folders[0], "--push").run(env={"EGGCACHE_SIGNING_KEY": str(key)})
    reader = member("reader", folders[0])
    assert summary(reader.run())["misses"] == 0
    other = member("other", folders[1])
    assert summary(other.run())["misses"] > 0
    assert (code(reader), code(other)) == ("one", "two")
