"""Imported by ``eggcache_hook.pth`` on every start of Python, so it must stay small.

Python reads such files in the order of their names. The one of an editable installation, which adds this
package to the path, is ``eggcache.pth``; the hook's comes after it.

It waits for the import of ``zc.buildout.buildout`` and wraps ``Buildout._load_extensions``, which
runs before buildout installs anything. Thus the option ``egg-cache`` alone is enough, and extensions
come from the cache as well.
"""

import sys

_MODULE = "zc.buildout.buildout"


class _Finder(object):
    """Finds only the module that it waits for, and only once. Python 2 calls the last two methods."""

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

    def find_module(self, name, path=None):
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        return self

    def load_module(self, name):
        __import__(name)
        _wrap(sys.modules[name].Buildout)
        return sys.modules[name]


def _wrap(buildout_class):
    load_extensions = getattr(buildout_class, "_load_extensions", None)
    if load_extensions is None:
        return  # this buildout is too old

    def _load_extensions(self):
        from eggcache import _run

        _run.start(self)
        return load_extensions(self)

    buildout_class._load_extensions = _load_extensions


if _MODULE not in sys.modules:
    sys.meta_path.insert(0, _Finder())
