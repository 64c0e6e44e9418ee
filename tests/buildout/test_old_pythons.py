"""Buildouts of the oldest Pythons, as far as this machine has them: they are found as in tests/python."""

import json
import os
import sys

import pytest

from conftest import ROOT, Buildout, World, serve_wheel, summary, without_eggcache

sys.path.insert(0, os.path.join(ROOT, "tests", "python"))

import pythons  # noqa: E402
from cells import scripts  # noqa: E402
from test_fetching_ahead import WatchedIndex  # noqa: E402
import cells  # noqa: E402

#: Python, zc.buildout and setuptools.
PAIRS = [
    ("2.7", "2.13.8", "44.1.1"),
    ("2.7", "3.4", "44.1.1"),
    ("3.6", "2.13.8", "51.3.3"),
    ("3.7", "3.4", "68.0.0"),
]


@pytest.fixture(scope="session", params=PAIRS, ids=["py%s-%s" % pair[:2] for pair in PAIRS])
def old_buildout(request):
    python, version, setuptools = request.param
    path = pythons.find(python)
    if path is None:
        pytest.skip("no Python %s on this machine" % python)
    return Buildout(version, path, setuptools, "py%s-%s" % (python, version))


@pytest.fixture
def old_world(tmp_path, old_buildout, web):
    return World(tmp_path, old_buildout, web)


def is_2(world):
    return "py2.7" in world.buildout.venv


def test_a_second_folder_is_served_completely_and_as_without_the_cache(old_world):
    world = old_world
    world.wheel("alpha", "1.0", requires=["beta"], python="py2.py3")
    world.wheel("beta", "1.0", python="py2.py3")
    world.c_sdist("flavour", "1.0")
    stock = world.project("stock", eggs="alpha flavour")
    stock.run(cache=False)
    first = world.project("first", eggs="alpha flavour")
    assert summary(first.run()) == {"hits": 0, "misses": 4, "stored": 4}
    second = world.project("second", eggs="alpha flavour")
    assert summary(second.run()) == {"hits": 4, "misses": 0, "stored": 0}
    world.cut_network()
    offline = world.project("offline", eggs="alpha flavour")
    assert summary(offline.run("-o")) == {"hits": 4, "misses": 0, "stored": 0}
    assert scripts(first) == scripts(second) == scripts(stock)
    # Offline, eggs count as installed, and buildout adds those to a script in another order.
    assert {name: sorted(text) for name, text in scripts(offline).items()} == {
        name: sorted(text) for name, text in scripts(stock).items()
    }
    assert first.eggs() == stock.eggs()
    for project in (second, offline):
        assert project.snapshot() == first.snapshot()
        assert project.script("alpha") == "alpha 1.0"
    world.eggcache("check", str(second.path))
    [flavour] = [egg for egg in world.cached() if egg["name"] == "flavour"]
    assert flavour["abi"].startswith("cp27" if is_2(world) else "cpython-3")


def test_archives_are_fetched_ahead_except_with_python_2(tmp_path, old_buildout):
    web = WatchedIndex()
    world = World(tmp_path, old_buildout, web)
    world.wheel("alpha", "1.0", requires=["beta", "gamma"], python="py2.py3")
    for name in "beta", "gamma":
        world.wheel(name, "1.0", python="py2.py3")
    project = world.project("project", versions="alpha = 1.0\nbeta = 1.0\ngamma = 1.0\n")
    web.delay = 0.05
    assert summary(project.run())["misses"] == 4
    assert (web.most > 1) == (not is_2(world))


def test_a_cell_of_the_matrix_is_right(old_world):
    cells.add_distributions(old_world)
    assert cells.faults_of_cell(old_world) == []


def test_buildout_installs_the_wheel_as_an_extension(tmp_path, old_buildout, web):
    world = World(tmp_path, without_eggcache(old_buildout, tmp_path / "venv"), web)
    serve_wheel(world)
    world.c_sdist("flavour", "1.0")
    options = "extensions = eggcache"
    first = world.project("first", eggs="flavour", options=options)
    assert summary(first.run())["misses"] == 2 and first.installed("eggcache")
    second = world.project("second", eggs="flavour", options=options)
    assert summary(second.run())["misses"] == 0


def test_paths_may_have_all_characters(old_world):
    world = old_world
    world.cache = world.path / "cäche"
    world.c_sdist("flavour", "1.0")
    # Without a locale, stock buildout of Python 3 fails in such a folder.
    env = {"LC_ALL": "C" if is_2(world) else "C.UTF-8"}
    first = world.project("först", eggs="flavour")
    assert summary(first.run(env=env)) == {"hits": 0, "misses": 2, "stored": 2}
    second = world.project("zwölf 日本", eggs="flavour")
    assert summary(second.run(env=env)) == {"hits": 2, "misses": 0, "stored": 0}
    assert second.snapshot() == first.snapshot()
    roots = json.loads(world.eggcache("roots", "--json").stdout)["roots"]
    assert sorted(root["directory"] for root in roots) == [str(first.path), str(second.path)]
