"""Buildouts that install eggs with uv: ``installer = uv`` of zc.buildout 5.3."""

import glob
import json
import os
import re
import shutil

import pytest

from conftest import Buildout, World, summary

#: What zc.recipe.egg requires. uv wants to find all of it, though it is installed.
REQUIRED = ("packaging==26.0", "pip==26.0", "uv==0.13.9", "zc.buildout==5.3.0a2")


@pytest.fixture(scope="session")
def uv_buildout():
    return Buildout("5.3.0a2", setuptools="80.9.0", recipe="4.0.0", others=REQUIRED)


class UvWorld(World):
    """A world in which buildouts use uv, unless they say otherwise."""

    def __init__(self, path, buildout, web):
        super().__init__(path, buildout, web)
        (self.index / "zc.recipe.egg").rename(self.index / "zc-recipe-egg")
        for archive in glob.glob(os.path.join(buildout.archives, "pip", "*")):
            name = os.path.basename(archive).split("-")[0].replace("_", "-").replace(".", "-")
            (self.index / name).mkdir(exist_ok=True)
            shutil.copy(archive, str(self.index / name))
        self.env = {
            "UV_CACHE_DIR": str(path / "uv-cache"),
            "PATH": os.path.join(buildout.venv, "bin") + os.pathsep + os.environ["PATH"],
        }

    def run(self, name, *args, eggs="alpha flavour", options="installer = uv", **kw):
        """Run a new buildout; return it and its output."""
        env = dict(self.env, **kw.pop("env", {}))
        run = {key: kw.pop(key) for key in ("cache", "check") if key in kw}
        project = self.project(name, eggs=eggs, options=options, **kw)
        return project, project.run(*args, env=env, **run)


@pytest.fixture
def world(tmp_path, uv_buildout, web):
    world = UvWorld(tmp_path, uv_buildout, web)
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.c_sdist("flavour", "1.0")
    return world


def linked(project):
    """The files of a buildout that have another name somewhere."""
    files = (path for path in project.path.rglob("*") if path.is_file())
    return [str(path) for path in files if path.stat().st_nlink > 1 or path.is_symlink()]


def contents(project):
    """The files in the eggs of a buildout, without bytecode and what differs with each run of uv."""
    found = {}
    differing = "uv_build.json", "RECORD", "__pycache__"
    for path, (mode, _, content) in project.snapshot().items():
        if os.path.basename(path) not in differing and not path.endswith((".so", ".pyc")):
            found[path] = mode, content
    return found


def lines(output, project):
    """What buildout itself says, in the order in which it says it."""
    own = [line for line in output.splitlines() if not line.startswith(("eggcache", "root: "))]
    return [line.replace(str(project.path), "PROJECT") for line in own]


def scripts(project):
    folder = project.path / "bin"
    return {path.name: path.read_text().replace(str(project.path), "PROJECT") for path in folder.iterdir()}


def test_eggs_are_stored_and_served_as_copies(world):
    stock, said = world.run("stock", cache=False)
    first, output = world.run("first")
    assert summary(output) == {"hits": 0, "misses": 4, "stored": 4}
    second, again = world.run("second")
    assert summary(again) == {"hits": 4, "misses": 0, "stored": 0}
    for project, text in ((first, output), (second, again)):
        assert linked(project) == []
        assert contents(project) == contents(stock)
        assert scripts(project) == scripts(stock)
        assert lines(text, project) == lines(said, stock)
        assert project.script("alpha") == "alpha 1.0"
        assert json.loads(world.eggcache("--json", "check", str(project.path)).stdout)["problems"] == []
    assert second.snapshot() == first.snapshot()


def test_offline_everything_comes_from_the_cache(world):
    stock, _ = world.run("stock", cache=False)
    world.run("first")
    world.cut_network()
    shutil.rmtree(str(world.path / "uv-cache"))
    second, output = world.run("second", "-o")
    assert summary(output) == {"hits": 4, "misses": 0, "stored": 0}
    assert second.script("alpha") == "alpha 1.0"
    # Offline, eggs count as installed, and buildout adds those to a script in another order.
    assert {name: sorted(text.splitlines()) for name, text in scripts(second).items()} == {
        name: sorted(text.splitlines()) for name, text in scripts(stock).items()
    }
    # Once more, with everything in place.
    assert summary(second.run("-o", env=world.env)) == {"hits": 0, "misses": 0, "stored": 0}


def test_offline_an_egg_that_is_not_cached_is_missing_as_without_the_cache(world):
    world.run("first")
    world.cut_network()
    stock, said = world.run("stock", "-o", eggs="alpha gamma", cache=False, check=False)
    second, output = world.run("second", "-o", eggs="alpha gamma", check=False)
    missing = "We don't have a distribution for gamma"
    assert stock.returncode == second.returncode == 1
    assert missing in output and "Traceback" not in output


def test_only_what_is_not_cached_is_left_to_uv(world):
    world.run("first", eggs="alpha")
    both, output = world.run("both")
    assert summary(output) == {"hits": 3, "misses": 1, "stored": 1}
    assert linked(both) == [] and both.script("alpha") == "alpha 1.0"
    stock, said = world.run("stock", cache=False)
    assert lines(output, both) == lines(said, stock)


def test_another_archive_of_the_same_version_is_another_egg(world):
    world.run("first", eggs="beta")
    world.wheel("beta", "1.0", marker="other")
    shutil.rmtree(str(world.path / "uv-cache"))
    second, output = world.run("second", eggs="beta")
    assert summary(output) == {"hits": 1, "misses": 1, "stored": 1}
    assert second.script("beta") == "beta 1.0 other"


def test_eggs_of_uv_and_of_pip_are_kept_apart(world):
    world.run("first")
    pip, output = world.run("pip", options="installer = pip")
    assert summary(output) == {"hits": 0, "misses": 4, "stored": 4}
    assert all(path.read_text().startswith("pip") for path in pip.path.rglob("INSTALLER"))
    again, output = world.run("again", options="installer = pip")
    assert summary(output) == {"hits": 4, "misses": 0, "stored": 0}
    uv, output = world.run("uv")
    assert summary(output) == {"hits": 4, "misses": 0, "stored": 0}
    assert all(path.read_text().startswith("uv") for path in uv.path.rglob("INSTALLER"))
    assert [egg["variant"] for egg in world.cached()].count("uv") == 4


def test_with_pip_offline_works_too(world):
    world.run("first", options="installer = pip")
    world.cut_network()
    second, output = world.run("second", "-o", options="installer = pip")
    assert summary(output) == {"hits": 4, "misses": 0, "stored": 0}
    assert second.script("alpha") == "alpha 1.0"


def test_setuptools_for_a_namespace_package_comes_from_the_cache(world):
    # Buildout adds it by the way of pip, not with the others.
    more = {
        "space/__init__.py": "__import__('pkg_resources').declare_namespace(__name__)\n",
        "space_alpha-1.0.dist-info/namespace_packages.txt": "space\n",
    }
    world.wheel("space.alpha", "1.0", script=False, more=more)
    (world.index / "space.alpha").rename(world.index / "space-alpha")
    first, output = world.run("first", eggs="space.alpha")
    stored = summary(output)["stored"]
    assert summary(output) == {"hits": 0, "misses": stored, "stored": stored} and stored > 1
    second, output = world.run("second", eggs="space.alpha")
    assert summary(output) == {"hits": stored, "misses": 0, "stored": 0}
    assert second.eggs() == first.eggs() and linked(second) == []


CUSTOM = """
[custom]
recipe = zc.recipe.egg:custom
egg = flavour
define = FLAVOUR_7
"""


def test_a_custom_build_is_stored_and_served(world):
    def run(name, *args, **kw):
        kw = dict(kw, eggs="flavour", sections=CUSTOM, versions="flavour = 1.0", parts="custom")
        return world.run(name, *args, **kw)

    first, output = run("first")
    assert summary(output) == {"hits": 0, "misses": 2, "stored": 2}
    second, output = run("second")
    assert summary(output) == {"hits": 2, "misses": 0, "stored": 0}
    assert second.snapshot(second.path / "develop-eggs") == first.snapshot(first.path / "develop-eggs")
    pip, output = run("pip", options="installer = pip")
    assert summary(output) == {"hits": 0, "misses": 2, "stored": 2}
    world.cut_network()
    third, output = run("third", "-o")
    assert summary(output) == {"hits": 2, "misses": 0, "stored": 0}
    assert linked(third) == []


def test_a_damaged_egg_is_left_to_uv(world):
    world.run("first")
    for blob in (world.cache / "blobs").rglob("*"):
        if blob.is_file():
            blob.chmod(0o644)
            blob.write_bytes(blob.read_bytes()[:-100] + b"x" * 100)
    second, output = world.run("second")
    assert second.script("alpha") == "alpha 1.0" and linked(second) == []
    assert summary(output)["misses"] == 4


@pytest.mark.parametrize(
    "change",
    [
        "easy_install.install_pinned_dists = lambda pinned, dest, more: original(pinned, dest)",
        "del easy_install._matching_dists",
    ],
    ids=["other-parameters", "gone"],
)
def test_a_release_that_does_not_fit_is_left_alone_with_one_warning(world, change):
    world.run("first", eggs="beta")
    hook = world.path / "hook"
    hook.mkdir()
    # When eggcache looks, the function is another one; buildout itself is not changed.
    (hook / "sitecustomize.py").write_text(
        "import eggcache, eggcache._uv as uv\n"
        "stock = uv.patches_for\n"
        "def patches_for(installer):\n"
        "    from zc.buildout import easy_install\n"
        "    class Changed: pass\n"
        "    found = stock(installer)\n"
        "    def make(session, buildout, module):\n"
        "        module, easy_install = module, Changed()\n"
        "        easy_install.__dict__.update(vars(module))\n"
        "        original = module.install_pinned_dists\n"
        "        %s\n"
        "        return found(session, buildout, easy_install)\n"
        "    return make\n"
        "uv.patches_for = patches_for\n" % change
    )
    second, output = world.run("second", eggs="beta", env={"PYTHONPATH": str(hook)})
    warnings = re.findall("^eggcache: (.*)$", output, re.M)
    [warning] = warnings
    assert "works in a way that eggcache does not know" in warning, output
    assert second.script("beta") == "beta 1.0"
