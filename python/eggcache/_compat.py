"""What the Pythons that this package supports (2.7, and 3.6 and later) lack or do differently.

Elsewhere, the package is written for all of them at once. In Python 2, a string is bytes: paths stay
what they are there, and only JSON turns them into text, as UTF-8.
"""

import errno
import functools
import json
import os
import platform
import select
import subprocess
import sys
import sysconfig
import time

try:
    from urllib.parse import urljoin, urlsplit, urlunsplit
    from urllib.request import url2pathname
except ImportError:
    from urllib import url2pathname

    from urlparse import urljoin, urlsplit, urlunsplit

__all__ = ["url2pathname", "urljoin", "urlsplit", "urlunsplit"]

_IS_2 = sys.version_info[0] == 2

#: How often to look whether a process has ended, in seconds.
_POLL = 0.01


def monotonic():
    """The seconds since a fixed point in the past, whatever happens to the clock."""
    return time.monotonic() if hasattr(time, "monotonic") else os.times()[4]


# -- Text


def to_bytes(text):
    """A string in UTF-8."""
    return text if isinstance(text, bytes) else text.encode("utf-8")


def to_text(string):
    """A string as characters."""
    return string.decode("utf-8", "replace") if isinstance(string, bytes) else string


def to_native(text):
    """Text as this Python has its paths and messages."""
    return text.encode("utf-8") if _IS_2 and isinstance(text, type(u"")) else text


def is_printable(character):
    """Whether a reader sees a character of a text as it is."""
    if hasattr(character, "isprintable"):
        return character.isprintable()
    import unicodedata

    return character == u" " or unicodedata.category(character)[0] not in "CZ"


def parse_json(text, mapping):
    """The value of a JSON text, with objects as ``mapping``, a kind of dictionary."""
    return json.loads(text, object_pairs_hook=lambda pairs: mapping(_native(pairs)))


def _native(value):
    """A value in which every text is native; `parse_json` has done it for the objects inside."""
    if not _IS_2:
        return value
    if isinstance(value, (list, tuple)):
        return [_native(item) for item in value]
    return to_native(value)


def hashable_json(value, **options):
    """The JSON text of a value, of which a digest is made, whatever bytes are in its strings."""
    if _IS_2:
        options["encoding"] = "latin-1"
    return json.dumps(value, **options).encode("utf-8")


# -- Files


def mtime_ns(status):
    """The modification time in ``os.stat``'s result, as precise as this Python knows it."""
    return getattr(status, "st_mtime_ns", status.st_mtime)


def which(name, path=None):
    """The path of a program that can be run; None if there is none."""
    for directory in (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep):
        found = os.path.join(directory, name)
        if directory and os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


def pread(descriptor, size, offset):
    """Read at an offset. In Python 2 this moves the position, which does not matter for `os.O_APPEND`."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


# -- Processes


def start(command, stderr):
    """Start a program in a session of its own, with pipes to its input and output.

    It inherits nothing else, and later processes do not inherit the pipes.
    """
    options = {"preexec_fn": os.setsid} if _IS_2 else {"start_new_session": True}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, stderr=stderr, close_fds=True, **options
    )


def wait(process, limit):
    """Wait for a process to end; return its status, or None if it takes longer than ``limit`` seconds."""
    if not _IS_2:
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
    end = monotonic() + limit
    while process.poll() is None and monotonic() < end:
        time.sleep(_POLL)
    return process.returncode


def poll(descriptors, seconds):
    """Wait for events, as ``select.poll`` names them by descriptor; return those that have come."""
    waiting = select.poll()
    for descriptor, events in descriptors.items():
        waiting.register(descriptor, events)
    try:
        return dict(waiting.poll(seconds * 1000))
    except select.error as error:
        # An interrupted wait. Since Python 3.5 there is none.
        if not _IS_2 or error.args[0] != errno.EINTR:
            raise
        return {}


# -- Functions


def wraps(function):
    """As ``functools.wraps``. Python 2 does not note which function is wrapped."""

    def decorate(wrapper):
        wrapper = functools.wraps(function)(wrapper)
        wrapper.__wrapped__ = function
        return wrapper

    return decorate


def memoized(function):
    """A function that is called once for each argument."""
    known = {}

    @functools.wraps(function)
    def wrapper(argument):
        if argument not in known:
            known[argument] = function(argument)
        return known[argument]

    return wrapper


class cached_property(object):
    """A property that is computed once."""

    def __init__(self, function):
        self._function = function

    def __get__(self, instance, owner=None):
        value = instance.__dict__[self._function.__name__] = self._function(instance)
        return value


# -- This Python


def implementation():
    """The name of this implementation of Python, such as ``cpython``."""
    if hasattr(sys, "implementation"):
        return sys.implementation.name
    return platform.python_implementation().lower()


def soabi():
    """The ABI of extension modules, which is the tag in their file names; empty if it is not known.

    It is not always ``SOABI``, which lacks the platform on PyPy. CPython 2 names it nowhere. Its builds
    differ in the width of a character (UCS2 or UCS4), in the allocator and in debug code, and the tag
    of wheels (PEP 425) is made from these.
    """
    tag = (sysconfig.get_config_var("EXT_SUFFIX") or "").rpartition(".")[0].lstrip(".")
    found = tag or sysconfig.get_config_var("SOABI") or ""
    if found or not _IS_2:
        return found
    flags = (
        ("d", hasattr(sys, "gettotalrefcount")),
        ("m", sysconfig.get_config_var("WITH_PYMALLOC")),
        ("u", sys.maxunicode > 0xFFFF),
    )
    version = "cp%d%d" % sys.version_info[:2]
    return version + "".join(flag for flag, is_set in flags if is_set)
