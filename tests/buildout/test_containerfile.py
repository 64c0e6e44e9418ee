"""docs/howto/Containerfile.build, unchanged: Buildah builds images of a buildout, and they run."""

import os

from conftest import ROOT, checkout, summary

FILE = os.path.join(ROOT, "docs", "howto", "Containerfile.build")


def context(world, name):
    """A folder with a buildout and the wheel, as it is checked out."""
    if not (world.index / "app").exists():
        world.wheel("app", "1.0")
    project = checkout(world, name, eggs="app", versions="app = 1.0")
    (project.path / "eggs").mkdir()
    (project.path / "eggs" / "old").write_text("")
    (project.path / ".dockerignore").write_text("eggs\nparts\n")
    return project.path


def test_the_second_image_is_built_from_the_cache_and_needs_nothing_else(newest_world, buildah):
    world = newest_world
    first = buildah.build(context(world, "first"), FILE, "app")
    assert summary(first)["stored"] > 0 and "self-contained" in first
    second = buildah.build(context(world, "second"), FILE, "app")
    assert summary(second)["misses"] == 0 and "self-contained" in second

    container = buildah.container("app")
    assert container.run(*container.command) == "app 1.0" and container.user() == "nobody"
    # Neither the cache nor the builder, and nothing that .dockerignore lists.
    assert not list(container.root.rglob("*eggcache*"))
    assert not (container.root / "app" / "eggs" / "old").exists()
