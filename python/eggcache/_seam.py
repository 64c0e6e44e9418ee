"""Whether a zc.buildout is one that eggcache fits, and how its functions are replaced.

Before anything is replaced, the functions and attributes that eggcache uses are compared with those of the
zc.buildout that it knows. If something differs, nothing is replaced, and buildout runs without the cache.

What shows only in a call does not fail it either: a replacement that fails leaves the call to the original
function (`replacement`).
"""

from eggcache import _compat
from eggcache._hashes import Refused

#: The parameters of what is replaced, in each way in which a known zc.buildout has them. None if its
#: replacement reads none.
PARAMETERS = {
    "install": ["self specs working_set"],
    "_satisfied": ["self req source"],
    "_get_dist": ["self requirement ws"],
    "_fetch": ["self dist tmp download_cache"],
    "_env_rescan_dest": None,
    "_get_dest_dist_paths": None,
    "_make_env": None,
    "build": ["self spec build_ext"],
    # The last two are those of 4.1.4 to 4.1.7.
    "_move_to_eggs_dir_and_compile": ["dist dest", "dist dest project_name", "dist dest project_name version"],
    "_unload_extensions": None,
    "_call": None,
    "call_pip_install": ["spec dest editable"],
    "open_url": ["self url warning"],
    # Of buildouts that install eggs with uv.
    "install_pinned_dists": ["pinned dest"],
    "_matching_dists": ["env req"],
    "_run_pip": ["args env dest level"],
    "_unpack_dist_for_build": ["dist build_tmp"],
    "_uv_resolve_requirements": None,
}

#: What is used of an installer.
OF_INSTALLERS = (
    "_allow_hosts",
    "_constrain",
    "_dest",
    "_download_cache",
    "_env",
    "_fix_file_links",
    "_index",
    "_install_from_cache",
    "_links",
    "_newest",
    "_obtain",
    "_path",
    "_prefer_final",
)

_TAKES_MORE = 0x04  # inspect.CO_VARARGS


class Unfit(Exception):
    """This zc.buildout works in a way that eggcache does not know."""

    def __init__(self, what):
        Exception.__init__(self, "this zc.buildout works in a way that eggcache does not know (%s)" % what)


def require_function(owner, name):
    """Raise `Unfit` unless a module or class has a function with known parameters (`PARAMETERS`)."""
    function, known = getattr(owner, name, None), PARAMETERS[name]
    if function is None:
        raise Unfit("it has no %s" % name)
    if known is not None and not _is_known(function, [tuple(names.split()) for names in known]):
        raise Unfit("%s has other parameters" % name)


def require_attributes(kind, names):
    """Raise `Unfit` unless a class has these attributes, or its ``__init__`` sets them."""
    code = getattr(_innermost(kind.__init__), "__code__", None)
    for name in names:
        if not hasattr(kind, name) and name not in getattr(code, "co_names", ()):
            raise Unfit("%s has no %s" % (kind.__name__, name))


def _is_known(function, known):
    code = getattr(_innermost(function), "__code__", None)
    if code is None:
        return False
    count = code.co_argcount + getattr(code, "co_kwonlyargcount", 0)
    names = code.co_varnames[:count]
    if names in known:
        return True
    # Somebody's wrapper, which passes on what it gets.
    return bool(code.co_flags & _TAKES_MORE) and any(names == it[:count] for it in known)


def _innermost(function):
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def owner_of(kind, name):
    """The class that defines a method of a class. Who replaces it later does so there."""
    return next((owner for owner in kind.__mro__ if name in vars(owner)), kind)


def replacement(stock, method, is_left, fail):
    """A function that calls ``method`` in place of ``stock``, and becomes a method of a class it is set on.

    ``method`` gets the original as its first argument (`_Once`). While ``is_left()`` is true, all is left
    to the original. If the method itself fails, ``fail`` is called with the exception, and the call ends
    as the original ends it. Exceptions of the original pass (`of_stock`).
    """

    @_compat.wraps(stock)
    def function(*args, **kw):
        if is_left():
            return stock(*args, **kw)
        once = _Once(stock)
        try:
            return method(once, *args, **kw)
        except Exception as error:
            if passes(error):
                raise
            fail(error)
        return once.end(args, kw)

    return function


class _Once(object):
    """An original function during one call of its replacement. It remembers how it has ended."""

    def __init__(self, stock):
        self._stock = stock
        self._is_called = False
        self._result = self._error = None

    def __call__(self, *args, **kw):
        self._is_called = True
        try:
            self._result = of_stock(self._stock, *args, **kw)
        except Exception as error:
            self._error = error
            raise
        self._error = None
        return self._result

    def end(self, args, kw):
        """Let a call end as the original has ended it. It is called now if it was not before."""
        if not self._is_called:
            return self._stock(*args, **kw)
        if self._error is not None:
            raise self._error
        return self._result


def of_stock(function, *args, **kw):
    """Call a function of buildout, whose exceptions pass through the replacements."""
    try:
        return function(*args, **kw)
    except Exception as error:
        passing(error)
        raise


def passing(error):
    """An exception that buildout must see, whichever replacement it passes through."""
    try:
        error.eggcache_passes = True
    except AttributeError:
        pass  # its class allows no attributes
    return error


def passes(error):
    return isinstance(error, Refused) or getattr(error, "eggcache_passes", False)
