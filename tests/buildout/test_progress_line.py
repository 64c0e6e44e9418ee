"""On a terminal, one line shows what is fetched and converted. It is erased, and no other line changes."""

import os
import pty
import re

import pytest

from conftest import Buildout
from test_fetching_ahead import EGGS, PINS, web, world  # noqa: F401


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


def on_terminal(project, *command, term="xterm"):
    """Run buildout on a terminal; return what it has written."""
    run = os.path.join(project.world.buildout.venv, "bin", "buildout")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(str(project.path))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        pip = os.path.join(project.world.buildout.archives, "pip")
        environ.update(TERM=term, HOME=str(project.world.path), PIP_NO_INDEX="1", PIP_FIND_LINKS=pip)
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
    return [re.sub(r"[\d.]+ (MiB copied|s spent)", "N", line) for line in found]


LINE = re.compile(r"eggcache: (\d+) fetched \(([\d.]+) MiB\), (\d+) converted, (\d+) remaining")


def test_the_line_is_shown_on_a_terminal_and_erased(world, web):  # noqa: F811
    web.delay = 0.2
    plain = world.project("plain", eggs=EGGS, versions=PINS, options="egg-cache-environment = one")
    expected = log(plain.run().splitlines(), plain)
    assert not any(LINE.search(line) for line in expected)
    # Eggs of another environment are others, so that this run fetches all of them again.
    project = world.project("project", eggs=EGGS, versions=PINS, options="egg-cache-environment = other")
    written = on_terminal(project)
    states = LINE.findall(written)
    assert len(states) > 1, written
    # It is all fetched at the end, or converted, and nothing is left.
    assert int(states[-1][3]) < 4
    lines = log(seen(written), project)
    assert not any(LINE.search(line) or "\x1b" in line for line in lines), lines
    assert lines == expected


def test_a_terminal_that_cannot_erase_has_no_line(world):  # noqa: F811
    project = world.project("project", eggs=EGGS, versions=PINS)
    written = on_terminal(project, term="dumb")
    assert "\x1b" not in written and not LINE.search(written)
