"""An archive whose URL stays while its content changes."""

import os

import pytest

import dists


def moved(world, marker):
    """Put another archive of alpha 1.0 behind the same URL."""
    folder = world.path / "moving"
    archive = dists.c_sdist(folder, "alpha", "1.0", marker)
    os.replace(archive, str(folder / "master.tar.gz"))


def marker(project):
    [module] = project.eggs_directory.glob("alpha*/alpha.py")
    return module.read_text().split("MARKER = ")[1].strip().strip("'")


@pytest.mark.parametrize("through", ["link", "page"])
def test_a_pin_follows_a_link_that_names_its_egg(world, through):
    moved(world, "old")
    url = world.web.serve(world.path / "moving", has_digests=False)
    link = url + "master.tar.gz#egg=alpha-1.0"
    if through == "page":
        (world.path / "moving" / "links.html").write_text('<a href="%s">alpha</a>' % link)
        link = url + "links.html"
    kw = {"options": "find-links = " + link, "versions": "alpha = 1.0"}
    for number, state in enumerate(["old", "old", "new"]):
        moved(world, state)
        project = world.project("project-%d" % number, **kw)
        output = project.run()
        assert marker(project) == state, output
