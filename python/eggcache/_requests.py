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


class Requests(object):
    """Makes requests with one opener of its own. Its TLS context takes long to make."""

    def __init__(self, user_agent):
        self._user_agent = user_agent

    def prepare(self):
        """Make the opener, before several threads use it."""
        return self._opener

    def open(self, url):
        import urllib.request

        request = urllib.request.Request(url)
        request.add_header("User-Agent", self._user_agent)
        return self._opener.open(request, timeout=_fetcher.SILENCE)

    def equal_those_of(self, urlopen):
        """Whether this function makes the same requests: that of ``urllib`` does, unless somebody has
        installed an opener with other handlers, headers, proxies or certificates."""
        import urllib.request

        if urlopen is not urllib.request.urlopen or urlopen.__module__ != "urllib.request":
            return False
        installed = urllib.request._opener
        return installed is None or _state(installed) == _state(self._default)

    @_compat.cached_property
    def _default(self):
        import urllib.request

        return urllib.request.build_opener()

    @_compat.cached_property
    def _opener(self):
        import ssl
        import urllib.request

        if sys.version_info >= (3, 12):
            return self._default  # its connections have one context
        context = ssl._create_default_https_context()
        context.set_alpn_protocols(["http/1.1"])
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def _state(opener):
    """What decides on the requests of an opener, in a form that can be compared."""
    handlers = [(type(handler).__name__, type(handler), _options(handler)) for handler in opener.handlers]
    return type(opener), opener.addheaders, sorted(handlers, key=lambda handler: handler[0])


def _options(handler):
    found = {name: value for name, value in vars(handler).items() if name != "parent" and not callable(value)}
    if "_context" in found:
        found["_context"] = _tls(found["_context"])
    return found


@_compat.memoized
def _tls(context):
    """What decides on the connections of a TLS context. Before Python 3.12, the default is none."""
    if context is None:
        return None
    return [getattr(context, name, None) for name in _OF_TLS], sorted(context.get_ca_certs(binary_form=True))
