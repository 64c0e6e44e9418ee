"""The bridge: one ``eggcache serve`` process per run, asked in lines of JSON (docs/reference/protocol.md)."""

import collections
import contextlib
import json
import os
import select
import shutil
import stat
import subprocess
import sysconfig
import tempfile

from eggcache._log import logger, printable

PROTOCOL = 9

#: How long to wait for the program to end, in seconds. Once a day it collects garbage before it ends.
PATIENCE = 1

#: How many answers may be outstanding, so that neither side waits for a full pipe.
MAX_PENDING = 16

#: How much of the program's standard error is read for a message, in bytes.
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
        super().__init__(message)
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
    found = shutil.which("eggcache", path=scripts) or shutil.which("eggcache")
    if found is None:
        raise BridgeError("the eggcache program is not installed")
    return found


class Bridge:
    """A running program. It answers requests in order."""

    def __init__(self, program):
        # Not a pipe: nobody reads it while the program runs, and the program may outlive this process.
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [program, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # An interrupt is for buildout; the program ends when its input does.
            start_new_session=True,
        )
        self._pending = collections.deque()
        #: Whether an interrupt has cut off an exchange: the next line would answer the wrong request.
        self.is_broken = False
        try:
            self._greet(program)
        except BridgeError:
            self.kill()
            raise

    def _greet(self, program):
        protocol = self._read().get("protocol")
        if protocol != PROTOCOL:
            raise self._error(
                "the eggcache program at %s speaks protocol %s instead of %s"
                % (program, protocol, PROTOCOL)
            )

    def call(self, op, **parameters):
        """Send a request and return its answer. Raises `Refusal` or `BridgeError`."""
        with self._exchange():
            self._drain(0)
            self._write(op, parameters)
            return self._answer()

    def post(self, op, answered, **parameters):
        """Send a request and do not wait: ``answered(answer, refusal)`` is called later, one being None."""
        with self._exchange():
            self._drain(MAX_PENDING - 1)
            self._write(op, parameters)
            self._pending.append(answered)

    def close(self):
        """Wait for outstanding answers and let the program end. Return its answer to ``close``."""
        try:
            answer = self.call("close")
            self._process.stdin.close()
            # The end of its output is the end of the program. `Popen.wait` with a timeout would poll.
            if select.select([self._process.stdout], [], [], PATIENCE)[0]:
                self._process.wait()
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
            while select.select([self._process.stdout], [], [], PATIENCE)[0]:
                if not os.read(self._process.stdout.fileno(), 1 << 16):
                    break
        except OSError:
            pass

    def kill(self):
        """End the program now. This is safe at any time: it leaves no incomplete egg behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            try:
                file.close()
            except OSError:
                pass

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
            answered = self._pending.popleft()
            try:
                answer, refusal = self._answer(), None
            except Refusal as error:
                answer, refusal = None, error
            answered(answer, refusal)

    def _answer(self):
        answer = self._read()
        if "error" in answer:
            raise Refusal(answer["error"], answer.get("kind"))
        return answer

    def _write(self, op, parameters):
        line = json.dumps(dict(parameters, op=op))
        logger.debug("request %s: %s", op, line[:LONGEST_LOGGED])
        try:
            self._process.stdin.write(line.encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            text = line.decode("utf-8")
            logger.debug("answer: %s", text.rstrip("\n")[:LONGEST_LOGGED])
            return json.loads(text)
        except ValueError:
            raise self._error("the eggcache program answered with something other than JSON: %r" % line[:80])

    def _ended(self):
        """The error for a program that takes no more requests, or gives no more answers."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return self._error("the eggcache program does not answer any more")
        how = "signal %d" % -status if status < 0 else "exit status %d" % status
        return self._error("the eggcache program ended unexpectedly (%s)" % how)

    def _error(self, message):
        """An error that ends with the last line that the program has written to its standard error."""
        line = last_line(self._stderr)
        return BridgeError("%s: %s" % (message, line) if line else message)


def last_line(file):
    """The last line of a file that says something, fit for a message; empty if there is none."""
    # The program writes at the same offset: it must not be moved.
    size = os.fstat(file.fileno()).st_size
    text = os.pread(file.fileno(), TAIL, max(0, size - TAIL)).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A panic ends with a note on how to get a backtrace.
    lines = [line for line in lines if not line.startswith("note: ")] or lines
    # A terminal must not act on what an egg's name may contain.
    return printable(lines[-1][:LONGEST_LINE]) if lines else ""
