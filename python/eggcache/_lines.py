"""Lines from and to another process, which may stop, hang or flood at any time."""

import errno
import fcntl
import os
import select

from eggcache import _compat

#: How much is kept of what has come, in bytes: more than an answer about all eggs of any cache.
LONGEST = 64 << 20

#: How long one wait takes, and how much of it counts at most, in seconds. So the time in which this
#: process itself is stopped, or the whole machine, does not count.
SLICE = 1.0

#: How much is read at once, in bytes.
CHUNK = 1 << 16


class TimeIsUp(Exception):
    """The other process has not done within ``limit`` seconds what was awaited."""

    def __init__(self, limit):
        super(TimeIsUp, self).__init__(limit)
        self.limit = limit


class TooLong(Exception):
    """More than `LONGEST` has come at once."""


class Deadline(object):
    """Runs out after ``limit`` seconds, and earlier if no line comes within ``silence`` seconds."""

    def __init__(self, silence, limit):
        self._silence, self._limit = silence, limit
        self._silent = self._spent = 0.0
        self._last = _compat.monotonic()

    def heard(self):
        """Note that a line has come. Raises `TimeIsUp`."""
        self._silent = 0.0
        self.check()
        self._silent = 0.0

    def check(self):
        """Return how many seconds may be waited now. Raises `TimeIsUp`."""
        now = _compat.monotonic()
        passed = min(now - self._last, SLICE)
        self._last = now
        self._silent += passed
        self._spent += passed
        if self._spent >= self._limit:
            raise TimeIsUp(self._limit)
        if self._silent >= self._silence:
            raise TimeIsUp(self._silence)
        return min(SLICE, self._limit - self._spent, self._silence - self._silent)


class Lines(object):
    """Exchanges lines through two file descriptors. ``on_wait`` is called before each wait."""

    def __init__(self, reader, writer, on_wait):
        self._reader, self._writer, self._on_wait = reader, writer, on_wait
        #: What was read and not returned yet, and how much of it is known to contain no end of a line.
        self._buffer, self._searched = bytearray(), 0
        self._is_over = False
        for descriptor in (reader, writer):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)

    def read(self, deadline):
        """Return the next line with its end, or None at the end of the input.

        Raises `TimeIsUp` or `TooLong`.
        """
        while True:
            line = self._buffered_line()
            if line is not None:
                return line
            if self._is_over:
                return None
            self._wait(deadline)

    def write(self, data, deadline):
        """Write all of it. Raises `TimeIsUp`, `TooLong`, or an error of the system if nobody reads it.

        Meanwhile, read what comes, so that the other process does not wait as well.
        """
        data = memoryview(data)
        while len(data):
            if self._is_over:
                raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
            if self._wait(deadline, is_writing=True):
                data = data[_written(self._writer, data) :]

    def unread(self):
        """Return the beginning of what has come already and was not returned; empty if nothing has."""
        self._take()
        return bytes(self._buffer[:CHUNK])

    def is_over_within(self, seconds):
        """Skip the rest of the input; return whether its end comes within this time."""
        deadline = Deadline(seconds, seconds)
        try:
            while not self._is_over:
                self._wait(deadline)
                del self._buffer[:]
            return True
        except TimeIsUp:
            return False

    def _buffered_line(self):
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _wait(self, deadline, is_writing=False):
        """Wait for input, and read it; return whether output can be written."""
        self._on_wait()
        awaited = {}
        if not self._is_over:
            awaited[self._reader] = select.POLLIN
        if is_writing:
            awaited[self._writer] = select.POLLOUT
        ready = _compat.poll(awaited, deadline.check())
        if self._reader in ready:
            self._take()
        return self._writer in ready

    def _take(self):
        """Read what is there."""
        try:
            chunk = os.read(self._reader, CHUNK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            raise
        self._buffer += chunk
        if len(self._buffer) > LONGEST:
            raise TooLong()
        self._is_over = self._is_over or not chunk


def _written(descriptor, data):
    """Write as much as is possible without waiting; return how many bytes."""
    try:
        return os.write(descriptor, data[:CHUNK])
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EINTR):
            return 0
        raise
