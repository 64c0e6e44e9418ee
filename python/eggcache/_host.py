"""Describe this Python, machine and buildout, which decide which cached eggs work here."""

import glob
import hashlib
import os
import platform
import sys

from eggcache import _compat

#: Buildout 3 sets these in its own environment when it first calls pip: no difference in options.
_LEAKING = ("PYTHONPATH",)

_IMPLEMENTATIONS = {"cpython": "cp", "pypy": "pp"}


def describe(easy_install, environment):
    """The ``host`` of the ``open`` request (docs/reference/protocol.md).

    ``easy_install`` is the module ``zc.buildout.easy_install``.
    """
    name = _compat.implementation()
    return {
        "implementation": _IMPLEMENTATIONS.get(name, name),
        "python": "%d.%d" % sys.version_info[:2],
        "soabi": _compat.soabi(),
        "platform": easy_install.pkg_resources.get_supported_platform(),
        "libc": _libc(),
        "generation": generation(easy_install),
        "environment": environment,
    }


def generation(easy_install):
    """The layout of the eggs that this buildout makes (docs/reference/options.md).

    What the module does decides, not the version in the working set: after an upgrade, that may be
    another one than runs.
    """
    if not hasattr(easy_install, "call_pip_install"):
        return 2
    if ".whl" not in easy_install.UNPACKERS:
        return 5
    return 4 if hasattr(easy_install, "_maybe_copy_and_rename_wheel") else 3


def _libc():
    """The C library and its version, such as ``glibc 2.36``; empty if it is not known."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, EnvironmentError, ValueError):
        if glob.glob("/lib/ld-musl-*"):
            return "musl"
        return " ".join(part for part in platform.libc_ver() if part)


def sha256_of(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def environment_since(environ_before):
    """How the environment differs from before: what a custom build has set."""
    return {
        name: os.environ.get(name)
        for name in set(environ_before) | set(os.environ)
        if environ_before.get(name) != os.environ.get(name) and name not in _LEAKING
    }
