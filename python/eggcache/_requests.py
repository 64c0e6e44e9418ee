"""Requests as buildout's index makes them, for what is fetched ahead. Python 2 does not get here."""

import sys

from eggcache import _compat, _fetcher

#: What decides on a TLS connection, besides certificates.
_OF_TLS = (
    "check_hostname",
    "maximum_version",
    "minimum_version",
    "options",
    "protocol",
    "verify_flags",
    "verify_mode",
)

#: The modules of the handlers that an index gives to an opener of its own.
_MODULES = {"urllib.request", "setuptools.ssl_support"}


class Requests(object):
    """Makes requests with one opener of its own, as the indexes of a module make them."""

    def __init__(self, package_index):
        self._package_index = package_index
        self._opener = self._context = None

    def prepare(self):
        """Make the opener, before several threads use it. Its TLS context takes long to make."""
        # The state first: the opener gets one more handler.
        state = self._state
        self._adopt(None)
        return state

    def open(self, url):
        import urllib.request

        request = urllib.request.Request(url)
        request.add_header("User-Agent", self._package_index.user_agent)
        return self._opener.open(request, timeout=_fetcher.SILENCE)

    def _adopt(self, context):
        """Make requests with the TLS context of an installed opener: nobody can see which client certificate it has."""
        if self._opener is None or context is not None and context is not self._context:
            self._context, self._opener = context, self._opener_with(context)

    def equal_those_of(self, opened):
        """Whether this object makes the requests that an index makes with the function ``opened``.

        That is ``urlopen`` or, with setuptools before 57, a method of an opener of the index's own. It makes
        other requests if somebody has installed or set an opener with other handlers, headers, proxies or
        certificates.
        """
        import urllib.request

        if opened is not urllib.request.urlopen:
            opener = getattr(opened, "__self__", None)
            is_opener = isinstance(opener, urllib.request.OpenerDirector) and opened == opener.open
            is_known = self._has_opener and is_opener and _modules_of(opener) <= _MODULES
            return is_known and _state(opener) == self._state
        if self._has_opener or opened.__module__ != "urllib.request":
            return False
        installed = urllib.request._opener
        if installed is None:
            return self._context is None
        if _state(installed) != self._state:
            return False
        self._adopt(_context_of(installed))
        return True

    @_compat.cached_property
    def _usual(self):
        """The function with which a new index makes requests."""
        return self._package_index.PackageIndex(search_path=()).opener

    @property
    def _has_opener(self):
        """Whether each index has an opener of its own."""
        return hasattr(self._usual, "__self__")

    @_compat.cached_property
    def _default(self):
        import urllib.request

        return self._usual.__self__ if self._has_opener else urllib.request.build_opener()

    @_compat.cached_property
    def _state(self):
        return _state(self._default)

    def _opener_with(self, context):
        """An opener like that of an index, with this context if it is not None."""
        import ssl
        import urllib.request

        if context is None and not self._has_opener and sys.version_info < (3, 12):
            # Otherwise each connection of urllib makes a context.
            context = ssl._create_default_https_context()
            context.set_alpn_protocols(["http/1.1"])
        opener = self._default
        if context is not None:
            opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        opener.add_handler(_forgetting())
        return opener


def _forgetting():
    """A handler that does not send the password for a proxy to where an answer redirects, as urllib does.

    If that is asked through the proxy as well, it gets the password there.
    """
    import urllib.request

    class Forgetting(urllib.request.BaseHandler):
        def http_request(self, request):
            request.headers.pop("Proxy-authorization", None)
            return request

        https_request = http_request

    return Forgetting()


def _modules_of(opener):
    return {type(handler).__module__ for handler in opener.handlers}


def _state(opener):
    """What decides on the requests of an opener, in a form that can be compared."""
    handlers = [(type(handler).__name__, type(handler), _options(handler)) for handler in opener.handlers]
    return type(opener), opener.addheaders, sorted(handlers, key=lambda handler: handler[0])


def _options(handler):
    found = {name: value for name, value in vars(handler).items() if name != "parent" and not callable(value)}
    if "_context" in found:
        found["_context"] = _tls(found["_context"])
    return found


def _context_of(opener):
    """The TLS context of an opener; None if each of its connections makes one."""
    contexts = [vars(handler)["_context"] for handler in opener.handlers if "_context" in vars(handler)]
    return contexts[0] if contexts else None


@_compat.memoized
def _tls(context):
    """What decides on the connections of a TLS context. Before Python 3.12, the default is none."""
    if context is None:
        return None
    return [getattr(context, name, None) for name in _OF_TLS], sorted(context.get_ca_certs(binary_form=True))
