"""Imported by ``eggcache_hook.pth`` on every start of Python, so it must stay small.

Python reads such files in the order of their names. The one of an editable installation, which adds this
package to the path, is ``eggcache.pth``; the hook's comes after it.

It waits for the import of ``zc.buildout.buildout`` and wraps ``Buildout._load_extensions``, which
runs before buildout installs anything. Thus the option ``egg-cache`` alone is enough, and extensions
come from the cache as well. Before that, it waits for ``zc.buildout.patches``, whose import of pip can wait.
"""

import sys

_BUILDOUT = "zc.buildout.buildout"
_PATCHES = "zc.buildout.patches"


class _Finder(object):
    """Finds only the module that it waits for, and only once. Python 2 calls the last two methods."""

    def __init__(self, name):
        self._name = name

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec

    def find_module(self, name, path=None):
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        return self

    def load_module(self, name):
        __import__(name)
        _wrap(sys.modules[name])
        return sys.modules[name]


class _Loader(object):
    """Loads only the module that `_Finder` waits for. Its own loader may load others, as that of a zip file."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        # For `python -m`, and for others that only look at the module.
        return getattr(self._loader, name)

    def create_module(self, spec):
        create = getattr(self._loader, "create_module", None)
        return create and create(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        if module.__name__ == _PATCHES:
            from eggcache import _deferred_pip

            _deferred_pip.execute(module, self._execute)
        else:
            self._execute(module)
            _wrap(module)

    def _execute(self, module):
        run = getattr(self._loader, "exec_module", None)
        if run is not None:
            run(module)
        else:  # a zip file before Python 3.10
            exec(self._loader.get_code(module.__name__), module.__dict__)


def _wrap(module):
    buildout_class = getattr(module, "Buildout", None)
    load_extensions = getattr(buildout_class, "_load_extensions", None)
    if load_extensions is None:
        return  # this buildout is not known

    def _load_extensions(self, *args, **kw):
        from eggcache import _run

        _run.start(self)
        return load_extensions(self, *args, **kw)

    buildout_class._load_extensions = _load_extensions


if _BUILDOUT not in sys.modules:
    sys.meta_path.insert(0, _Finder(_BUILDOUT))
    # In Python 2, pip is imported where buildout does it.
    if _PATCHES not in sys.modules and sys.version_info[0] > 2:
        sys.meta_path.insert(0, _Finder(_PATCHES))
