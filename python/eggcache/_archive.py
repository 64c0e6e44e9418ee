"""Archives of sources: whether this machine lacks a compiler that one needs.

Some projects do without their extension modules where they cannot be compiled (``optional=True``). An egg
that lacks them for this reason must not reach a machine that has a compiler.
"""

import os
import sysconfig
import tarfile
import zipfile

from eggcache import _compat

_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".m", ".pyx")
#: How the names of folders begin whose files do not become part of an egg.
_BESIDE = ("test", "doc", "example", "bench")


def needs_missing_compiler(path):
    """Whether an archive has C sources, or others that become C, and this machine has no C compiler.

    The archive is read only where there is no compiler. A wheel or an egg needs none.
    """
    if path.endswith((".whl", ".egg")) or _compat.which(_compiler()):
        return False
    return any(_is_source(name) for name in _names_in(path))


def _is_source(name):
    return name.endswith(_SOURCES) and not any(
        folder.lower().startswith(_BESIDE) for folder in name.split("/")[1:-1]
    )


def _compiler():
    """Name or path of the C compiler of a build: ``CC``, or else that with which this Python was compiled.

    A build tries no other, whatever this machine has.
    """
    command = os.environ.get("CC", "").split() or (sysconfig.get_config_var("CC") or "").split()
    return command[0] if command else "cc"


def _names_in(path):
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        with tarfile.open(path) as archive:
            return archive.getnames()
    except (EnvironmentError, EOFError, tarfile.TarError, zipfile.BadZipfile, ValueError):
        return []
