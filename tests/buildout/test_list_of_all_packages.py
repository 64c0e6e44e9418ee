"""`extensions = eggcache` where the index has no page of eggcache: buildout then reads the list of all packages.

On a large index, that takes minutes. The requests that the index gets show what avoids it.
"""

import os
import shutil
import urllib.parse

import pytest

from conftest import World, summary, the_wheel, without_eggcache

EXTENSION = "extensions = eggcache\nfind-links = "
#: The version of the wheel.
VERSION = os.path.basename(the_wheel()).split("-")[1]


@pytest.fixture
def world(tmp_path, buildout, web):
    """A world in which only a folder has the wheel, and nothing is installed beside zc.buildout."""
    world = World(tmp_path, without_eggcache(buildout, tmp_path / "venv"), web)
    (tmp_path / "wheels").mkdir()
    shutil.copy(the_wheel(), str(tmp_path / "wheels"))
    world.wheel("alpha", "1.0")
    return world


#: Named in the log where buildout looks for a newer version in each run.
PIN = "eggcache = %s in [versions] avoids that.\n" % VERSION


def reads_list(project, *args, advice=0):
    """Whether a run reads the list of all packages."""
    project.world.web.requests.clear()
    output = project.run(*args)
    assert summary(output)
    assert output.count("buildout looks for a newer eggcache") == output.count(PIN) == advice, output
    return urllib.parse.urlsplit(project.world.index_url).path in project.world.web.requests


def test_with_a_pin_the_list_is_read_only_when_eggcache_is_installed(world):
    options = EXTENSION + str(world.path / "wheels")
    project = world.project("project", options=options)
    assert reads_list(project, advice=1)
    assert reads_list(project, advice=1), "buildout looks for a newer one in each run"
    pinned = world.project("pinned", options=options, versions="eggcache = %s" % VERSION)
    assert reads_list(pinned)
    assert not reads_list(pinned)
    assert not reads_list(project, "-N")


def test_a_page_on_the_index_avoids_the_list(world):
    # It may be empty.
    (world.index / "eggcache").mkdir()
    project = world.project("project", options=EXTENSION + str(world.path / "wheels"))
    assert not reads_list(project, advice=1)
    assert project.installed("eggcache") == VERSION


def test_what_is_installed_beside_zc_buildout_is_not_looked_for(tmp_path, buildout, web):
    world = World(tmp_path, buildout, web)
    world.wheel("alpha", "1.0")
    project = world.project("project", options="extensions = eggcache")
    assert not reads_list(project)
    assert not any("eggcache" in path for path in web.requests)
    assert project.installed("eggcache") is None
