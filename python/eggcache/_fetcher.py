"""Request addresses in threads, and keep the answers until buildout asks for them."""

import collections
import os
import shutil
import threading

from eggcache import _compat
from eggcache._log import logger

#: How many requests are made at once, at most and at first. Each answer allows one more.
CONNECTIONS = 8
FIRST_CONNECTIONS = 2

#: How long a server counts as one that gets too many requests, in seconds.
MEMORY = 60

#: How much is kept that buildout has not asked for, in bytes. What does not fit is left to buildout.
MOST_BYTES = 512 << 20

#: How long a server may be silent, in seconds: as long as for buildout itself.
SILENCE = 15

_BLOCK = 1 << 16

_QUEUED, _RUNNING, _DONE, _FAILED = range(4)


class Unwanted(Exception):
    """An answer is not what was requested: buildout is to make the request again."""


class _Job(object):
    """A request. ``read`` is called in its thread with the answer that has come, and returns an event."""

    def __init__(self, url, path, read):
        self.url = url
        self.path = path
        self.read = read
        self.state = _QUEUED
        self.answer = None


class Answer(object):
    """An answer that has come, as ``urllib`` returns it. Closing it removes its file.

    ``seconds`` is how long its request took until it began to come.
    """

    def __init__(self, path, response, seconds, released):
        self.path = path
        self.seconds = seconds
        self.url = response.geturl()
        self.headers = response.info()
        self.code = self.status = response.getcode()
        self.msg = getattr(response, "msg", "")
        self.bytes = 0
        self._released = released
        self._file = None

    def read(self, *size):
        if self._file is None:
            self._file = open(self.path, "rb")
        return self._file.read(*size)

    def info(self):
        return self.headers

    def geturl(self):
        return self.url

    def getcode(self):
        return self.code

    def getheader(self, name, default=None):
        return self.headers.get(name, default)

    def close(self):
        if self._file is not None:
            self._file.close()
        released, self._released = self._released, None
        if released is not None:
            shutil.rmtree(os.path.dirname(self.path), ignore_errors=True)
            released(self.bytes)


class Fetcher(object):
    """Makes requests as `urllib` does, at most `CONNECTIONS` at once.

    Answers are files below ``directory``. ``opened(url)`` makes a request. Only threads of this object
    call it and the functions ``read``; everything else is for the thread of buildout.
    """

    def __init__(self, directory, opened):
        self._directory = directory
        self._opened = opened
        self._changed = threading.Condition()
        self._jobs = {}
        self._queue = collections.deque()
        self._events = []
        self._threads = 0
        self._running = 0
        self._allowed = FIRST_CONNECTIONS
        self._is_over = False
        self._refused_at = None
        #: Bytes of answers that were not asked for yet.
        self._kept = 0
        #: How many answers have come, and their bytes.
        self.fetched = self.bytes = 0

    @property
    def remaining(self):
        """How many requests have no answer yet."""
        return len(self._queue) + self._running

    def want(self, url, name, read):
        """Request an address, which later `take` returns the answer of. ``name`` is that of its file."""
        with self._changed:
            if url in self._jobs or self._is_over:
                return
            path = os.path.join(self._directory, str(len(self._jobs)), name)
            self._jobs[url] = job = _Job(url, path, read)
            self._queue.append(job)
            self._start()

    def take(self, url, meanwhile):
        """The answer of an address, if it was requested, or is or will be requested just now; else None.

        ``meanwhile`` is called when there may be events. An answer is returned once.
        """
        with self._changed:
            job = self._jobs.get(url)
            if job is not None and job.state == _QUEUED:
                # It is the next one.
                self._queue.remove(job)
                self._queue.appendleft(job)
        while job is not None:
            meanwhile()
            with self._changed:
                if job.state == _QUEUED and self._threads <= self._running:
                    # No thread is free: who asks makes the request sooner.
                    self._queue.remove(job)
                    job.state = _FAILED
                if job.state in (_DONE, _FAILED):
                    break
                if not self._events:
                    # With a limit, so that an interrupt ends it in Python 2 too.
                    self._changed.wait(1)
        answer = None
        if job is not None:
            answer, job.answer = job.answer, None
        if answer is None:
            self._leave_server()
        return answer

    def _leave_server(self):
        """Wait for requests that end because the server gets too many, before one more is made."""
        deadline = _compat.monotonic() + SILENCE
        with self._changed:
            while self._is_over and self._running and _compat.monotonic() < deadline:
                self._changed.wait(1)

    @property
    def was_refused(self):
        """Whether a server has refused a request lately: it may refuse one of buildout itself because of that."""
        with self._changed:
            return self._refused_at is not None and _compat.monotonic() - self._refused_at < MEMORY

    def events(self):
        """What ``read`` has returned since the last call."""
        with self._changed:
            events, self._events = self._events, []
            return events

    def stop(self):
        """Make no more requests. Those that run end soon."""
        with self._changed:
            self._end()
            self._changed.notify_all()

    def _end(self):
        self._is_over = True
        while self._queue:
            self._queue.popleft().state = _FAILED

    def _start(self):
        """Start a thread if there is work for one more. A thread ends when there is no more work."""
        if self._queue and self._threads < self._allowed and self._kept < MOST_BYTES:
            thread = threading.Thread(target=self._work, name="eggcache-fetch")
            thread.daemon = True
            try:
                thread.start()
                self._threads += 1
            except RuntimeError:
                # The system has no thread left. Without one, buildout makes all requests.
                if not self._threads:
                    self._end()

    def _work(self):
        while True:
            with self._changed:
                if self._is_over or not self._queue or self._kept >= MOST_BYTES:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                job = self._queue.popleft()
                job.state = _RUNNING
                self._running += 1
            answer, event = self._answer(job)
            with self._changed:
                self._running -= 1
                job.answer = answer
                job.state = _DONE if answer is not None else _FAILED
                if event is not None:
                    self._events.append(event)
                if answer is not None and self._allowed < CONNECTIONS:
                    self._allowed += 1
                    self._start()
                self._changed.notify_all()

    def _answer(self, job):
        """The answer of a request, and what ``read`` returns for it. Without one, buildout makes the request."""
        answer = None
        try:
            answer = self._fetch(job)
            return answer, answer and job.read(answer)
        except Unwanted:
            answer.close()
            return None, None
        except BaseException as error:
            # Also what would end the thread: somebody waits for it.
            logger.debug("what follows from %s is not known: %s: %s", job.url, type(error).__name__, error)
            code = getattr(error, "code", None)
            if answer is None and isinstance(error, EnvironmentError) and (code is None or is_refusal(code)):
                self._refuse()
            # An answer that was not understood is one for buildout all the same.
            return answer, None

    def _refuse(self):
        """Make no more requests: the server does not answer them, or it gets too many."""
        with self._changed:
            self._refused_at = _compat.monotonic()
            self._end()
            self._changed.notify_all()

    def _fetch(self, job):
        """Make a request, and write the answer to its file; None if it is not a complete one."""
        os.mkdir(os.path.dirname(job.path), 0o700)
        started = _compat.monotonic()
        response = self._opened(job.url)
        answer = Answer(job.path, response, _compat.monotonic() - started, self._release)
        try:
            is_complete = answer.code == 200 and self._write(response, answer)
        except BaseException:
            answer.close()
            raise
        finally:
            response.close()
        if not is_complete:
            answer.close()
            return None
        with self._changed:
            self.bytes += answer.bytes
            self.fetched += 1
        return answer

    def _write(self, response, answer):
        """Write what comes to a file; return whether it is all and fits."""
        length = int(answer.headers.get("Content-Length") or -1)
        if self._kept + length > MOST_BYTES:
            return False
        with open(answer.path, "wb") as file:
            while not self._is_over:
                block = response.read(_BLOCK)
                if not block:
                    return length in (-1, answer.bytes)
                with self._changed:
                    self._kept += len(block)
                answer.bytes += len(block)
                if self._kept > MOST_BYTES:
                    return False
                file.write(block)
        return False

    def _release(self, count):
        with self._changed:
            self._kept -= count
            self._start()


def is_refusal(code):
    """Whether a server that answers with a status may answer otherwise if it gets fewer requests."""
    return code == 429 or code >= 500
