"""A broken cache causes one warning, and a normal build."""

import os
import sqlite3
import subprocess

import pytest

import dists
from conftest import summary

ALONE = "continuing without the cache"


def works_without(world, **kw):
    project = world.project("project", versions="alpha = 1.0")
    output = project.run(**kw)
    assert output.count(ALONE) == 1, output
    assert "MiB copied" not in output
    assert project.script("alpha") == "alpha 1.0"
    assert not list(project.eggs_directory.glob(".eggcache-*"))
    return output


def test_a_cache_that_is_a_file(world):
    world.wheel("alpha", "1.0")
    world.remove_cache()
    world.cache.write_text("")
    assert "not a directory" in works_without(world)


def test_an_index_of_a_newer_schema(filled):
    with sqlite3.connect(str(filled.cache / "index.sqlite")) as index:
        index.execute("PRAGMA user_version = 99")
    assert "of a newer eggcache" in works_without(filled)


def test_an_index_that_is_not_a_database(filled):
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        if (filled.cache / name).exists():
            (filled.cache / name).write_bytes(b"no database at all" * 100)
    assert "reindex" in works_without(filled)


def test_an_index_with_a_trigger_is_refused(newest_world):
    newest_world.wheel("alpha", "1.0")
    newest_world.project("filling", versions="alpha = 1.0").run()
    with sqlite3.connect(str(newest_world.cache / "index.sqlite")) as index:
        index.execute("CREATE TRIGGER t AFTER UPDATE ON eggs BEGIN DELETE FROM eggs; END")
    assert "reindex" in works_without(newest_world)


def test_a_directory_of_the_user_is_left_alone(newest_world):
    newest_world.wheel("alpha", "1.0")
    newest_world.remove_cache()
    newest_world.cache.mkdir()
    notes = newest_world.cache / "ballast"
    notes.write_text("mine")
    assert "not a cache" in works_without(newest_world)
    assert list(newest_world.cache.iterdir()) == [notes]
    assert notes.read_text() == "mine"


def test_the_program_survives_an_interrupt(newest_world):
    """The program completes its work: it exits when its input ends, and is not killed."""
    code = (
        "from eggcache import _bridge\n"
        "bridge = _bridge.Bridge(_bridge.find_program())\n"
        "def interrupted(op):\n"
        "    raise KeyboardInterrupt\n"
        "bridge._answer = interrupted\n"
        "try:\n"
        "    bridge.call('close')\n"
        "except KeyboardInterrupt:\n"
        "    assert bridge.is_broken\n"
        "bridge.leave()\n"
        "assert bridge._process.wait(60) == 0\n"
    )
    python = os.path.join(newest_world.buildout.venv, "bin", "python")
    subprocess.check_call([python, "-c", code])


def test_a_program_that_does_not_answer(filled, tmp_path):
    # The program inside the package has precedence.
    inside = subprocess.check_output(
        [
            os.path.join(filled.buildout.venv, "bin", "python"),
            "-c",
            "import eggcache._bridge; print(eggcache._bridge.find_program())",
        ],
        universal_newlines=True,
    ).strip()
    assert inside.endswith("_bin/eggcache-not-pyc")
    hook = tmp_path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import eggcache._bridge\neggcache._bridge.find_program = lambda: '/bin/false'\n"
    )
    output = works_without(filled, env={"PYTHONPATH": str(hook)})
    assert "the eggcache program ended unexpectedly (exit status 1); continuing" in output


def killed_at(op, tmp_path):
    """The environment of a buildout in which the program is killed when it is asked for this."""
    hook = tmp_path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import eggcache._bridge as bridge\n"
        "call = bridge.Bridge.call\n"
        "def dying(self, op, **kw):\n"
        "    if op == %r:\n"
        "        self._process.kill()\n"
        "    return call(self, op, **kw)\n"
        "bridge.Bridge.call = dying\n" % op
    )
    return {"PYTHONPATH": str(hook)}


def test_a_program_that_dies_in_the_middle(filled, tmp_path):
    output = works_without(filled, env=killed_at("materialize", tmp_path))
    assert "(signal 9)" in output


def test_a_custom_build_after_the_program_has_died(world, tmp_path):
    world.c_sdist("native", "1.0")
    custom = "[custom]\nrecipe = zc.recipe.egg:custom\negg = native\n"
    project = world.project("project", sections=custom, versions="native = 1.0", parts="custom")
    output = project.run(env=killed_at("find", tmp_path))
    assert output.count(ALONE) == 1, output
    assert list((project.path / "develop-eggs").glob("native-1.0-*.egg"))


def test_a_verbose_run_shows_the_conversation_without_secrets(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    secrets = {
        "EGGCACHE_SIGNING_KEY": "/no/such/secret-key",
        "EGGCACHE_SIGNING_KEY_PASSWORD": "secret-password",
        "AWS_SECRET_ACCESS_KEY": "secret-access",
    }
    output = world.project("project", versions="alpha = 1.0").run("-v", env=secrets)
    assert 'eggcache: request find: {"name": "alpha"' in output
    assert "eggcache: answer: {" in output
    assert not [line for line in output.splitlines() if line.startswith("eggcache: ") and "secret-" in line]


def test_a_damaged_egg_is_built_again_and_stored_in_place(filled):
    [alpha] = [egg for egg in filled.cached() if egg["name"] == "alpha"]
    blob = filled.cache / "blobs" / alpha["digest"][:2] / alpha["digest"]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    project = filled.project("project", versions="alpha = 1.0")
    output = project.run()
    assert output.count("is damaged") == 1, output
    assert summary(output) == {"hits": 1, "misses": 1, "stored": 1}
    assert project.script("alpha") == "alpha 1.0"
    filled.eggcache("verify")
    [again] = [egg for egg in filled.cached() if egg["name"] == "alpha"]
    # The same wheel is converted into the same egg; pip never makes the same egg twice.
    is_converted = filled.buildout.generation >= 5
    assert (again["digest"] == alpha["digest"]) == is_converted


def test_a_missing_blob_is_a_miss(filled):
    [alpha] = [egg for egg in filled.cached() if egg["name"] == "alpha"]
    (filled.cache / "blobs" / alpha["digest"][:2] / alpha["digest"]).unlink()
    project = filled.project("project", versions="alpha = 1.0")
    assert summary(project.run())["misses"] == 1
    filled.eggcache("verify")


def test_a_build_that_fails_after_a_cached_egg_is_not_repeated(filled):
    dists.sdist(filled.index, "theta", "1.0", more="**None")
    outputs = []
    for cache in (False, True):
        project = filled.project("project-%s" % cache, "alpha theta", versions="alpha = 1.0\ntheta = 1.0")
        outputs.append(project.run(check=False, cache=cache))
        assert project.returncode != 0
    assert "eggcache: alpha 1.0 (cache)" in outputs[1] and ALONE not in outputs[1]
    for text in ("Getting distribution for 'theta==1.0'.", "An error occurred"):
        assert outputs[1].count(text) == outputs[0].count(text), outputs


def test_an_egg_torn_by_a_power_cut_is_copied_again(filled):
    project = filled.project("project", versions="alpha = 1.0")
    project.run()
    [module] = project.eggs_directory.glob("alpha-*.egg/alpha.py")
    content = module.read_bytes()
    module.write_bytes(b"")
    for record in (filled.cache / "copies").iterdir():
        record.write_text(record.read_text().replace('"boot": "', '"boot": "another '))
    output = project.run()
    assert output.count("the machine went down") == 1, output
    assert module.read_bytes() == content
    assert project.script("alpha") == "alpha 1.0"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
class TestMounts:
    @pytest.fixture
    def mounted(self, world):
        world.remove_cache()
        world.cache.mkdir()
        mounted = []

        def mount(*options):
            command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(world.cache)]
            if not mounted:
                subprocess.check_call(command)
                mounted.append(world.cache)
            else:
                subprocess.check_call(["mount", "-o", ",".join(options), str(world.cache)])

        yield mount
        for path in mounted:
            subprocess.check_call(["umount", "-l", str(path)])

    def test_a_full_cache(self, world, mounted):
        mounted("size=192k")
        world.wheel("alpha", "1.0")
        (world.cache / "ballast-of-this-test").write_bytes(os.urandom(100 << 10))
        project = world.project("project", versions="alpha = 1.0")
        output = project.run()
        warnings = output.count(ALONE) + output.count("storing no more eggs")
        assert warnings == 1 and ("No space left" in output or "full" in output), output
        assert project.script("alpha") == "alpha 1.0"

    def test_a_full_cache_still_serves_its_eggs(self, world, mounted):
        mounted("size=8m")
        world.wheel("alpha", "1.0")
        world.project("filling", versions="alpha = 1.0").run()
        world.wheel("beta", "1.0")
        with open(str(world.cache / "ballast-of-this-test"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 12))
            except OSError:
                pass
        project = world.project("project", "beta alpha", versions="alpha = 1.0\nbeta = 1.0")
        output = project.run()
        assert project.script("alpha") == "alpha 1.0"
        assert project.script("beta") == "beta 1.0"
        assert ALONE not in output and summary(output)["hits"] == 2, output

    def test_a_read_only_cache_serves_and_stores_nothing(self, world, mounted):
        mounted("size=32m")
        world.wheel("alpha", "1.0")
        world.wheel("beta", "1.0")
        world.project("filling", versions="alpha = 1.0").run()
        mounted("remount", "ro")
        project = world.project("project", "alpha beta", versions="alpha = 1.0\nbeta = 1.0")
        output = project.run()
        assert summary(output) == {"hits": 2, "misses": 1, "stored": 0}
        assert ALONE not in output
        assert output.count("read-only") == 1 and output.count("storing no more eggs") == 1, output
        assert project.script("alpha") == "alpha 1.0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_cache_that_cannot_be_read(filled):
    filled.cache.chmod(0)
    try:
        works_without(filled)
    finally:
        filled.cache.chmod(0o700)
