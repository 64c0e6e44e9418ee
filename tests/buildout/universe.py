"""A small universe of projects: folders of archives, and caches that have many of them."""

import contextlib
import os
import shutil

from configurations import YANKED, make_archives
from conftest import Project, World
from eggcache._requirements import canonical


class PlainProject:
    """A folder with a configuration of its own."""

    def __init__(self, world, path):
        self.world, self.path = world, path

    run, start, eggs_directory = Project.run, Project.start, Project.eggs_directory


def run(universe, path, arguments):
    """Run buildout in a folder; return its exit status and its output."""
    project = PlainProject(universe, path)
    output = project.run(*arguments, check=False)
    return project.returncode, output


class Universe(World):
    """Folders of archives, and a cache that has many of them."""

    def __init__(self, path, buildout, web):
        super().__init__(path, buildout, web)
        self.links = path / "links"
        self.links.mkdir()
        make_archives(self.index, self.links)
        web.yanked.add(YANKED)
        self.all = path / "all"
        self.known = {}
        #: The folder of all runs, because paths are part of their results.
        self.app = path / "app"

    def options(self, cache, links=True):
        """The options that every configuration has."""
        options = {"index": self.index_url, "egg-cache": str(cache or "")}
        if links:
            options["find-links"] = "\n  ".join(map(str, sorted(self.links.iterdir())))
        return options

    def own_pins(self):
        """The pins of buildout's own projects."""
        own = self.buildout
        return {
            "zc.buildout": own.version,
            "setuptools": own.setuptools,
            "zc.recipe.egg": own.recipe,
        }

    def digests_of(self, name, version):
        """The eggs that a buildout with this pin adds to the cache of all."""
        if (name, version) not in self.known:
            path = self.path / "filling"
            path.mkdir()
            pins = "\n".join("%s = %s" % it for it in self.own_pins().items())
            head = "\n".join("%s = %s" % it for it in self.options(self.all).items())
            (path / "buildout.cfg").write_text(
                "[buildout]\nparts = app\n%s\n[app]\nrecipe = zc.recipe.egg\neggs = %s\n"
                "[versions]\n%s\n%s = %s\n" % (head, name, pins, name, version)
            )
            run(self, path, [])
            shutil.rmtree(str(path))
            normal = canonical(name)
            self.known[name, version] = [
                egg["digest"]
                for egg in self.listed(self.all)
                if (egg["name"], egg["version"]) == (normal, version)
            ]
        return self.known[name, version]

    def listed(self, cache):
        """The eggs in a cache."""
        if not cache.exists():
            return []
        self.cache = cache
        return self.cached()

    def no_cache(self):
        """The path of a cache that a run will make."""
        shutil.rmtree(str(self.path / "cache"), ignore_errors=True)
        return self.path / "cache"

    def make_cache(self, versions):
        """A cache with these versions, as far as this buildout can build them, and the recipe."""
        wanted = {digest for it in versions for digest in self.digests_of(*it)}
        cache = self.no_cache()
        if not wanted:
            return cache
        shutil.copytree(str(self.all), str(cache), symlinks=True)
        for egg in self.listed(cache):
            if egg["digest"] not in wanted and egg["name"] != "zc-recipe-egg":
                os.unlink(str(cache / "blobs" / egg["digest"][:2] / egg["digest"]))
        self.cache = cache
        self.eggcache("verify", "--repair", check=False)
        return cache

    def install(self, eggs, path):
        """Copy eggs of the cache into the eggs directory of a folder."""
        if eggs:
            into = PlainProject(self, path).eggs_directory
            self.eggcache("materialize", "-q", "--into", str(into), *[egg["digest"] for egg in eggs])

    @contextlib.contextmanager
    def nothing_else(self):
        """Meanwhile, neither the index nor the folders of `find-links` have an archive."""
        away = self.path / "links-out-of-reach"
        self.cut_network()
        self.links.rename(away)
        for folder in away.iterdir():
            (self.links / folder.name).mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(str(self.links))
            away.rename(self.links)
            self.restore_network()
