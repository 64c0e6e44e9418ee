"""Talk to the ``eggcache`` program: one process for a run, JSON lines (docs/protocol.md)."""

import collections
import contextlib
import json
import os
import select
import shutil
import stat
import subprocess
import sysconfig

PROTOCOL = 8

#: How long to wait for the program's end, in seconds. Once a day it goes on for a while by itself.
PATIENCE = 1

#: How many answers may be outstanding, so that neither side waits for a full pipe.
MAX_PENDING = 16


class BridgeError(Exception):
    """The program cannot be talked to; nothing more can be asked of it."""


class Refusal(Exception):
    """The program answered that it cannot do what was asked.

    ``kind`` is ``unusable`` (the egg is gone or damaged), ``in-the-way`` (something else stands in
    its place) or ``failure``.
    """

    def __init__(self, message, kind):
        super().__init__(message)
        self.kind = kind


def find_program():
    """The program that belongs to this package.

    First the copy inside the package: where buildout installs the wheel itself, scripts vanish. Its
    name ends as it does because buildout takes the digest of whatever is installed, but for such files.
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
    """A running program. Requests are answered in order."""

    def __init__(self, program):
        self._process = subprocess.Popen(
            [program, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # An interrupt is for buildout; the program ends when its input does.
            start_new_session=True,
        )
        self._pending = collections.deque()
        #: Whether somebody stopped to wait for an answer: what comes next is not what is asked for.
        self.is_broken = False
        greeting = self._read()
        if greeting.get("protocol") != PROTOCOL:
            self.kill()
            raise BridgeError("the eggcache program at %s is of another version" % program)

    def call(self, op, **parameters):
        """Ask, and wait for the answer. Raises `Refusal` or `BridgeError`."""
        with self._whole():
            self._drain(0)
            self._write(op, parameters)
            return self._answer()

    def post(self, op, answered, **parameters):
        """Ask, and do not wait: ``answered(answer, refusal)`` is called later, one being None."""
        with self._whole():
            self._drain(MAX_PENDING - 1)
            self._write(op, parameters)
            self._pending.append(answered)

    def close(self):
        """Wait for outstanding answers, and let the program end. Answers what there is to tell."""
        try:
            answer = self.call("close")
            self._process.stdin.close()
            # Its output ends with it. To wait for itself with a timeout is to look now and then.
            if select.select([self._process.stdout], [], [], PATIENCE)[0]:
                self._process.wait()
            else:
                # It collects garbage, with nothing of ours open. Whoever adopts it waits for it.
                self._process.returncode = 0
            return answer
        finally:
            self.kill()

    def leave(self):
        """Let the program end by itself: it keeps what it was given."""
        try:
            self._process.stdin.close()
            while select.select([self._process.stdout], [], [], PATIENCE)[0]:
                if not os.read(self._process.stdout.fileno(), 1 << 16):
                    break
        except OSError:
            pass

    def kill(self):
        """End the program now. Safe at any time: it leaves nothing half done that counts."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except OSError:
                pass

    @contextlib.contextmanager
    def _whole(self):
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.is_broken = True
            raise

    def _drain(self, leave):
        while len(self._pending) > leave:
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
        line = json.dumps(dict(parameters, op=op)) + "\n"
        try:
            self._process.stdin.write(line.encode("utf-8"))
            self._process.stdin.flush()
        except OSError as error:
            raise BridgeError("the eggcache program has ended (%s)" % error)

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise BridgeError("the eggcache program has ended (%s)" % self._process.wait())
        try:
            return json.loads(line.decode("utf-8"))
        except ValueError:
            raise BridgeError("the eggcache program does not speak JSON: %r" % line[:80])
