"""With the cache, buildout uses the same archive as without it, wherever the cached eggs came from.

Several places have an archive of one version, each with other code. The cache is filled by buildouts
that name other places.
"""

import hashlib
import os

import pytest

import dists
from conftest import summary

#: Buildouts by the places that they name. `index` is the world's own index, `other` another one.
PLACES = {
    "index": "",
    "other": "index = {other}",
    "folder": "find-links = {folder}",
    "folder-only": "find-links = {folder}\nindex = {empty}",
    "links": "find-links = {links}",
    "allow-hosts": "find-links = {folder}\nallow-hosts = 127.0.0.1*",
}

#: How alpha is asked for, and the options of the run.
ASKED = {
    "pinned": ("alpha = 1.0", []),
    "unpinned": ("", []),
    "not newest": ("", ["-N"]),
    "pinned, not newest": ("alpha = 1.0", ["-N"]),
}


@pytest.fixture
def places(world):
    """The places, with an archive of alpha 1.0 in each."""
    return make_places(world)


def make_places(world):
    folders = {name: world.path / name for name in ("other", "folder", "links", "empty")}
    for name, folder in folders.items():
        folder.mkdir()
    world.wheel("alpha", "1.0", marker="index")
    dists.wheel(folders["other"], "alpha", "1.0", marker="other")
    for name in ("folder", "links"):
        made = dists.wheel(folders[name], "alpha", "1.0", marker=name)
        os.rename(made, str(folders[name] / os.path.basename(made)))
    for name in ("other", "empty"):
        recipe = folders[name] / "zc.recipe.egg"
        recipe.mkdir()
        for archive in (world.index / "zc.recipe.egg").iterdir():
            (recipe / archive.name).write_bytes(archive.read_bytes())
    served = {name: world.web.serve(folders[name]) for name in ("other", "links", "empty")}
    return dict(served, folder=str(folders["folder"]))


def project(world, places, name, place, versions="alpha = 1.0"):
    options = PLACES[place].format(**places)
    made = world.project(name, options=options, versions=versions)
    if "index =" in options:
        config = made.path / "buildout.cfg"
        config.write_text(config.read_text().replace("index = %s\n" % world.index_url, "", 1))
    return made


def code(project):
    """The marker in the code of alpha that a buildout has installed."""
    return project.script("alpha").split()[-1]


def stock(world, places, place, asked):
    versions, options = ASKED[asked]
    plain = project(world, places, "stock-%s-%s" % (place, asked.replace(" ", "-")), place, versions)
    plain.run(*options, cache=False)
    return code(plain)


def cached(world, places, place, asked):
    versions, options = ASKED[asked]
    made = project(world, places, "cached-%s-%s" % (place, asked.replace(" ", "-")), place, versions)
    output = made.run(*options)
    assert "without the cache" not in output
    return code(made)


def test_each_buildout_gets_the_code_of_its_own_places(world, places):
    """In any order, and again when the cache has eggs of all places."""
    names = ["index", "folder-only", "other"]
    for turn in range(2):
        for name in names:
            made = project(world, places, "%s-%d" % (name, turn), name)
            output = made.run()
            assert code(made) == {"folder-only": "folder"}.get(name, name)
            assert turn == 0 or summary(output)["misses"] == 0
    assert len([egg for egg in world.cached() if egg["name"] == "alpha"]) == 3


@pytest.mark.parametrize("asked", ["not newest", "pinned"])
def test_the_archive_is_that_of_stock_buildout(newest_world, asked):
    compare(newest_world, sorted(PLACES), [asked])


def test_the_archive_is_that_of_stock_buildout_in_all_versions(world):
    compare(world, ["folder", "other"], ["pinned"])


@pytest.mark.skipif("EGGCACHE_THOROUGH" not in os.environ, reason="takes minutes; set EGGCACHE_THOROUGH")
def test_the_archive_is_that_of_stock_buildout_in_all_cases(world):
    compare(world, sorted(PLACES), sorted(ASKED))


def compare(world, names, questions):
    places = make_places(world)
    # Eggs of all the places, and what each of these buildouts has learned.
    for number, name in enumerate(["other", "folder-only", "links", "index"]):
        project(world, places, "filling-%d" % number, name).run()
    for place in names:
        for asked in questions:
            expected = stock(world, places, place, asked)
            assert cached(world, places, place, asked) == expected, (place, asked)


def test_a_replaced_archive_is_noticed(world, places):
    """The folder has other code under the same version now."""
    first = project(world, places, "first", "folder-only")
    first.run()
    assert code(first) == "folder"
    [archive] = (world.path / "folder").glob("alpha*.whl")
    made = dists.wheel(world.path / "made", "alpha", "1.0", marker="replaced")
    os.replace(made, str(archive))
    second = project(world, places, "second", "folder-only")
    second.run()
    assert code(second) == "replaced"


def test_buildout_asks_again_only_once(world, places):
    """A buildout with other places that lead to the same archive learns so, and then needs no index."""
    project(world, places, "first", "index").run()
    options = "find-links = %s" % world.web.serve(world.path / "empty")
    learning = world.project("learning", options=options, versions="alpha = 1.0")
    assert summary(learning.run())["misses"] == 0
    asked = len(world.web.requests)
    again = world.project("again", options=options, versions="alpha = 1.0")
    assert summary(again.run())["misses"] == 0
    assert len(world.web.requests) == asked
    assert code(again) == "index"


def test_an_index_without_digests_is_compared_after_the_download(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0", marker="index")
    world.project("first", versions="alpha = 1.0").run()
    mirror = world.web.serve(world.index, has_digests=False)
    second = world.project("second", options="find-links = %salpha/" % mirror, versions="alpha = 1.0")
    assert summary(second.run())["misses"] == 0
    assert code(second) == "index"


def test_offline_the_only_archive_is_used(newest_world):
    world = newest_world
    places = make_places(world)
    project(world, places, "first", "index").run()
    offline = project(world, places, "offline", "other")
    assert summary(offline.run("-o"))["misses"] == 0
    assert code(offline) == "index"


def test_the_origin_is_recorded_without_secrets(newest_world):
    world = newest_world
    archive = world.wheel("alpha", "1.0")
    secret = world.index_url.replace("http://", "http://user:hidden@")
    world.project("first", options="find-links = %salpha/?token=hidden" % secret, versions="alpha = 1.0").run()
    [egg] = [egg for egg in world.cached() if egg["name"] == "alpha"]
    assert egg["archive_url"] == world.index_url + "alpha/" + os.path.basename(archive)
    with open(archive, "rb") as file:
        assert egg["source_sha256"] == hashlib.sha256(file.read()).hexdigest()
    for path, _, names in os.walk(str(world.cache)):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                assert b"hidden" not in file.read(), name
