"""Proxies, passwords and redirects: the requests of stock buildout, with the same passwords to the same hosts.

A run with fetching ahead succeeds where stock buildout does, and fails with the same message where it fails.
"""

import os
import sys

import pytest

from conftest import ROOT
from private import PrivateIndex, Proxy, basic
from test_fetching_ahead import both, has_missed, recipes, world  # noqa: F401

sys.path.insert(0, os.path.join(ROOT, "tests", "remote"))

pytestmark = pytest.mark.one_version

USER, SECRET = "user:secret@", basic("user", "secret")
WRONG = "user:wrong@"


@pytest.fixture(autouse=True)
def without_own_proxies(monkeypatch):
    """No proxy of this machine counts."""
    for name in "http_proxy", "https_proxy", "no_proxy", "all_proxy":
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web():
    return PrivateIndex()


@pytest.fixture
def proxy():
    return Proxy()


@pytest.fixture
def other():
    """Another host. Its name is localhost, that of the index is 127.0.0.1."""
    other = PrivateIndex()
    other.delay = 0.05
    return other


def same_requests(world, web, **kw):
    """Run both, which must make the same requests; return these, and what the second run has said."""
    _, output, stock, ours = both(world, web, **kw)
    assert sorted(ours, key=repr) == sorted(stock, key=repr)
    return ours, output


def in_pairs(note):
    """What was noted of the two runs, which must be the same."""
    half = len(note) // 2
    assert sorted(note[:half], key=repr) == sorted(note[half:], key=repr)
    return note


def passwords(requests):
    return {(authorization, proxy_authorization) for _, authorization, proxy_authorization, _ in requests}


# -- Proxies


def test_requests_ahead_go_through_the_proxy_with_its_password(world, web, proxy):
    proxy.password = SECRET
    ours, output = same_requests(world, web, env={"http_proxy": proxy.url(USER)})
    assert has_missed(world, output, 4) and web.most > 1
    assert {(secret, via) for _, _, secret, via in ours} == {(SECRET, "1.1 proxy")}


def test_hosts_of_no_proxy_are_asked_without_the_proxy(world, web, proxy):
    env = {"http_proxy": proxy.url(USER), "no_proxy": "localhost,127.0.0.1"}
    ours, output = same_requests(world, web, env=env)
    assert has_missed(world, output, 4) and web.most > 1
    assert proxy.requests == [] and passwords(ours) == {(None, None)}


def test_a_proxy_of_pip_alone_is_not_asked(world, web, proxy):
    (world.path / ".pip").mkdir()
    (world.path / ".pip" / "pip.conf").write_text("[global]\nproxy = %s\n" % proxy.url(USER))
    ours, output = same_requests(world, web, env={"PIP_PROXY": proxy.url(USER)})
    assert has_missed(world, output, 4) and web.most > 1
    assert proxy.requests == [] and passwords(ours) == {(None, None)}


@pytest.mark.parametrize("user", ["", WRONG])
def test_a_proxy_that_demands_another_password_fails_as_in_stock(world, web, proxy, user):
    proxy.password = SECRET
    _, output, _, ours = both(world, web, env={"http_proxy": proxy.url(user)}, check=False)
    assert "Couldn't find a distribution for" in output and ours == []
    assert {secret for _, _, secret in proxy.requests} == {basic("user", "wrong") if user else None}


def test_a_proxy_that_is_not_there_fails_as_in_stock(world, web):
    _, output, _, ours = both(world, web, env={"http_proxy": "http://127.0.0.1:9"}, check=False)
    assert "Connection refused" in output and ours == []


def certificate(world):
    from servers import make_certificate

    paths = [str(world.path / name) for name in ("certificate", "key")]
    make_certificate(*paths)
    return paths


@pytest.fixture
def tls(world, web):
    """The options for an index that speaks TLS, and an environment in which its certificate is trusted."""
    paths = certificate(world)
    web.speak_tls(*paths)
    return {"options": "index = " + world.index_url.replace("http:", "https:"), "env": {"SSL_CERT_FILE": paths[0]}}


def test_requests_of_https_go_through_a_tunnel_with_its_password(world, web, proxy, tls):
    proxy.password = SECRET
    tls["env"]["https_proxy"] = proxy.url(USER)
    # Before 57, setuptools trusts the certificates of the system only.
    is_trusted = world.buildout.generation > 2
    _, output, stock, ours = both(world, web, check=is_trusted, **tls)
    tunnel = "CONNECT", "127.0.0.1:%d" % web.port, SECRET
    assert set(proxy.requests) == {tunnel}
    if is_trusted:
        assert has_missed(world, output, 4) and web.most > 1
        assert sorted(ours, key=repr) == sorted(stock, key=repr) and passwords(ours) == {(None, None)}
        assert len(in_pairs(proxy.requests)) == len(stock + ours)
    else:
        assert "certificate verify failed" in output


def test_a_certificate_that_is_not_trusted_fails_as_in_stock(world, web, tls):
    _, output, _, ours = both(world, web, options=tls["options"], check=False)
    assert "certificate verify failed" in output and ours == []


# -- Passwords


def test_a_password_in_the_address_of_the_index_is_sent_as_by_stock(world, web):
    web.password = SECRET
    index = world.index_url.replace("//", "//" + USER)
    ours, output = same_requests(world, web, options="index = " + index)
    assert has_missed(world, output, 4) and passwords(ours) == {(SECRET, None)}


def test_a_password_of_pypirc_is_sent_as_by_stock(world, web):
    web.password = SECRET
    write_pypirc(world, world.index_url)
    ours, output = same_requests(world, web)
    assert has_missed(world, output, 4) and passwords(ours) == {(SECRET, None)}


def write_pypirc(world, url):
    text = "[distutils]\nindex-servers = own\n[own]\nrepository = %s\nusername = user\npassword = secret\n"
    (world.path / ".pypirc").write_text(text % url)


def test_a_wrong_password_fails_as_in_stock(world, web):
    web.password = SECRET
    index = world.index_url.replace("//", "//" + WRONG)
    _, output, _, ours = both(world, web, options="index = " + index, check=False)
    assert "Couldn't find a distribution for" in output
    assert passwords(ours) == {(basic("user", "wrong"), None)}


def test_a_password_of_netrc_is_not_sent_and_the_run_fails_as_in_stock(world, web):
    web.password = SECRET
    netrc = world.path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    _, output, _, ours = both(world, web, env={"NETRC": str(netrc)}, check=False)
    assert "Couldn't find a distribution for" in output and passwords(ours) == {(None, None)}


# -- Other hosts


def is_archive(path):
    # To a proxy, urllib passes the fragment on.
    return path.partition("#")[0].endswith(".whl")


def move(world, web, other, is_moved=lambda path: True):
    """Send requests to another host, which has the same folder."""
    there = other.serve(world.index).replace("127.0.0.1", "localhost")
    here = "/" + world.index_url.split("/")[3] + "/"
    web.moved = lambda path: there + path[len(here) :] if is_moved(path) else None
    return there


def test_pages_and_archives_of_another_host_are_fetched_ahead(world, web, other):
    move(world, web, other)
    ours, output = same_requests(world, web)
    assert has_missed(world, output, 4) and other.most > 1
    # The links of a page are on the host that it came from.
    assert len(ours) == 4 and len(in_pairs(other.requests)) == 16
    assert passwords(ours + other.requests) == {(None, None)}


def test_the_password_of_an_index_is_sent_to_other_hosts_only_by_stock_itself(world, web, other):
    web.password = SECRET
    move(world, web, other, is_archive)
    index = world.index_url.replace("//", "//" + USER)
    same_requests(world, web, options="index = " + index)
    # This is what urllib does: it repeats the header.
    assert web.most == 1 and len(in_pairs(other.requests)) == 8


def test_a_password_for_another_host_is_sent_there_as_by_stock(world, web, other):
    there = move(world, web, other, lambda path: not is_archive(path))
    write_pypirc(world, there)
    ours, _ = same_requests(world, web)
    assert passwords(ours) == {(None, None)}
    assert {is_archive(path) for path, secret, _, _ in in_pairs(other.requests) if secret} == {True}


def test_the_password_of_a_proxy_is_sent_to_other_hosts_only_by_stock_itself(world, web, proxy, other):
    move(world, web, other, is_archive)
    env = {"http_proxy": proxy.url(USER), "no_proxy": "localhost"}
    ours, output = same_requests(world, web, env=env)
    assert has_missed(world, output, 4)
    assert {(secret, via) for _, _, secret, via in ours} == {(SECRET, "1.1 proxy")}
    # A host that is asked without the proxy, to which urllib repeats the header. Requests ahead do not.
    assert [(secret, via) for _, _, secret, via in other.requests] == [(SECRET, None)] * 4 + [(None, None)] * 4
