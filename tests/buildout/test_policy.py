"""Automatic collection after a buildout: once a day, without waiting, and never failing a build."""

import json
import os
import signal
import subprocess
import time

import pytest

POLICY = '[gc]\nmax-size = "1kB"\nauto = true\n'


@pytest.fixture
def filled(world):
    """A cache with an egg that no buildout uses, and a policy that evicts it."""
    world.wheel("gamma", "1.0")
    project = world.project("filling", "gamma")
    project.run()
    world.eggcache("roots", "--forget", str(project.path))
    world.wheel("alpha", "1.0")
    (world.cache / "eggcache.toml").write_text(POLICY)
    return world


def has_gamma(world):
    return "gamma" in [egg["name"] for egg in world.cached()]


def collected(world):
    """Wait until the program that a buildout has left behind is done, and return its record."""
    last = world.cache / "gc" / "last.json"
    for _ in range(100):
        if last.exists() and not has_gamma(world):
            break
        time.sleep(0.1)
    return json.loads(last.read_text())


def test_a_successful_buildout_runs_gc_once_a_day(filled):
    world = filled
    project = world.project("project")
    project.run()
    assert collected(world)["error"] is None
    names = [egg["name"] for egg in world.cached()]
    assert "alpha" in names and "gamma" not in names
    world.project("again", "gamma").run()
    world.eggcache("roots", "--forget", str(world.path / "again"))
    project.run()
    time.sleep(0.5)
    assert has_gamma(world)
    last = world.cache / "gc" / "last.json"
    note = json.loads(last.read_text())
    last.write_text(json.dumps(dict(note, at=note["at"] - 86400)))
    project.run()
    collected(world)
    assert not has_gamma(world)


def test_a_failed_buildout_runs_no_gc(filled):
    world = filled
    project = world.project("project", "alpha missing")
    project.run(check=False)
    assert project.returncode != 0
    time.sleep(0.5)
    assert has_gamma(world) and not (world.cache / "gc").exists()


def test_an_invalid_policy_is_one_warning(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.remove_cache()
    world.cache.mkdir()
    (world.cache / "eggcache.toml").write_text("[gc]\nmax-sise = 3\n")
    project = world.project("project")
    output = project.run()
    assert output.count("max-sise") == 1 and "continuing without" not in output
    assert project.script("alpha") == "alpha 1.0"


def test_a_buildout_does_not_wait_for_automatic_gc(newest_world, tmp_path):
    world = newest_world
    world.wheel("alpha", "1.0")
    slow = tmp_path / "slow"
    slow.write_text(
        "#!/bin/sh\n'%s' \"$@\"\necho $$ >'%s'\nexec sleep 60\n"
        % (world.buildout.program, tmp_path / "pid")
    )
    slow.chmod(0o755)
    hook = tmp_path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import eggcache._bridge\neggcache._bridge.find_program = lambda: %r\n" % str(slow)
    )
    project = world.project("project")
    started = time.monotonic()
    output = project.run(env={"PYTHONPATH": str(hook), "PYTHONWARNINGS": "always"})
    assert time.monotonic() - started < 30
    pid = int((tmp_path / "pid").read_text())
    with open("/proc/%d/cmdline" % pid) as file:
        assert file.read().startswith("sleep")
    os.kill(pid, signal.SIGKILL)
    assert "continuing without" not in output and "still running" not in output
    assert project.script("alpha") == "alpha 1.0"
    subprocess.check_call([world.buildout.program, "--cache", str(world.cache), "verify", "-q"])
