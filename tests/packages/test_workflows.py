"""The workflows of GitHub and .ci/run: what they would do, in which order, and what must have passed before.

Their shell steps run here, with stand-ins for ``make`` and for the programs that publish. What an action does is
simulated.
"""

import fnmatch
import glob
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: The values that GitHub puts into expressions, beside those of the matrix.
GITHUB = {
    "github.server_url": "https://g",
    "github.repository": "o/r",
    "github.ref_name": "v1",
    "github.token": "secret",
    "steps.tools.outputs.python-path": "/tools/python",
}
#: What a release has: PyPI gets the first two.
WHEEL, SDIST, DEB = RELEASED = ["eggcache-1-linux.whl", "eggcache-1.tar.gz", "eggcache_1_amd64.deb"]


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def workflow(name):
    return yaml.safe_load(text_of(".github", "workflows", name + ".yml"))


def jobs(name):
    return workflow(name)["jobs"]


def needed(all_jobs, name):
    """The jobs that must have passed before this one starts."""
    needs = all_jobs[name].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(needed(all_jobs, it) for it in direct))


def steps(job, action):
    """The options of the steps of a job that use this action."""
    return [it["with"] for it in job.get("steps", []) if it.get("uses", "").partition("@")[0] == action]


def variants(job):
    """The combinations of a job's matrix, each as the values of its expressions."""
    matrix = job.get("strategy", {}).get("matrix", {})
    [values] = matrix.values() or [[{}]]
    [name] = matrix or ["include"]
    found = [it if name == "include" else {name: it} for it in values]
    return [{"matrix.%s" % key: value for key, value in it.items()} for it in found]


def filled(text, values):
    """A text with the values of its expressions."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda it: dict(GITHUB, **values)[it.group(1)], str(text))


class Runner:
    """A folder with stand-ins for programs, which write down their arguments."""

    def __init__(self, folder, **programs):
        self.folder = folder
        (folder / "programs").mkdir()
        for name, script in programs.items():
            program = folder / "programs" / name.replace("_", "-")
            program.write_text("#!/bin/sh\n" + script)
            program.chmod(0o755)

    def run(self, step, values):
        """What a step prints."""
        env = {name: filled(value, values) for name, value in step.get("env", {}).items()}
        path = "%s:%s" % (self.folder / "programs", os.environ["PATH"])
        env = dict(os.environ, PATH=path, GITHUB_REF_NAME="v1", GITHUB_REPOSITORY="o/r", **env)
        folder = self.folder / step.get("working-directory", "")
        command = ["bash", "-e", "-c", filled(step["run"], values)]
        return subprocess.check_output(command, cwd=str(folder), env=env, universal_newlines=True)

    def make(self, job, values):
        """What the steps of a job that call make print."""
        made = [it for it in job.get("steps", []) if it.get("run", "").startswith("make ")]
        return "".join(self.run(it, values) for it in made)


@pytest.fixture
def dry(tmp_path):
    """A runner whose make prints what it would do."""
    return Runner(tmp_path, make="exec '%s' -n -C '%s' \"$@\"\n" % (shutil.which("make"), ROOT))


@pytest.mark.parametrize("name", ["tests", "release"])
def test_a_workflow_may_write_only_where_it_says_so(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    writers = [job for job, it in jobs(name).items() if it.get("permissions")]
    assert writers == (["publish"] if name == "release" else [])


def test_nothing_is_published_unless_all_other_jobs_and_the_tests_have_passed():
    release = jobs("release")
    assert needed(release, "publish") == set(release) - {"publish"}
    assert not any({"if", "continue-on-error"} & set(job) for job in release.values())
    called = [it["uses"] for it in release.values() if "uses" in it]
    assert called == ["./.github/workflows/tests.yml"]
    # YAML 1.1 reads the key `on` as true.
    assert "workflow_call" in workflow("tests")[True]


def test_a_release_has_wheels_for_linux_and_macos():
    built = jobs("release")["wheels"]["strategy"]["matrix"]["include"]
    machines = ("x86_64", "aarch64")
    systems = ("unknown-linux-gnu", "unknown-linux-musl", "apple-darwin")
    expected = {"%s-%s" % (machine, system) for machine in machines for system in systems}
    assert {it["target"] for it in built} == expected


def test_every_job_uploads_what_it_makes_and_together_that_is_a_release(dry):
    kinds = set()
    for job in jobs("release").values():
        for upload in steps(job, "actions/upload-artifact"):
            for values in variants(job):
                folder, kind = os.path.split(filled(upload["path"], values))
                assert folder in dry.make(job, values)
                assert upload["if-no-files-found"] == "error"
                kinds.add(kind)
    assert all(len(fnmatch.filter(RELEASED, kind)) == 1 for kind in kinds) and len(kinds) == len(RELEASED)


def test_a_release_checks_the_version_of_its_tag(dry):
    release = jobs("release")
    printed = {name: [dry.make(job, it) for it in variants(job)] for name, job in release.items()}
    checks = {name for name, all_of in printed.items() if "release_check.py build/release v1" in "".join(all_of)}
    assert checks and checks <= needed(release, "wheels") & needed(release, "deb")


def test_the_release_workflow_says_where_links_of_the_readme_lead():
    assert filled(workflow("release")["env"]["LINKS"], {}) == "https://g/o/r/blob/v1"


def published(runner):
    """What the job `publish` does in turn: the name of each public step, and the files that it gets."""
    job = jobs("release")["publish"]
    for step in job["steps"]:
        options = step.get("with", {})
        action = step.get("uses", "").partition("@")[0]
        if "run" in step:
            said = runner.run(step, {}).split()
            if said[:1] == ["gh"]:
                yield "release", [os.path.basename(it) for it in said if it.startswith("files/")]
        elif action == "actions/download-artifact":
            assert options["merge-multiple"]
            folder = runner.folder / options["path"]
            folder.mkdir()
            for name in RELEASED:
                (folder / name).write_text(name)
        elif action == "actions/attest-build-provenance":
            assert job["permissions"]["attestations"] == job["permissions"]["id-token"] == "write"
            found = glob.glob(str(runner.folder / options["subject-path"]))
            yield "attestation", [os.path.basename(it) for it in found]
        else:
            assert action == "pypa/gh-action-pypi-publish"
            yield "PyPI", os.listdir(str(runner.folder / options["packages-dir"]))


def test_files_are_attested_and_have_checksums_before_they_are_published(tmp_path):
    runner = Runner(tmp_path, gh='cp files/SHA256SUMS .; cp -r files published; echo gh "$@"')
    done = [(name, sorted(files)) for name, files in published(runner)]
    everything = sorted(RELEASED + ["SHA256SUMS"])
    assert done == [("attestation", everything), ("release", everything), ("PyPI", [WHEEL, SDIST])]
    checked = subprocess.check_output(["sha256sum", "-c", "SHA256SUMS"], cwd=str(tmp_path / "published"))
    assert checked.decode().splitlines() == [name + ": OK" for name in sorted(RELEASED)]


def test_every_python_that_the_package_supports_is_tried(tmp_path):
    runner = Runner(tmp_path, make='printf "%s\\n" "$@"', uv="echo /tools/python")
    rows = re.findall(r"^\| (\d\.\d+) \| (\S+)", text_of("docs", "reference", "pythons.md"), re.M)
    tried = []
    for job in jobs("tests").values():
        for values in variants(job):
            said = runner.make(job, values).splitlines()
            if "matrix" in said:
                assert "PYTHON=/tools/python" in said
                [cells] = [it.partition("=")[2] for it in said if it.startswith("CELLS=")]
                [python] = {row[0] for row in rows if re.search(cells, " ".join(row))}
                assert python in pythons_of(job, values)
                tried.append(python)
    assert sorted(tried) == sorted(supported(rows))


@pytest.mark.parametrize(
    "results, code",
    [
        (["ok", "no such Python"], 0),
        (["ok", "stock buildout fails: no"], 1),
        (["no such Python"], 1),
        ([], 1),
    ],
)
def test_a_matrix_passes_only_if_a_cell_was_tried_and_all_are_ok(results, code):
    # Its imports have names that other tests use for other modules.
    program = "import sys, matrix; sys.exit(matrix.failure(%r))" % results
    folder = os.path.join(ROOT, "tests", "matrix")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr


def pythons_of(job, values):
    """The versions of Python that a job has."""
    set_up = [it["python-version"] for it in steps(job, "actions/setup-python")]
    image = job.get("container", "").partition("python:")[2]
    return [filled(it, values) for it in set_up + [image]]


def supported(rows):
    """The versions of Python that pip installs the package for, up to the newest of the table."""
    [allowed] = re.findall(r'^requires-python = "(.*)"$', text_of("pyproject.toml"), re.M)
    newest = max(int(python.partition(".")[2]) for python, _ in rows)
    known = ["2.6", "2.7"] + ["3.%d" % minor for minor in range(newest + 1)]
    return list(SpecifierSet(allowed).filter(known))


def test_the_tests_workflow_checks_a_clean_checkout():
    assert any(".ci/run" in it.get("run", "") for job in jobs("tests").values() for it in job["steps"])


def test_a_long_check_includes_that_of_a_release(tmp_path):
    quiet = {name: "exit 0" for name in ("apt_get", "rustup")}
    runner = Runner(tmp_path, make='echo "$1"', **quiet)
    step = {"run": os.path.join(ROOT, ".ci", "run")}
    short = runner.run(step, {}).split()
    long = runner.run(dict(step, env={"EGGCACHE_LONG": "1"}), {}).split()
    assert {"lint", "deny", "test", "deb"} == set(short) < set(long)
    expected = {"wheel-manylinux", "reliability", "azure", "differential", "application", "release-check"}
    assert expected == set(long) - set(short)
