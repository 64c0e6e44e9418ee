"""The bridge: one ``eggcache serve`` process per run, asked in lines of JSON (docs/reference/protocol.md).

Every wait for the program has a limit, so that a program that hangs cannot hold a buildout. The limits
are generous: a busy machine must not lose its cache.
"""

import collections
import contextlib
import fcntl
import json
import os
import signal
import stat
import sysconfig
import tempfile

from eggcache import _compat
from eggcache._lines import Deadline, Lines, TimeIsUp, TooLong
from eggcache._log import logger, printable

PROTOCOL = 16

#: How long the program may take to greet, in seconds.
GREETING = 15

#: How long it may be silent, in seconds. It gives a sign of life every second while it works.
SILENCE = 30

#: How long it may take for an answer while it gives signs of life, in seconds: longer than it waits for
#: remotes and for the locks of other processes.
LIMIT = 120

#: The same for requests for which it may have to copy or store large eggs.
LONG_LIMIT = 1800
LONG = ("open", "prefetch", "materialize", "spool", "prepare", "convert", "settle", "root", "close")

#: How long to wait for the program to end, in seconds. Once a day it collects garbage before it ends.
PATIENCE = 1

#: How long to wait for the end of a program that was killed, in seconds. One that waits for a disk cannot
#: even be killed.
KILL_PATIENCE = 5

#: How many answers may be outstanding, so that neither side waits for a full pipe.
MAX_PENDING = 16

#: How much of the program's standard error is kept, in bytes.
MAX_STDERR = 16 << 20

#: How much of it is read for a message, in bytes.
TAIL = 4096

#: The longest line of it that a message repeats, in characters.
LONGEST_LINE = 200

#: How much of a request or an answer is logged, in characters.
LONGEST_LOGGED = 1000


class BridgeError(Exception):
    """The program cannot be used any more."""


class Refusal(Exception):
    """The program's answer to a request that it could not carry out.

    ``kind`` is ``unusable`` (the egg is missing or damaged), ``unavailable`` (its remote cannot be
    used), ``in-the-way`` (something else has its place in the eggs directory) or ``failure``.
    """

    def __init__(self, message, kind):
        super(Refusal, self).__init__(message)
        self.kind = kind


def find_program():
    """The path of the program that belongs to this package.

    The copy inside the package comes first: if buildout itself installs the wheel, it drops the
    scripts. Buildout hashes installed files except those whose names end in ``pyc``; hence the name.
    """
    inside = os.path.join(os.path.dirname(__file__), "_bin", "eggcache-not-pyc")
    if os.path.isfile(inside):
        if not os.access(inside, os.X_OK):
            # Not every installer keeps the mode of package data.
            os.chmod(inside, os.stat(inside).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return inside
    scripts = sysconfig.get_path("scripts")
    found = _compat.which("eggcache", scripts) or _compat.which("eggcache")
    if found is None:
        raise BridgeError("the eggcache program is not installed")
    return found


class Answer(dict):
    """An answer of the program. To ask for a field that it does not have is an error of the program."""

    def __missing__(self, key):
        raise BridgeError("the eggcache program has answered without %r" % key)


class Bridge(object):
    """A running program. It answers requests in order."""

    def __init__(self, program):
        # Not a pipe: nobody reads it while the program runs, and the program may outlive this process.
        self._stderr = tempfile.TemporaryFile()
        # So that the program continues at the end after the file is cut.
        fcntl.fcntl(self._stderr, fcntl.F_SETFL, fcntl.fcntl(self._stderr, fcntl.F_GETFL) | os.O_APPEND)
        # In a session of its own: an interrupt is for buildout; the program ends when its input does.
        self._process = _compat.start([program, "serve"], self._stderr)
        stdin, stdout = self._process.stdin, self._process.stdout
        self._pending = collections.deque()
        #: Whether an interrupt has cut off an exchange: the next line would answer the wrong request.
        self.is_broken = False
        try:
            self._lines = Lines(stdout.fileno(), stdin.fileno(), self._limit_stderr)
            self._greet(program)
        except BaseException:
            self.kill()
            raise

    def _greet(self, program):
        protocol = self._read(Deadline(GREETING, GREETING)).get("protocol")
        if protocol != PROTOCOL:
            raise self._error(
                "the eggcache program at %s speaks protocol %s instead of %s"
                % (program, repr(protocol)[:80], PROTOCOL)
            )

    def call(self, op, **parameters):
        """Send a request and return its answer. Raises `Refusal` or `BridgeError`."""
        with self._exchange():
            self._drain(0)
            self._write(op, parameters)
            return self._answer(op)

    def post(self, op, answered, **parameters):
        """Send a request and do not wait: ``answered(answer, refusal)`` is called later, one being None."""
        with self._exchange():
            self._drain(MAX_PENDING - 1)
            self._write(op, parameters)
            self._pending.append((op, answered))

    def wait(self):
        """Wait until every request has its answer. Raises `BridgeError`."""
        if not self.is_broken:
            with self._exchange():
                self._drain(0)

    def close(self, failed=False):
        """Wait for outstanding answers and let the program end. Return its answer to ``close``.

        ``failed`` is whether buildout has failed, as far as that is known.
        """
        try:
            answer = self.call("close", **({"failed": True} if failed else {}))
            self._process.stdin.close()
            # The end of its output is the end of the program. `Popen.wait` with a timeout would poll.
            if self._lines.is_over_within(PATIENCE):
                self._wait_for_end(PATIENCE)
            else:
                # It collects garbage, with nothing of ours open. The process that adopts it reaps it.
                self._process.returncode = 0
            return answer
        finally:
            self.kill()

    def leave(self):
        """Let the program end by itself: it still stores what it was given."""
        try:
            self._process.stdin.close()
            self._lines.is_over_within(PATIENCE)
        except EnvironmentError:
            pass

    def kill(self):
        """End the program now. This is safe at any time: it leaves no incomplete egg behind."""
        if self._process.returncode is None:
            self._kill_group()
            self._wait_for_end(KILL_PATIENCE)
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            try:
                file.close()
            except EnvironmentError:
                pass

    def _kill_group(self):
        """Kill the program and the processes that it has started, which would keep our pipes open."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except EnvironmentError:
            # It has ended, and has left nobody behind.
            pass

    def _wait_for_end(self, limit):
        """Wait for the program to end; return its status, or None if it takes longer."""
        return _compat.wait(self._process, limit)

    @contextlib.contextmanager
    def _exchange(self):
        """A request and its answer; marks the bridge as broken if an interrupt cuts them off."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.is_broken = True
            raise

    def _drain(self, remaining):
        """Handle outstanding answers until only this many remain."""
        while len(self._pending) > remaining:
            op, answered = self._pending.popleft()
            try:
                answer, refusal = self._answer(op), None
            except Refusal as error:
                answer, refusal = None, error
            answered(answer, refusal)

    def _answer(self, op):
        limit = LONG_LIMIT if op in LONG else LIMIT
        answer = self._read(Deadline(min(SILENCE, limit), limit))
        if "error" in answer:
            raise Refusal(answer["error"], answer.get("kind"))
        return answer

    def _write(self, op, parameters):
        line = json.dumps(dict(parameters, op=op))
        logger.debug("request %s: %s", op, line[:LONGEST_LOGGED])
        try:
            unread = b"" if self._pending else self._lines.unread()
            if unread:
                raise self._error("the eggcache program answers without a request: %r" % unread[:80])
            self._lines.write(_compat.to_bytes(line) + b"\n", Deadline(SILENCE, SILENCE))
        except TimeIsUp as error:
            raise self._error("the eggcache program did not read a request within %g s" % error.limit)
        except TooLong:
            raise self._error("the eggcache program answers without an end")
        except EnvironmentError:
            raise self._ended()

    def _read(self, deadline):
        """The next line that is no sign of life."""
        while True:
            answer = self._parse(self._read_line(deadline))
            if "busy" not in answer:
                return answer
            with self._in_time():
                deadline.heard()

    def _read_line(self, deadline):
        with self._in_time():
            line = self._lines.read(deadline)
        if line is None:
            raise self._ended()
        return line

    @contextlib.contextmanager
    def _in_time(self):
        """Turn a missing answer into an error of the program."""
        try:
            yield
        except TimeIsUp as error:
            raise self._error("the eggcache program did not answer within %g s" % error.limit)
        except TooLong:
            raise self._error("the eggcache program answers without an end")

    def _parse(self, line):
        try:
            text = line.decode("utf-8")
            logger.debug("answer: %s", text[:LONGEST_LOGGED].rstrip("\n"))
            answer = _compat.parse_json(text, Answer)
        except (ValueError, RuntimeError):
            # The latter, if it is nested too deep.
            answer = None
        if not isinstance(answer, Answer):
            raise self._error("the eggcache program answered with something other than JSON: %r" % line[:80])
        return answer

    def _ended(self):
        """The error for a program that takes no more requests, or gives no more answers."""
        status = self._wait_for_end(PATIENCE)
        # It may have left others behind. At once: later, its number may be that of another process.
        self._kill_group()
        if status is None:
            return self._error("the eggcache program does not answer any more")
        how = "signal %d" % -status if status < 0 else "exit status %d" % status
        return self._error("the eggcache program ended unexpectedly (%s)" % how)

    def _limit_stderr(self):
        """Keep a program that writes without an end from filling the disk."""
        if os.fstat(self._stderr.fileno()).st_size > MAX_STDERR:
            os.ftruncate(self._stderr.fileno(), 0)

    def _error(self, message):
        """An error that ends with the last line that the program has written to its standard error."""
        line = last_line(self._stderr)
        return BridgeError("%s: %s" % (message, line) if line else message)


def last_line(file):
    """The last line of a file that says something, fit for a message; empty if there is none."""
    # The program writes at the same offset: it must not be moved.
    size = os.fstat(file.fileno()).st_size
    text = _compat.to_text(_compat.pread(file.fileno(), TAIL, max(0, size - TAIL)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A panic ends with a note on how to get a backtrace.
    lines = [line for line in lines if not line.startswith("note: ")] or lines
    # A terminal must not act on what an egg's name may contain.
    return printable(lines[-1][:LONGEST_LINE]) if lines else ""
