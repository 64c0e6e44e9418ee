"""docs/howto/Containerfile.build: what its stage runs, in a plain folder in place of the file system of an image."""

import os
import re
import subprocess

from conftest import ROOT, summary


def instructions():
    """The instructions of the file, each as its name and its arguments."""
    with open(os.path.join(ROOT, "docs", "howto", "Containerfile.build")) as file:
        text = file.read().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line.split(None, 1) for line in lines]


def build(world, name, text):
    """Run the command of the stage that has the cache, as for the image ``name``. Its output."""
    [run] = [arguments for word, arguments in instructions() if word == "RUN" and "--mount" in arguments]
    mount, command = re.match(r"--mount=(\S+)\s+(.*)", run).groups()
    options = dict(option.split("=") for option in mount.split(","))
    assert options["type"] == "cache" and options["sharing"] == "shared"
    app = world.path / name / "app"
    app.mkdir(parents=True)
    (app / "buildout.cfg").write_text(text)
    assert command.count(options["target"]) == 3
    env = {
        "PATH": os.pathsep.join([os.path.join(world.buildout.venv, "bin"), os.environ["PATH"]]),
        "HOME": str(world.path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": os.path.join(world.buildout.archives, "pip"),
        "buildout_testing_index_url": world.index_url,
    }
    return subprocess.check_output(
        ["sh", "-ec", command.replace(options["target"], str(world.cache))],
        cwd=str(app),
        env=env,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


def test_the_second_image_is_built_from_the_cache_and_needs_nothing_else(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    project = world.project("app", versions="alpha = 1.0")
    text = (project.path / "buildout.cfg").read_text()
    text = "".join(line for line in text.splitlines(True) if not line.startswith("egg-cache"))
    first = build(world, "first", text)
    assert summary(first)["stored"] > 0 and "self-contained" in first
    second = build(world, "second", text)
    assert summary(second)["misses"] == 0 and "self-contained" in second


def test_the_image_has_the_buildout_and_not_its_builder():
    found = instructions()
    last = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    copies = [arguments for word, arguments in found[last:] if word == "COPY"]
    assert copies == ["--from=built /app /app"]
    assert not [word for word, _ in found[last:] if word == "RUN"]
