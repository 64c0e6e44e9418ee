"""The GitHub action in ``action.yml``: its steps run here as a runner runs them, but for the store of caches."""

import os
import re
import subprocess

import pytest
import yaml

from conftest import ROOT, summary, the_wheel


class Runner:
    """What a runner of GitHub gives to the steps of a job."""

    def __init__(self, world, action):
        self.world, self.action = world, action
        self.workspace = world.path / "workspace"
        self.temp = world.path / "temp"
        self.temp.mkdir()
        self.workspace.mkdir()
        self.report = self.temp / "summary"
        self.outputs = {}
        bin = os.path.join(world.buildout.venv, "bin")
        self.env = {
            "PATH": os.pathsep.join([bin, os.environ["PATH"]]),
            "HOME": str(world.path),
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.report),
            "RUNNER_TEMP": str(self.temp),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": os.path.join(world.buildout.archives, "pip"),
            "buildout_testing_index_url": world.index_url,
        }

    def evaluate(self, text, inputs):
        """The value of a text with expressions."""
        values = {"inputs.%s" % name: value for name, value in inputs.items()}
        values["steps.run.outputs.summary"] = self.outputs.get("summary", "")
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found.group(1)], text)

    def run(self, **inputs):
        """Run the steps. A failure ends all but those that always run; the result is whether all succeed."""
        defaults = {name: it.get("default", "") for name, it in self.action["inputs"].items()}
        inputs = dict(defaults, package=the_wheel(), **inputs)
        is_good = True
        for step in self.action["runs"]["steps"]:
            if "run" in step and (is_good or step.get("if") == "always()"):
                is_good = self.step(step, inputs) and is_good
        return is_good

    def step(self, step, inputs):
        assert step["shell"] == "bash"
        files = {name: self.temp / name.lower() for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        env = dict(self.env, **{name: str(file) for name, file in files.items()})
        for name, text in step.get("env", {}).items():
            env[name] = self.evaluate(text, inputs)
        folder = self.workspace / self.evaluate(step.get("working-directory", "."), inputs)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            cwd=str(folder),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        pairs = lambda file: (line.split("=", 1) for line in file.read_text().splitlines())
        self.env.update(pairs(files["GITHUB_ENV"]))
        self.outputs.update(pairs(files["GITHUB_OUTPUT"]))
        self.said = done.stdout
        return done.returncode == 0


@pytest.fixture
def action():
    with open(os.path.join(ROOT, "action.yml")) as file:
        return yaml.safe_load(file)


@pytest.fixture
def runner(newest_world, action):
    newest_world.wheel("alpha", "1.0")
    return Runner(newest_world, action)


def commit(runner, name):
    """A folder of the workspace with a buildout, as a new machine checks it out."""
    project = runner.world.project("workspace/%s" % name, versions="alpha = 1.0")
    text = (project.path / "buildout.cfg").read_text()
    # The action sets it, for all buildouts.
    lines = [line for line in text.splitlines(True) if not line.startswith("egg-cache")]
    (project.path / "buildout.cfg").write_text("".join(lines))
    return project


def test_the_second_run_of_a_workflow_comes_from_the_cache(runner):
    commit(runner, "first")
    assert runner.run(**{"working-directory": "first"}), runner.said
    first = summary(runner.outputs["summary"])
    assert first["hits"] == 0 and first["stored"] > 0

    commit(runner, "second")
    assert runner.run(**{"working-directory": "second"}), runner.said
    second = summary(runner.outputs["summary"])
    assert (second["hits"], second["misses"]) == (first["stored"], 0)
    report = runner.report.read_text()
    assert runner.outputs["summary"] in report and "eggs" in report


def test_other_options_of_the_user_stay(runner):
    commit(runner, "first")
    folder = runner.world.path / ".buildout"
    folder.mkdir()
    (folder / "default.cfg").write_text("[buildout]\nsocket-timeout = 7\n\n[Mine]\nKey = 1\n")
    assert runner.run(**{"working-directory": "first"}), runner.said
    text = (folder / "default.cfg").read_text()
    assert "socket-timeout = 7" in text and "Key = 1" in text
    assert "egg-cache = %s" % (runner.workspace / ".eggcache") in text


def test_a_buildout_that_fails_fails_the_job_and_its_eggs_are_kept(runner):
    project = commit(runner, "first")
    with open(str(project.path / "buildout.cfg"), "a") as file:
        file.write("\n[broken]\nrecipe = zc.recipe.egg\neggs = not-there\n")
    text = (project.path / "buildout.cfg").read_text().replace("parts =", "parts = broken", 1)
    (project.path / "buildout.cfg").write_text(text)
    assert not runner.run(**{"working-directory": "first"})
    assert "### Egg cache" in runner.report.read_text()
    commit(runner, "second")
    assert runner.run(**{"working-directory": "second"}), runner.said
    assert summary(runner.outputs["summary"])["hits"] > 0


def test_the_cache_is_restored_for_the_same_kind_of_machine_only(action):
    [cache] = [step for step in action["runs"]["steps"] if step.get("uses", "").startswith("actions/cache@")]
    kind = "eggcache-${{ runner.os }}-${{ runner.arch }}-${{ inputs.key }}-"
    keys = cache["with"]["restore-keys"].splitlines() + [cache["with"]["key"]]
    assert cache["with"]["path"] == "${{ inputs.directory }}"
    assert len(keys) == 3 and all(key.startswith(kind) for key in keys)
