"""What GitHub gives to the steps of an action: a runner, with a new workspace for each job, and caches."""

import hashlib
import re
import shutil
import subprocess


class Caches:
    """The caches of a repository, as ``actions/cache/restore`` and ``actions/cache/save`` see them.

    A cache never changes: saving under a key that exists is a warning. A cache is found only with the path
    that it was saved with.
    """

    def __init__(self, folder):
        self.folder = folder
        #: Keys and paths, in the order in which they were saved.
        self.saved = []

    def find(self, path, key, restore_keys=()):
        """The key of the cache to restore: the one that is asked for, or the newest one of a prefix."""
        newest_first = [saved for saved, of in reversed(self.saved) if of == path]
        if key in newest_first:
            return key
        for prefix in [key] + list(restore_keys):
            for saved in newest_first:
                if saved.startswith(prefix):
                    return saved
        return None

    def restore(self, workspace, path, key, restore_keys=""):
        """Restore a cache, if there is one. The outputs of the step."""
        found = self.find(path, key, restore_keys.split())
        if found:
            shutil.copytree(str(self.folder / found), str(workspace / path), symlinks=True, dirs_exist_ok=True)
        return {"cache-primary-key": key, "cache-matched-key": found or ""}

    def save(self, workspace, path, key):
        """Save a cache. A path that does not exist, no key, and a key that exists are warnings, not failures."""
        if key and (workspace / path).exists() and (key, path) not in self.saved:
            shutil.copytree(str(workspace / path), str(self.folder / key), symlinks=True)
            self.saved.append((key, path))
        return {}


class Runner:
    """A runner that runs the steps of an action in one job after the other, each on a new machine."""

    def __init__(self, action, path, env):
        self.action, self.path, self.base = action, path, env
        self.workspace, self.home, self.temp = (path / name for name in ("workspace", "home", "temp"))
        self.report = self.temp / "summary"
        self.caches = Caches(path / "caches")
        self.run_id, self.attempt = 0, 1
        #: The names of the steps that have failed in this job.
        self.failed = []

    def start(self, is_rerun=False):
        """Start a job of another run of the workflow, or of another attempt of the same one."""
        self.run_id, self.attempt = (self.run_id, self.attempt + 1) if is_rerun else (self.run_id + 1, 1)
        for folder in (self.workspace, self.home, self.temp):
            shutil.rmtree(str(folder), ignore_errors=True)
            folder.mkdir()
        self.outputs, self.failed = {}, []
        self.env = dict(
            self.base,
            HOME=str(self.home),
            GITHUB_WORKSPACE=str(self.workspace),
            GITHUB_STEP_SUMMARY=str(self.report),
            RUNNER_TEMP=str(self.temp),
        )

    def run(self, **inputs):
        """Run the steps. A failure ends all but those that always run; the result is whether all succeed."""
        defaults = {name: it.get("default", "") for name, it in self.action["inputs"].items()}
        self.inputs, self.said = dict(defaults, **inputs), ""
        is_good = True
        for step in self.action["runs"]["steps"]:
            if {"always()": True, "success()": is_good}[step.get("if", "success()")]:
                outputs, succeeds = self._use(step) if "uses" in step else self._execute(step)
                self.outputs[step.get("id")] = outputs
                self.failed += [] if succeeds else [step["name"]]
                is_good = is_good and succeeds
        return is_good

    def evaluate(self, text):
        """The value of a text with expressions."""
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: self._value(found.group(1)), str(text))

    def _value(self, expression):
        values = {
            "runner.os": "Linux",
            "runner.arch": "X64",
            "github.run_id": str(self.run_id),
            "github.run_attempt": str(self.attempt),
        }
        if expression == "hashFiles('**/*.cfg')":
            return self._hash_of_configurations()
        output = re.fullmatch(r"steps\.([\w-]+)\.outputs\.([\w-]+)", expression)
        if output:
            return self.outputs.get(output.group(1), {}).get(output.group(2), "")
        if expression.startswith("inputs."):
            return str(self.inputs[expression[len("inputs.") :]])
        return values[expression]

    def _hash_of_configurations(self):
        """It changes during a job: buildout writes ``.installed.cfg``, and eggs have such files, too."""
        hashed = hashlib.sha256()
        for path in sorted(self.workspace.rglob("*.cfg")):
            hashed.update(path.read_bytes())
        return hashed.hexdigest()

    def _use(self, step):
        operations = {"actions/cache/restore@v4": self.caches.restore, "actions/cache/save@v4": self.caches.save}
        given = {name.replace("-", "_"): self.evaluate(text) for name, text in step["with"].items()}
        return operations[step["uses"]](self.workspace, **given), True

    def _execute(self, step):
        """Run a script. Its outputs, which a failed step has, too, and whether it succeeds."""
        assert step["shell"] == "bash"
        files = {name: self.temp / name.lower() for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        env = dict(self.env, **{name: str(file) for name, file in files.items()})
        for name, text in step.get("env", {}).items():
            env[name] = self.evaluate(text)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            cwd=str(self.workspace / self.evaluate(step.get("working-directory", "."))),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        self.said += done.stdout
        pairs = lambda file: dict(line.split("=", 1) for line in file.read_text().splitlines())
        self.env.update(pairs(files["GITHUB_ENV"]))
        return pairs(files["GITHUB_OUTPUT"]), done.returncode == 0
