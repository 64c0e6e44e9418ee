"""On a terminal, one line shows what is fetched and converted. It is erased, and no other line changes."""

import os
import pty
import re

import pytest

from conftest import Buildout
from test_fetching_ahead import EGGS, PINS, recipes, web, with_recipe, world  # noqa: F401


@pytest.fixture(scope="module", params=["6.0.1", "5.2.0"])
def buildout(request):
    return Buildout(request.param)


def seen(text):
    """The lines of a terminal after a text was written to it."""
    lines, column = [""], 0
    for character in text.replace("\x1b[K", "\0"):
        if character == "\n":
            lines.append("")
            column = 0
        elif character == "\r":
            column = 0
        elif character == "\0":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
            column += 1
    return lines


def on_terminal(project, *command, term="xterm", **more):
    """Run buildout on a terminal; return what it has written."""
    run = os.path.join(project.world.buildout.venv, "bin", "buildout")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(str(project.path))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        pip = os.path.join(project.world.buildout.archives, "pip")
        environ.update(more, TERM=term, HOME=str(project.world.path), PIP_NO_INDEX="1", PIP_FIND_LINKS=pip)
        os.execve(run, [run] + list(command), environ)
    written = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:
            # On Linux, the end of a terminal.
            break
        if not block:
            break
        written += block
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, written
    return written.decode()


def log(lines, project):
    """The lines of a log, without what differs between two runs."""
    found = [line.replace(str(project.path), "PROJECT") for line in lines if line]
    return [re.sub(r"[\d.]+ (MiB copied|s in eggcache)", "N", line) for line in found]


LINE = re.compile(r"eggcache: (?:(\d+) fetched \(([\d.]+) MiB\), )?(\d+) converted, (\d+) remaining")


@pytest.fixture
def every_change(tmp_path):
    """The environment of a buildout that shows every change of the line."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import eggcache._progress\neggcache._progress.EVERY = 0\n")
    return {"PYTHONPATH": str(folder)}


def test_the_line_is_shown_on_a_terminal_and_erased(world, web, every_change):  # noqa: F811
    web.delay = 0.2
    plain = with_recipe(world, "plain", eggs=EGGS, versions=PINS, options="egg-cache-environment = one")
    expected = log(plain.run().splitlines(), plain)
    assert not any(LINE.search(line) for line in expected)
    # Eggs of another environment are others, so that this run fetches all of them again.
    project = with_recipe(world, "project", eggs=EGGS, versions=PINS, options="egg-cache-environment = other")
    written = on_terminal(project, **every_change)
    states = LINE.findall(written)
    assert states[-1][0] == "4", written
    falls_to_zero(states)
    lines = log(seen(written), project)
    assert not any(LINE.search(line) or "\x1b" in line for line in lines), lines
    assert lines == expected


def falls_to_zero(states):
    """Check that something remains at first, and nothing after the last egg was converted."""
    remaining = [int(state[3]) for state in states]
    assert max(remaining) > 1 and remaining[-1] == 0 and int(states[-1][2]) >= 4, states


def test_without_fetching_ahead_the_line_has_what_is_known_to_remain(world, every_change):  # noqa: F811
    # With a download cache, nothing is fetched ahead.
    options = "download-cache = downloads\negg-cache-fetch-archives = false"
    project = with_recipe(world, "project", eggs=EGGS, versions=PINS, options=options)
    (project.path / "downloads").mkdir()
    written = on_terminal(project, **every_change)
    states = LINE.findall(written)
    assert {state[0] for state in states} == {""}, written
    falls_to_zero(states)


def test_a_terminal_that_cannot_erase_has_no_line(world):  # noqa: F811
    project = with_recipe(world, "project", eggs=EGGS, versions=PINS)
    written = on_terminal(project, term="dumb")
    assert "\x1b" not in written and not LINE.search(written)
