"""Whether what is fetched ahead is requested as buildout's index requests it."""

import ssl
import urllib.request
from urllib.request import HTTPBasicAuthHandler, HTTPSHandler, ProxyHandler, build_opener

import pytest

from eggcache import _requests


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    monkeypatch.setattr(urllib.request, "_opener", None)


def are_equal(opener=None):
    if opener is not None:
        urllib.request.install_opener(opener)
    return _requests.Requests("agent").equal_those_of(urllib.request.urlopen)


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
    assert not _requests.Requests("agent").equal_those_of(lambda url: None)
