"""The main job: an egg is built once, and every later buildout gets its own copy."""

import os
import sys

from conftest import summary


def test_a_second_buildout_needs_no_index_and_equals_the_first(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    pins = "alpha = 1.0\nbeta = 1.0"
    first = world.project("first", versions=pins)
    assert summary(first.run()) == {"hits": 0, "misses": 3, "stored": 3}
    world.cut_network()
    second = world.project("second", versions=pins)
    output = second.run()
    assert summary(output) == {"hits": 3, "misses": 0, "stored": 0}
    assert "unused option" not in output
    assert first.snapshot() == second.snapshot()
    assert second.script("alpha") == "alpha 1.0"


def test_scripts_and_eggs_equal_those_of_an_uncached_build(world):
    world.wheel("alpha", "1.0", requires=["beta", "gamma>=1"])
    world.wheel("beta", "1.0", requires=["gamma"])
    world.wheel("gamma", "1.2")
    plain = world.project("plain")
    plain.run(cache=False)
    world.project("filling").run()
    cached = world.project("cached")
    assert summary(cached.run())["misses"] == 0
    assert cached.eggs() == plain.eggs()
    for script in (plain.path / "bin").iterdir():
        text = (cached.path / "bin" / script.name).read_text()
        assert text == script.read_text().replace(str(plain.path), str(cached.path))


def test_logged_and_picked_versions_are_as_without_a_cache(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.project("filling").run()
    plain = world.project("plain").run(cache=False)
    cached = world.project("cached").run()
    interesting = ("Getting", "Got", "Installing", "alpha =", "beta =", "Versions had")
    lines = lambda output: [line for line in output.splitlines() if line.startswith(interesting)]
    assert lines(cached) == lines(plain)
    assert "alpha = 1.0" in lines(plain)


def test_nothing_is_linked_to_the_cache(world):
    world.wheel("alpha", "1.0")
    world.project("first").run()
    second = world.project("second")
    second.run()
    inodes = lambda folder: {
        (os.lstat(os.path.join(path, name)).st_dev, os.lstat(os.path.join(path, name)).st_ino)
        for path, _, names in os.walk(str(folder))
        for name in names
    }
    assert not inodes(second.path) & inodes(world.cache)
    for path, directories, names in os.walk(str(second.path)):
        for name in directories + names:
            entry = os.path.join(path, name)
            assert not os.path.islink(entry), entry
            assert os.path.isdir(entry) or os.lstat(entry).st_nlink == 1, entry


def test_a_compiled_egg_is_compiled_once(world):
    world.c_sdist("native", "1.0")
    interpreter = "interpreter = py"
    first = world.project("first", "native", sections=interpreter, versions="native = 1.0")
    first.run()
    world.cut_network()
    second = world.project("second", "native", sections=interpreter, versions="native = 1.0")
    assert summary(second.run())["misses"] == 0
    assert first.snapshot() == second.snapshot()
    [native] = [egg for egg in world.cached() if egg["name"] == "native"]
    assert native["abi"].startswith("cpython-3") and len(native["source_sha256"]) == 64
    probe = [str(second.path / "bin" / "py"), "-c", "import native; print(native.flavour)"]
    assert os.popen(" ".join(map(repr, probe))).read() == "0\n"


def test_an_egg_outlives_the_cache_and_the_first_buildout(world):
    world.wheel("alpha", "1.0")
    first = world.project("first")
    first.run()
    second = world.project("second")
    second.run()
    world.cache.rename(world.path / "gone")
    first.path.rename(world.path / "gone-too")
    assert second.script("alpha") == "alpha 1.0"


def test_running_again_changes_nothing(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    project.run()
    before = project.snapshot()
    assert summary(project.run()) == {"hits": 0, "misses": 0, "stored": 0}
    assert project.snapshot() == before


def test_a_shared_eggs_directory_works_with_a_cache(world):
    world.wheel("alpha", "1.0")
    shared = "eggs-directory = ../shared-eggs"
    world.project("first", options=shared).run()
    second = world.project("second", options=shared)
    assert summary(second.run()) == {"hits": 0, "misses": 0, "stored": 0}
    alone = world.project("alone")
    assert summary(alone.run())["misses"] == 0
    assert alone.script("alpha") == second.script("alpha") == "alpha 1.0"


def rows(world):
    """The eggs in the cache, as often as it has them."""
    return sorted(egg["file_name"] for egg in world.cached())


def test_eggs_that_were_there_before_are_not_doubled_by_the_next_run(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    before = world.project("before")
    before.run(cache=False)
    world.eggcache("add", str(before.path / "eggs"), *generation_of(world))
    added = rows(world)
    world.project("second").run()
    assert rows(world) == added


def generation_of(world):
    """The options of `add` for the eggs of this buildout."""
    generation = world.buildout.generation
    return ["--generation", str(generation)] if generation < 5 else []


def test_eggs_of_wheels_that_were_there_before_are_as_good_as_built_ones(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    before = world.project("before")
    before.run(cache=False)
    [patched] = before.path.glob("eggs/*/beta-1.0-*.egg/beta.py")
    patched.write_text(patched.read_text() + "# patched\n")
    world.eggcache("add", "--trust-records", str(before.path / "eggs"))
    second = world.project("second")
    output = second.run()
    # The patched egg is not that of its wheel.
    assert summary(output)["misses"] == 1 and summary(output)["hits"] == len(before.eggs()) - 1
    [own] = second.path.glob("eggs/*/beta-1.0-*.egg/beta.py")
    assert "patched" not in own.read_text()


def test_requirements_of_an_extra_come_from_the_cache(world):
    """Eggs with a dist-info directory name the extra in the marker of a requirement."""
    name = "alpha-1.0-py%d.%d.egg" % sys.version_info[:2]
    info = world.path / "made" / name / "alpha-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "alpha.py").write_text("")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nProvides-Extra: more\n"
        'Requires-Dist: beta; extra == "more"\n'
    )
    (info / "RECORD").write_text("")
    world.eggcache("add", str(info.parent), "--generation", str(world.buildout.generation))
    world.wheel("beta", "1.0")
    project = world.project(
        "project",
        "alpha[more]",
        options="egg-cache-unknown-archives = use",
        versions="alpha = 1.0\nbeta = 1.0",
    )
    output = project.run()
    assert "without the cache" not in output
    assert summary(output)["hits"] == 1
    assert project.installed("beta") == "1.0"


def test_requirements_given_as_an_iterator_are_installed(newest_world):
    newest_world.wheel("alpha", "1.0")
    recipe = (
        "import zc.buildout.easy_install\n\n"
        "class Recipe:\n"
        "    def __init__(self, buildout, name, options):\n"
        "        self.options = buildout['buildout']\n\n"
        "    def install(self):\n"
        "        specs = (spec for spec in ['alpha'])\n"
        "        zc.buildout.easy_install.install(\n"
        "            specs, self.options['eggs-directory'], index=self.options['index'])\n"
        "        return []\n"
    )
    newest_world.wheel("once", "1.0", recipe=recipe)
    project = newest_world.project("project", sections="[once]\nrecipe = once", parts="once")
    project.run()
    assert "alpha-1.0" in project.eggs()


def test_a_half_installed_egg_is_not_used(world):
    world.wheel("alpha", "1.0")
    project = world.project("project")
    # pip installs into such a folder first. The buildout may still be running, or was killed.
    half = project.eggs_directory / "tmp1a2b3c4d"
    (half / "alpha-1.0.dist-info").mkdir(parents=True)
    metadata = half / "alpha-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
    project.run()
    assert project.script("alpha") == "alpha 1.0"
    assert metadata.exists()


def test_two_buildouts_can_share_eggs_directory_and_cache(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    shared = "eggs-directory = ../shared-eggs"
    projects = [world.project(name, options=shared) for name in ("one", "two")]
    # Without this, buildout may fail if both create the folders at the same moment, even without a cache.
    (world.path / "shared-eggs" / "v5").mkdir(parents=True)
    running = [project.start() for project in projects]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
    assert [project.script("alpha") for project in projects] == ["alpha 1.0"] * 2
    names = sorted(egg["name"] for egg in world.cached())
    assert names == ["alpha", "beta", "zc-recipe-egg"]
    world.eggcache("verify")
