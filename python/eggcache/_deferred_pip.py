"""Puts off the import of pip, which buildout itself needs only to read a page of an index.

``zc.buildout.patches`` imports pip for one method of the index, `process_url`. That import takes a fifth of
the time of a run in which nothing is to do. With ``egg-cache``, it waits for the first page. Everything else
that ``zc.buildout.patches`` does stays where it is.
"""

import contextlib
import functools
import hashlib
import importlib
import io
import logging
import os
import sys

#: The begin of the SHA-256 of each ``zc/buildout/patches.py`` that imports pip in `patch_PackageIndex` alone,
#: and does without it.
SOURCES = (
    "3f4c73ac9eecdf1b",  # 3.1 to 3.3
    "1e9044f370db3c87",  # 3.4
    "8204ee75f427843a",  # 4.0 to 4.1.2
    "53d6efc2cd98a3ec",  # 4.1.3 and 4.1.4
    "9cab54c2320b826e",  # 4.1.5 and 4.1.6
    "f504cc79d67f68c1",  # 4.1.7
    "952c679f7781bf6c",  # 4.1.8 to 4.1.10
    "549dda5d03686ef0",  # 4.1.11 to 4.2
    "93a0d8e3402e4df5",  # 5.0 to 5.2
    "9496fd924d59792f",  # 5.3.0a1 and 5.3.0a2
    "1e1fe594e704ea6c",  # 6.0
)

#: What buildout imports of pip. One that lacks a part is too old for it, which it says at once.
_PARTS = ("index/collector.py", "index/package_finder.py", "models/target_python.py")

#: What pip imports of packages of the standard library. Code may use it as if it had imported it itself.
_SUBMODULES = {
    "concurrent": ("futures",),
    "html": ("parser",),
    "http": ("cookiejar", "cookies"),
    "logging": ("config", "handlers"),
    "xmlrpc": ("client",),
}

#: What pip has once it is imported.
_OF_PIP = "_internal", "_vendor"

#: Whether modules may have a ``__getattr__`` (PEP 562).
_HAS_GETATTR = sys.version_info >= (3, 7)

#: Imports pip, if that was put off.
_pending = []


def execute(module, run):
    """Execute ``zc.buildout.patches`` by ``run(module)``, without an import of pip if it can wait."""
    if not _can_wait(module):
        run(module)
        return
    # Buildout does without pip if it cannot be imported, and says so.
    logger = logging.getLogger("zc.buildout.patches")
    logger.disabled = True
    sys.modules["pip._internal"] = None
    try:
        run(module)
    finally:
        del sys.modules["pip._internal"]
        logger.disabled = False
    try:
        _defer(module.patch_PackageIndex)
    except Exception:
        # The index is not the one that is known.
        module.patch_PackageIndex()


def import_pip():
    """Import pip now if it was put off."""
    while _pending:
        _pending.pop()()


def import_submodules():
    """Let what pip would have imported of the standard library be imported when somebody uses it."""
    for package, names in _SUBMODULES.items() if _pending else ():
        module = importlib.import_module(package)
        if _HAS_GETATTR and not hasattr(module, "__getattr__"):
            module.__getattr__ = functools.partial(_submodule, package, names)
        else:
            for name in names:
                importlib.import_module(package + "." + name)
    if _pending and _HAS_GETATTR:
        sys.modules["pip"].__getattr__ = _part_of_pip


def _part_of_pip(name):
    """The ``__getattr__`` of pip, which imports it."""
    if name in _OF_PIP and _pending:
        import_pip()
        return importlib.import_module("pip." + name)
    raise AttributeError("module 'pip' has no attribute %r" % name)


def _submodule(package, names, name):
    """The ``__getattr__`` of a package, which imports some of its submodules."""
    if name in names:
        return importlib.import_module(package + "." + name)
    raise AttributeError("module %r has no attribute %r" % (package, name))


@contextlib.contextmanager
def _unlogged():
    """Drop what is logged below the level of warnings, as Python does before buildout sets up its log."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.INFO))
    try:
        yield
    finally:
        logging.disable(disabled)


def _can_wait(module):
    """Whether the import of pip would succeed, and buildout is one that needs it for pages only."""
    try:
        if "pip._internal" in sys.modules or _source_digest(module.__spec__.origin) not in SOURCES:
            return False
        # `zc.buildout` has imported the empty package.
        folder = os.path.dirname(sys.modules["pip"].__file__)
    except Exception:
        return False
    return all(os.path.isfile(os.path.join(folder, "_internal", part)) for part in _PARTS)


def _source_digest(path):
    with io.open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def _defer(patch):
    """Let the index call ``patch``, which replaces its `process_url`, before it reads its first page."""
    own = sys.modules.get("zc.buildout._package_index")
    index = (own or sys.modules["setuptools.package_index"]).PackageIndex
    stock, patched = index.process_url, []

    def import_pip_and_patch():
        placed, index.process_url = index.process_url, stock
        try:
            with _unlogged():
                patch()
            patched.append(index.process_url)
        finally:
            if placed is not process_url:
                # An extension has replaced it meanwhile.
                index.process_url = placed

    @functools.wraps(stock)
    def process_url(self, *args, **kw):
        import_pip()
        return (patched or [stock])[0](self, *args, **kw)

    index.process_url = process_url
    _pending.append(import_pip_and_patch)
