"""Custom builds and develop eggs: a plain egg is never used for a project that is built with options."""

import subprocess

from conftest import summary

CUSTOM = """
[custom]
recipe = zc.recipe.egg:custom
egg = native
define = FLAVOUR_%d
"""


def flavour(project):
    code = "import native; print(native.flavour)"
    command = [str(project.path / "bin" / "py"), "-c", code]
    return subprocess.check_output(command, universal_newlines=True).strip()


def custom(world, name, define):
    return world.project(
        name,
        "native",
        sections="interpreter = py\n" + CUSTOM % define,
        versions="native = 1.0",
        parts="custom app",
    )


def develop_eggs(project):
    return {
        path: found
        for path, found in project.snapshot(project.path / "develop-eggs").items()
        if path.startswith("native")
    }


def test_a_custom_build_is_cached_with_its_options(world):
    world.c_sdist("native", "1.0")
    first = custom(world, "first", 7)
    first.run("install", "custom")
    world.cut_network()
    second = custom(world, "second", 7)
    assert summary(second.run("install", "custom"))["misses"] == 0
    assert develop_eggs(second) == develop_eggs(first) != {}
    [native] = [egg for egg in world.cached() if egg["name"] == "native"]
    assert len(native["variant"]) == 64 and len(native["source_sha256"]) == 64


def test_another_build_replaces_a_damaged_custom_build(newest_world):
    world = newest_world
    for number in range(2):
        world.c_sdist("native", "1.0", marker=str(number))
        project = custom(world, "build%d" % number, 7)
        configuration = project.path / "buildout.cfg"
        configuration.write_text(configuration.read_text().replace("native = 1.0", ""))
        project.run("install", "custom")
    builds = [egg for egg in world.cached() if egg["name"] == "native"]
    assert len(builds) == 2
    blobs = [world.cache / "blobs" / egg["digest"][:2] / egg["digest"] for egg in builds]
    for number, blob in enumerate(blobs):
        content = blob.read_bytes()
        blob.chmod(0o644)
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        output = custom(world, "project%d" % number, 7).run("install", "custom")
        assert summary(output)["misses"] == 0, output
        blob.write_bytes(content)


def test_another_option_is_another_build(world):
    world.c_sdist("native", "1.0")
    custom(world, "first", 7).run("install", "custom")
    assert summary(custom(world, "second", 8).run("install", "custom"))["misses"] == 1
    assert len([egg for egg in world.cached() if egg["name"] == "native"]) == 2


def test_the_plain_egg_is_not_served_for_a_custom_build(world):
    world.c_sdist("native", "1.0")
    world.project("plain", "native", versions="native = 1.0").run()
    world.cut_network()
    project = custom(world, "project", 7)
    project.run("install", "app", check=False)
    assert project.returncode != 0
    assert project.installed("native") is None


def test_the_name_of_a_custom_project_may_be_a_reference(world):
    world.c_sdist("native", "1.0")
    world.project("plain", "native", versions="native = 1.0").run()
    world.cut_network()
    project = custom(world, "project", 7)
    config = project.path / "buildout.cfg"
    text = config.read_text().replace("egg = native", "egg = ${names:it}\n\n[names]\nit = native")
    config.write_text(text)
    project.run("install", "app", check=False)
    assert project.returncode != 0
    assert project.installed("native") is None


def test_offline_restores_a_custom_build(world):
    world.c_sdist("native", "1.0")
    first = custom(world, "first", 7)
    first.run("install", "custom")
    world.project("recipe", "zc.recipe.egg").run()
    world.cut_network()
    second = custom(world, "second", 7)
    second.run("-o")
    assert develop_eggs(second) == develop_eggs(first) != {}
    assert flavour(second) == "7"


def test_a_develop_egg_wins_and_is_never_stored(world):
    world.wheel("alpha", "9.0")
    world.project("filling", versions="alpha = 9.0").run()
    project = world.project("project", options="develop = src")
    source = project.path / "src"
    source.mkdir()
    (source / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='alpha', version='0.1.dev0', py_modules=['alpha'],\n"
        "      entry_points={'console_scripts': ['alpha = alpha:main']})\n"
    )
    (source / "alpha.py").write_text("def main():\n    print('from source')\n")
    project.run()
    assert project.script("alpha") == "from source"
    assert project.installed("alpha") is None
    assert [egg["version"] for egg in world.cached() if egg["name"] == "alpha"] == ["9.0"]


def test_another_part_uses_a_custom_egg_as_without_the_cache(world):
    world.c_sdist("native", "1.0")
    world.wheel("alpha", "1.0")
    found = {}
    for name, cache in (("stock", False), ("cached", True), ("again", True)):
        project = custom(world, name, 7)
        project.run(cache=cache)
        found[name] = flavour(project)
        [egg] = [path.name for path in (project.path / "develop-eggs").iterdir() if path.suffix == ".egg"]
        config = project.path / "buildout.cfg"
        text = config.read_text().replace("eggs = native", "eggs = alpha")
        path = "extra-paths = ${buildout:develop-eggs-directory}/%s\ninterpreter = py" % egg
        config.write_text(text.replace("interpreter = py", path))
        project.run(cache=cache)
        assert flavour(project) == "7"
    is_found = world.buildout.version.startswith("2.")
    assert set(found.values()) == {"7" if is_found else "0"}
