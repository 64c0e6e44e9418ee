"""The GitHub action in ``action.yml``: its steps run here as a runner runs them, with caches in a folder."""

import os
import shutil
import sys

import pytest
import yaml

from conftest import BROKEN, ROOT, checkout, environment, summary
from github import Runner

INPUTS = {"working-directory": "app", "package": "app/wheels/eggcache-*.whl"}


@pytest.fixture
def action():
    with open(os.path.join(ROOT, "action.yml")) as file:
        return yaml.safe_load(file)


@pytest.fixture
def runner(newest_world, action):
    newest_world.wheel("alpha", "1.0")
    return Runner(action, newest_world.path, environment(newest_world))


@pytest.fixture
def job(newest_world, runner):
    """Start a job on a new machine, which checks out a buildout, and run the action there."""

    def run(is_rerun=False, is_broken=False):
        runner.start(is_rerun)
        checkout(newest_world, "workspace/app", versions="alpha = 1.0", **(BROKEN if is_broken else {}))
        return runner.run(**INPUTS)

    return run


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


@pytest.mark.parametrize(
    "package, why", [("", "set the input package to"), ("eggcache-0.1.0-py3-none-any.whl", "does not exist")]
)
def test_without_the_package_only_its_installation_fails(newest_world, action, package, why):
    # A Python without eggcache.
    env = environment(newest_world, os.path.dirname(sys.executable))
    assert shutil.which("eggcache", path=env["PATH"]) is None
    runner = Runner(action, newest_world.path, env)
    runner.start()
    checkout(newest_world, "workspace/app")
    assert not runner.run(**dict(INPUTS, package=package))
    assert runner.failed == ["Install eggcache"] and why in runner.said, runner.said


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
    assert runner.run(**INPUTS), runner.said


def test_the_cache_is_restored_for_the_same_kind_of_machine_only(action):
    [restore] = [step["with"] for step in action["runs"]["steps"] if "/restore@" in step.get("uses", "")]
    kind = "eggcache-${{ runner.os }}-${{ runner.arch }}-${{ inputs.key }}-"
    keys = restore["restore-keys"].splitlines() + [restore["key"]]
    assert len(keys) == 3 and all(key.startswith(kind) for key in keys)


def test_other_options_of_the_user_stay(newest_world, runner):
    runner.start()
    checkout(newest_world, "workspace/app", versions="alpha = 1.0")
    folder = runner.home / ".buildout"
    folder.mkdir()
    (folder / "default.cfg").write_text("[buildout]\nsocket-timeout = 7\n\n[Mine]\nKey = 1\n")
    assert runner.run(**INPUTS), runner.said
    text = (folder / "default.cfg").read_text()
    assert "socket-timeout = 7" in text and "Key = 1" in text
    assert "egg-cache = %s" % (runner.workspace / ".eggcache") in text
