"""The GitHub action in ``action.yml``: its steps run here as a runner runs them, with caches in a folder."""

import os

import pytest
import yaml

from conftest import ROOT, summary, the_wheel
from github import Runner

FOLDER = {"working-directory": "app"}


@pytest.fixture
def action():
    with open(os.path.join(ROOT, "action.yml")) as file:
        return yaml.safe_load(file)


@pytest.fixture
def runner(newest_world, action):
    world = newest_world
    world.wheel("alpha", "1.0")
    bin = os.path.join(world.buildout.venv, "bin")
    env = {
        "PATH": os.pathsep.join([bin, os.environ["PATH"]]),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": os.path.join(world.buildout.archives, "pip"),
        "buildout_testing_index_url": world.index_url,
    }
    return Runner(action, world.path, env)


@pytest.fixture
def job(newest_world, runner):
    """Start a job on a new machine, which checks out a buildout, and run the action there."""

    def run(is_rerun=False, is_broken=False, **inputs):
        runner.start(is_rerun)
        commit(newest_world, is_broken)
        return runner.run(package=the_wheel(), **dict(FOLDER, **inputs))

    return run


def commit(world, is_broken):
    """Write a buildout into the workspace, without the option that the action sets for all buildouts."""
    broken = "[broken]\nrecipe = zc.recipe.egg\neggs = not-there\n" if is_broken else ""
    parts = "app broken" if is_broken else "app"
    project = world.project("workspace/app", sections=broken, versions="alpha = 1.0", parts=parts)
    file = project.path / "buildout.cfg"
    lines = file.read_text().splitlines(True)
    file.write_text("".join(line for line in lines if not line.startswith("egg-cache")))


def counts(runner):
    return summary(runner.outputs["run"]["summary"])


def test_the_second_run_of_a_workflow_comes_from_the_cache(runner, job):
    assert job(), runner.said
    first = counts(runner)
    assert first["hits"] == 0 and first["stored"] > 0

    assert job(), runner.said
    second = counts(runner)
    assert (second["hits"], second["misses"]) == (first["stored"], 0)
    report = runner.report.read_text()
    assert runner.outputs["run"]["summary"] in report and "eggs" in report


def test_a_buildout_that_fails_fails_the_job_and_the_next_job_has_its_eggs(runner, job):
    assert not job(is_broken=True)
    report = runner.report.read_text()
    assert "### Egg cache" in report and "2 stored" in report
    assert job(), runner.said
    assert counts(runner)["hits"] > 0 and counts(runner)["misses"] == 0


def test_a_job_that_is_run_again_has_the_eggs_of_its_failed_attempt(runner, job):
    assert not job(is_broken=True)
    assert not job(is_rerun=True, is_broken=True)
    assert runner.outputs["restore"]["cache-matched-key"].endswith("-1-1")
    assert [key[-4:] for key, _ in runner.caches.saved] == ["-1-1", "-1-2"]


def test_a_cache_is_saved_with_the_key_that_the_job_began_with(runner, job):
    assert job(), runner.said
    [(saved, _)] = runner.caches.saved
    assert saved == runner.outputs["restore"]["cache-primary-key"]
    # Used twice in a job: the cache of this key exists already.
    assert runner.run(package=the_wheel(), **FOLDER), runner.said


def test_the_cache_is_restored_for_the_same_kind_of_machine_only(action):
    [restore] = [step["with"] for step in action["runs"]["steps"] if "/restore@" in step.get("uses", "")]
    kind = "eggcache-${{ runner.os }}-${{ runner.arch }}-${{ inputs.key }}-"
    keys = restore["restore-keys"].splitlines() + [restore["key"]]
    assert len(keys) == 3 and all(key.startswith(kind) for key in keys)


def test_other_options_of_the_user_stay(newest_world, runner):
    runner.start()
    commit(newest_world, is_broken=False)
    folder = runner.home / ".buildout"
    folder.mkdir()
    (folder / "default.cfg").write_text("[buildout]\nsocket-timeout = 7\n\n[Mine]\nKey = 1\n")
    assert runner.run(package=the_wheel(), **FOLDER), runner.said
    text = (folder / "default.cfg").read_text()
    assert "socket-timeout = 7" in text and "Key = 1" in text
    assert "egg-cache = %s" % (runner.workspace / ".eggcache") in text
