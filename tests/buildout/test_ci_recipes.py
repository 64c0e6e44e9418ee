"""The recipes of docs/howto for CI systems: their steps run as these systems run them."""

import glob
import os
import re
import shutil
import stat
import string
import subprocess
import sys

import pytest
import yaml

import dists
from conftest import BROKEN, ROOT, checkout, environment, summary

CI = "ci-cache.md"


def block(page, heading, language):
    """The first block in a language below a heading of a how-to."""
    with open(os.path.join(ROOT, "docs", "howto", page)) as file:
        text = file.read()
    section = text[text.index("\n## %s\n" % heading) :]
    return re.search(r"^```%s\n(.*?)^```$" % language, section, re.M | re.S).group(1)


class Agent:
    """A machine that runs the steps of jobs."""

    def __init__(self, world, env):
        self.world, self.env = world, env
        #: What the job has printed.
        self.said = ""

    def run(self, shell, script, folder, env):
        """Whether a script succeeds."""
        done = subprocess.run(
            shell + [script],
            cwd=str(folder),
            env=dict(self.env, **env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        self.said += done.stdout
        return done.returncode == 0


class GitLab:
    """A runner of GitLab, which saves the cache of a job."""

    def __init__(self, agent, job):
        self.agent, self.job = agent, job
        self.caches = agent.world.path / "caches"
        self.caches.mkdir()

    def run(self, name, **kw):
        """Run the job in a new folder. Whether it succeeds."""
        folder = checkout(self.agent.world, name, versions="alpha = 1.0", **kw).path
        folder.chmod(0o777)  # as the runner does
        given = {"CI_PROJECT_DIR": str(folder)}
        env = {key: string.Template(text).substitute(given) for key, text in self.job["variables"].items()}
        env.update(given)
        self.restore(folder)
        self.agent.said = ""
        is_good = self.script(["before_script", "script"], folder, env)
        self.script(["after_script"], folder, env)
        if is_good or self.job["cache"].get("when") == "always":
            self.save(folder)
        return is_good

    def script(self, names, folder, env):
        lines = [line for name in names for line in self.job.get(name, [])]
        return self.agent.run(["bash", "-eo", "pipefail", "-c"], "\n".join(lines), folder, env)

    def restore(self, folder):
        for path in self.job["cache"]["paths"]:
            if (self.caches / path).exists():
                shutil.copytree(str(self.caches / path), str(folder / path))

    def save(self, folder):
        for path in self.job["cache"]["paths"]:
            shutil.rmtree(str(self.caches / path), ignore_errors=True)
            if (folder / path).exists():  # if not, that is a warning
                shutil.copytree(str(folder / path), str(self.caches / path))


@pytest.fixture
def gitlab(newest_world):
    newest_world.wheel("alpha", "1.0")
    agent = Agent(newest_world, environment(newest_world))
    return GitLab(agent, yaml.safe_load(block(CI, "GitLab CI", "yaml"))["build"])


def test_the_second_job_of_gitlab_comes_from_the_cache(gitlab):
    assert gitlab.run("first"), gitlab.agent.said
    assert summary(gitlab.agent.said)["stored"] == 2 and "2 eggs kept" in gitlab.agent.said
    assert gitlab.run("second"), gitlab.agent.said
    assert summary(gitlab.agent.said) == {"hits": 2, "misses": 0, "stored": 0}


def test_a_job_of_gitlab_that_fails_keeps_its_eggs(gitlab):
    assert not gitlab.run("first", **BROKEN)
    assert "2 eggs kept" in gitlab.agent.said
    assert gitlab.run("second"), gitlab.agent.said
    assert summary(gitlab.agent.said) == {"hits": 2, "misses": 0, "stored": 0}


def test_the_cache_of_gitlab_is_refused_if_it_is_not_trusted(gitlab):
    del gitlab.job["variables"]["EGGCACHE_TRUST_CACHE"]
    gitlab.run("first")
    assert "is not trusted" in gitlab.agent.said


@pytest.fixture
def jenkins(newest_world):
    """Run the steps of the pipeline in a new workspace. The agent has no package but those of Python."""
    world = newest_world
    world.wheel("alpha", "1.0")
    [site_packages] = glob.glob(os.path.join(world.buildout.venv, "lib", "python*", "site-packages"))
    wheels = world.path / "wheels-of-the-agent"
    wheels.mkdir()
    dists.wheels_of(site_packages, wheels)
    agent = Agent(world, environment(world, os.path.dirname(sys.executable), str(wheels)))
    srv = world.path / "srv"
    srv.mkdir()

    def here(text):
        return text.replace("/srv/", "%s/" % srv).replace("chgrp ci", "chgrp %d" % os.getgid())

    def run(name):
        folder = checkout(world, name, versions="alpha = 1.0").path
        pipeline = here(block(CI, "Jenkins", "groovy"))
        env = dict(re.findall(r"(\w+) = '(.*?)'", pipeline))
        agent.said = ""
        for step in re.findall(r"^ *sh '(.*)'$", pipeline, re.M):
            assert agent.run(["sh", "-xec"], step, folder, env), agent.said
        return agent.said

    administrator = environment(world)
    assert agent.run(["sh", "-ec"], here(block(CI, "Jenkins", "text")), world.path, administrator), agent.said
    return run


def test_the_second_workspace_of_jenkins_comes_from_the_shared_cache(jenkins):
    said = jenkins("first")
    assert summary(said)["stored"] == 2 and "self-contained" in said
    said = jenkins("second")
    assert summary(said) == {"hits": 2, "misses": 0, "stored": 0} and "self-contained" in said


def test_a_job_with_a_secret_key_pushes_and_jobs_on_other_machines_pull(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.eggcache("keygen", str(world.path / "team"))
    pool = str(world.path / "pool")
    script = block("remote.md", "Use it in CI", "sh").replace("s3://my-eggs/pool --region eu-central-1", pool)
    secret = (world.path / "team").read_text().strip()

    def job(name, home):
        folder = checkout(world, name, versions="alpha = 1.0").path
        shutil.copy(str(world.path / "team.pub"), str(folder))
        home = world.path / home
        home.mkdir(exist_ok=True)
        agent = Agent(world, environment(world))
        env = {"HOME": str(home), "TEAM_KEY": secret}
        assert agent.run(["bash", "-eo", "pipefail", "-c"], "umask 022\n" + script, folder, env), agent.said
        assert stat.S_IMODE((home / "team").stat().st_mode) == 0o600
        return folder, agent.said

    folder, said = job("first", "kept")
    assert summary(said)["stored"] == 2 and "2 pushed" in said
    # Only the secret is private.
    assert (folder / "bin" / "alpha").stat().st_mode & 0o044
    for name, home in (("second", "kept"), ("third", "new")):
        _, said = job(name, home)
        assert summary(said) == {"hits": 2, "misses": 0, "stored": 0}
