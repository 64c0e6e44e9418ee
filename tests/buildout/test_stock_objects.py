"""Recipes and extensions use what buildout has in memory: it is what they find without the cache."""

import re

import pytest

from test_converting import hook

#: Copies a working set, as released versions of zc.recipe.egg do.
RECIPE = """

import copy, pickle, zc.buildout.easy_install

class Recipe:
    def __init__(self, buildout, name, options):
        self.buildout = buildout["buildout"]

    def install(self):
        found = zc.buildout.easy_install.install(
            ["alpha"], self.buildout["eggs-directory"], index=self.buildout["index"]
        )
        for copied in copy.deepcopy(found), pickle.loads(pickle.dumps(found)):
            for dist in sorted(copied, key=str):
                print("COPY %s requires %s, with extra %s" % (
                    dist, sorted(map(str, dist.requires())), sorted(map(str, dist.requires(["more"])))
                    if "more" in dist.extras else ()
                ))
        return ()

    update = install
"""

#: Replaces methods of the index after the run has begun, as an extension can, and uses parts of pip.
EXTENSION = """
import functools
import zc.buildout.buildout as buildout

load = buildout.Buildout._load_extensions

def count(index, name):
    stock = getattr(index, name)

    @functools.wraps(stock)
    def method(*args, **kw):
        print("EXTENSION", name)
        return stock(*args, **kw)

    method.__module__ = "extension"
    setattr(index, name, method)

def _load_extensions(self):
    load(self)
    try:
        from zc.buildout._package_index import PackageIndex
    except ImportError:
        from setuptools.package_index import PackageIndex
    count(PackageIndex, "process_url")
    count(PackageIndex, "open_url")
    if "pip" in buildout.sys.modules:
        import pip
        print("EXTENSION", pip._vendor.__name__, pip._internal.__name__)

buildout.Buildout._load_extensions = _load_extensions
"""


def marked(output, mark):
    return re.findall("^%s .*$" % mark, output, re.M)


def test_a_recipe_can_copy_the_working_set(world):
    world.wheel("alpha", "1.0", requires=["beta", "gamma; extra == 'more'"], extras=["more"])
    world.wheel("beta", "1.0")
    world.wheel("gamma", "1.0")
    world.wheel("copying", "1.0", recipe=RECIPE)
    sections = "[copies]\nrecipe = copying\n"
    runs = [
        world.project(name, sections=sections, parts="copies").run(cache=name != "stock")
        for name in ("stock", "first", "second")
    ]
    stock, first, second = [marked(output, "COPY") for output in runs]
    assert len(stock) == 4 and stock == first == second


@pytest.mark.one_version
def test_an_extension_replaces_methods_of_the_index_as_in_stock(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    env = hook(world, EXTENSION)
    kw = {"versions": "alpha = 1.0\nbeta = 1.0\n"}
    stock = marked(world.project("stock", **kw).run(env=env, cache=False), "EXTENSION")
    ours = marked(world.project("ours", **kw).run(env=env), "EXTENSION")
    assert "EXTENSION open_url" in stock and sorted(ours) == sorted(stock)
