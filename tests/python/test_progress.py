"""The line on a terminal that shows how far a run is."""

import io
import logging
import warnings

import pytest

from eggcache import _progress


class Terminal(io.StringIO):
    is_terminal = True

    def isatty(self):
        return self.is_terminal

    def lines(self):
        return seen(self.getvalue())


def seen(text):
    """The lines of a terminal after a text was written to it, without empty ones at the end."""
    lines, column = [""], 0
    text = text.replace("\x1b[K", "\0")
    for character in text:
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
    while lines and not lines[-1]:
        lines.pop()
    return lines


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(_progress, "EVERY", 0)
    found = Terminal()
    # That of pytest writes nothing.
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: found.write("careful: %s\n" % message))
    return found


@pytest.fixture
def progress(terminal):
    found = _progress.progress_for(terminal)
    yield found
    found.end()


def test_the_line_is_replaced_and_erased(terminal, progress):
    progress.show(lambda: "one and more")
    progress.show(lambda: "two")
    assert terminal.lines() == ["two"]
    progress.erase()
    assert terminal.lines() == []
    length = len(terminal.getvalue())
    progress.erase()
    assert len(terminal.getvalue()) == length, "there was nothing to erase"


def test_records_and_warnings_have_lines_of_their_own(terminal, progress):
    logger = logging.getLogger("a test of progress")
    logger.propagate = False
    logger.handlers = [logging.StreamHandler(terminal)]
    progress.begin()
    progress.show(lambda: "half of a long line of progress")
    logger.warning("first")
    progress.show(lambda: "most of a long line of progress")
    warnings.showwarning("second", UserWarning, "x.py", 1)
    assert terminal.lines() == ["first", "careful: second"]
    progress.end()
    progress.show(lambda: "never")
    logger.warning("last")
    assert terminal.lines()[-1] == "last" and logger.handlers[0].filters == []


def test_a_long_text_is_cut(terminal, progress):
    progress.show(lambda: "x" * 1000)
    assert terminal.lines() == ["x" * 79]


def test_the_line_changes_no_more_often_than_one_can_read(terminal, progress, monkeypatch):
    monkeypatch.setattr(_progress, "EVERY", 1000)
    progress._shown_at = -2000
    progress.show(lambda: "one")
    progress.show(lambda: "two")
    assert terminal.lines() == ["one"]


def test_elsewhere_there_is_no_line(terminal, monkeypatch):
    terminal.is_terminal = False
    assert _progress.progress_for(terminal) is None
    assert _progress.progress_for(None) is None
    terminal.is_terminal = True
    monkeypatch.setenv("TERM", "dumb")
    assert _progress.progress_for(terminal) is None
    monkeypatch.delenv("TERM")
    assert _progress.progress_for(terminal) is None


def test_a_terminal_that_is_gone_fails_nothing(terminal, progress):
    terminal.close()
    progress.show(lambda: "one")
    progress.show(lambda: "two")
    progress.erase()
