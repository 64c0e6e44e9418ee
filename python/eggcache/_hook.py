"""Imported by ``eggcache.pth`` whenever Python starts, so it must be small.

It waits for the import of ``zc.buildout.buildout`` and wraps ``Buildout._load_extensions``, which
runs before anything is installed. Extensions thus come from the cache as well, and the option
``egg-cache`` alone is enough.
"""

import sys

_MODULE = "zc.buildout.buildout"


class _Finder:
    """Finds only the module it waits for, and only once."""

    def find_spec(self, name, path=None, target=None):
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        run = getattr(spec and spec.loader, "exec_module", None)
        if run is None:
            return None

        def exec_module(module):
            run(module)
            _wrap(module.Buildout)

        spec.loader.exec_module = exec_module
        return spec


def _wrap(buildout_class):
    load_extensions = getattr(buildout_class, "_load_extensions", None)
    if load_extensions is None:
        return  # a buildout older than any that this works with

    def _load_extensions(self):
        from eggcache import _seam

        _seam.start(self)
        return load_extensions(self)

    buildout_class._load_extensions = _load_extensions


if _MODULE not in sys.modules:
    sys.meta_path.insert(0, _Finder())
