"""Whether what is fetched ahead is requested as buildout's index requests it."""

import ssl
import types
import urllib.request
from urllib.request import HTTPBasicAuthHandler, HTTPSHandler, ProxyHandler, build_opener

import pytest

from eggcache import _requests


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    monkeypatch.setattr(urllib.request, "_opener", None)


def module_of(opened):
    """A module whose indexes open addresses with a function."""
    return types.SimpleNamespace(
        PackageIndex=lambda search_path: types.SimpleNamespace(opener=opened()), user_agent="agent"
    )


#: As zc.buildout 4 and later, and earlier ones with setuptools 57 and later.
PLAIN = module_of(lambda: urllib.request.urlopen)


class OwnHandler(HTTPSHandler):
    def __init__(self, ca_bundle):
        super().__init__()
        self.ca_bundle = ca_bundle


OwnHandler.__module__ = "setuptools.ssl_support"


def own(*handlers, ca_bundle="bundle"):
    return build_opener(OwnHandler(ca_bundle), *handlers).open


#: As earlier ones with setuptools before 57.
WITH_OPENERS = module_of(own)


def are_equal(opener=None):
    if opener is not None:
        urllib.request.install_opener(opener)
    return _requests.Requests(PLAIN).equal_those_of(urllib.request.urlopen)


def test_urllib_without_an_opener_of_somebodys_own_makes_the_same_requests():
    assert are_equal()
    # What `urlopen` itself installs.
    assert are_equal(build_opener())


def with_header():
    opener = build_opener()
    opener.addheaders.append(("Authorization", "secret"))
    return opener


def strict():
    return HTTPSHandler(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


OPENERS = {
    "all": lambda: build_opener(ProxyHandler({"https": "http://proxy"}), strict(), HTTPBasicAuthHandler()),
    "proxy": lambda: build_opener(ProxyHandler({"https": "http://proxy"})),
    "TLS": lambda: build_opener(strict()),
    "password": lambda: build_opener(HTTPBasicAuthHandler()),
    "header": with_header,
    "none": urllib.request.OpenerDirector,
}


@pytest.mark.parametrize("name", sorted(OPENERS))
def test_an_opener_of_somebodys_own_makes_others(name):
    assert not are_equal(OPENERS[name]())


def test_proxies_that_have_changed_make_others(monkeypatch):
    opener = build_opener()
    monkeypatch.setenv("https_proxy", "http://proxy")
    assert not are_equal(opener)


def test_another_function_makes_others():
    for module in (PLAIN, WITH_OPENERS):
        requests = _requests.Requests(module)
        assert not requests.equal_those_of(lambda url: None)
        assert not requests.equal_those_of(build_opener().add_handler)
        assert not requests.equal_those_of([].append)


def test_an_index_with_an_opener_of_its_own_is_known_by_it():
    requests = _requests.Requests(WITH_OPENERS)
    assert requests.equal_those_of(own())
    # What somebody has installed does not count for it.
    urllib.request.install_opener(build_opener(HTTPBasicAuthHandler()))
    assert requests.equal_those_of(own())
    assert not requests.equal_those_of(own(HTTPBasicAuthHandler()))
    assert not requests.equal_those_of(own(ca_bundle="another"))
    assert not requests.equal_those_of(build_opener().open)
    assert not requests.equal_those_of(urllib.request.urlopen)
    assert not _requests.Requests(PLAIN).equal_those_of(own())


def test_an_opener_with_a_handler_of_somebodys_own_is_not_used(monkeypatch):
    monkeypatch.setattr(OwnHandler, "__module__", "somebody")
    assert not _requests.Requests(WITH_OPENERS).equal_those_of(own())


def test_an_opener_with_proxies_that_have_changed_makes_others(monkeypatch):
    opened = own()
    monkeypatch.setenv("https_proxy", "http://proxy")
    assert not _requests.Requests(WITH_OPENERS).equal_those_of(opened)


def test_the_tls_context_of_an_installed_opener_is_used(monkeypatch):
    # From Python 3.12 on, a new opener has a context. Nobody can see the client certificate in another one.
    opener = lambda: build_opener(HTTPSHandler(context=ssl.create_default_context()))  # noqa: E731
    requests = _requests.Requests(PLAIN)
    monkeypatch.setattr(requests, "_default", opener(), raising=False)
    requests.prepare()
    installed = opener()
    urllib.request.install_opener(installed)
    assert requests.equal_those_of(urllib.request.urlopen)
    assert _requests._context_of(requests._opener) is _requests._context_of(installed)
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert not requests.equal_those_of(urllib.request.urlopen), "buildout makes another one"
