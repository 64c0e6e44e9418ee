"""What is fetched ahead, and when."""

import os
import sys
import types

import pytest

from eggcache import _ahead, _session

#: What makes requests in a module of an index, and in a class of it.
IN_MODULE = "open_with_auth", "PyPIConfig", "HashChecker"


def functions(names, module):
    found = {name: types.FunctionType(module_of.__code__, {}, name) for name in names}
    for function in found.values():
        function.__module__ = module
    return found


def module_of(name, functions_of=None):
    """A module of an index, and its index class, whose functions are of another module."""
    module = types.ModuleType(name)
    vars(module).update(functions(IN_MODULE, functions_of or name))
    return module, type("Index", (), functions(_ahead._METHODS, functions_of or name))


@pytest.mark.parametrize("name", ["setuptools.package_index", "zc.buildout._package_index"])
def test_only_functions_of_buildout_and_setuptools_are_trusted(name):
    assert _ahead._is_own(*module_of(name))
    assert not _ahead._is_own(*module_of(name, "somebody"))
    assert not _ahead._is_own(types.ModuleType(name), None)
    assert not _ahead._is_own(*module_of("somebody"))


def test_a_page_has_the_name_that_the_index_asks_for():
    requirement = types.SimpleNamespace(unsafe_name="Gamma.NS", project_name="Gamma.NS")

    def name_of(module):
        index = module_of(module)[1]
        index.find_packages = functions(["find_packages"], module)["find_packages"]
        return _ahead._name_of_page(index(), requirement)

    assert name_of("setuptools.package_index") == "Gamma.NS"
    assert name_of("zc.buildout._package_index") == "gamma-ns"


def wants(converter, generation, **options):
    easy_install = types.SimpleNamespace(UNPACKERS={".whl": None} if generation < 5 else {})
    if generation > 2:
        easy_install.call_pip_install = None
    session = types.SimpleNamespace(converter=converter, easy_install=easy_install, options=options)
    return _ahead._is_wanted(session)


def test_archives_are_fetched_ahead_where_no_pip_installs_wheels(monkeypatch):
    off = {"egg-cache-convert": "false"}
    assert wants("converter", 5) and not wants(None, 5)
    assert wants(None, 3) and wants(None, 2)
    assert not wants(None, 3, **off) and not wants(None, 2, **off)
    monkeypatch.setattr(sys, "version_info", (2, 7, 18))
    assert not wants(None, 2)


def ahead_with(**attributes):
    names = "chooser", "copier", "custom", "converter", "easy_install", "show_progress"
    session = types.SimpleNamespace(**dict.fromkeys(names, types.SimpleNamespace(pkg_resources=None)))
    vars(session).update(attributes)
    return _ahead.Ahead(session, types.SimpleNamespace(user_agent="agent"))


@pytest.mark.parametrize("converter", [None, "converter"])
def test_from_an_index_that_is_near_only_what_is_converted_is_fetched_ahead(converter, monkeypatch):
    wanted = []
    offers = types.SimpleNamespace(of_link=lambda *args: wanted.append("archive"))
    ahead = ahead_with(converter=converter, chooser=offers)
    installer = types.SimpleNamespace(_index=types.SimpleNamespace(index_url="https://example.org/"))
    dist = types.SimpleNamespace(location="https://example.org/alpha-1.0-py3-none-any.whl")
    monkeypatch.setattr(ahead, "_may_request", lambda index, url: True)
    ahead.fetcher = types.SimpleNamespace(want=lambda url, *args: wanted.append(url))

    def answered_within(seconds):
        del wanted[:]
        ahead._read_page(installer, None, "1.0", types.SimpleNamespace(headers={}, seconds=seconds))
        ahead._page_has_come(installer, None, dist)
        return wanted

    assert answered_within(0.02) == ["archive", dist.location]
    # The shortest time tells how near it is: others were waiting for something else.
    for seconds in (0.001, 0.02):
        assert answered_within(seconds) == ["archive", dist.location][: 2 if converter else 1]


def answers(*codes, **headers):
    """A function that answers with these statuses, one after the other."""
    waiting = [types.SimpleNamespace(code=code, headers=headers, close=lambda: None) for code in codes]
    return lambda: waiting.pop(0)


def test_a_request_that_is_refused_because_of_others_is_made_again(monkeypatch):
    ahead, waited = ahead_with(), []
    monkeypatch.setattr(_ahead.time, "sleep", waited.append)
    request = lambda *codes, **headers: ahead.unless_refused(answers(*codes, **headers)).code  # noqa: E731
    assert request(503, 200) == 503, "nothing was requested ahead"
    ahead.fetcher = types.SimpleNamespace(was_refused=True)
    assert (request(200), request(404, 200), waited) == (200, 404, [])
    assert request(429, 503, 200) == 200 and waited == [1, 2]
    assert request(429, 200, **{"Retry-After": "7"}) == 200 and waited[2:] == [7]
    assert request(429, 200, **{"Retry-After": "999999"}) == 200 and waited[3:] == [_ahead._LONGEST_WAIT]
    ahead.fetcher.was_refused = False
    assert request(503, 200) == 503, "that was long ago"


def test_nobody_waits_twice_for_a_server_that_goes_on_refusing(monkeypatch):
    ahead, waited = ahead_with(fetcher=None), []
    ahead.fetcher = types.SimpleNamespace(was_refused=True)
    monkeypatch.setattr(_ahead.time, "sleep", waited.append)
    assert ahead.unless_refused(answers(*[503] * 4, 200)).code == 200 and waited == [1, 2, 4, 8]
    del waited[:]
    assert ahead.unless_refused(answers(*[503] * 9)).code == 503 and waited == [1, 2, 4, 8]
    assert ahead.unless_refused(answers(503, 200)).code == 503 and len(waited) == 4


def test_a_failure_ends_only_what_is_fetched_ahead(caplog):
    ahead, stopped = ahead_with(), []

    def failing():
        raise AttributeError("no _index")

    ahead.fetcher = types.SimpleNamespace(
        events=lambda: [(failing, ())], stop=lambda: stopped.append(1), take=lambda url, pump: "answer"
    )
    assert [ahead.take("https://example.org/") for _ in range(2)] == [None, None]
    assert stopped == [1]
    [record] = caplog.records
    assert record.getMessage() == "nothing more is fetched ahead (AttributeError: no _index)."


def test_a_forked_process_ends_nothing_of_its_parent(monkeypatch):
    # A thread of the parent may have held the lock of the fetcher when it forked.
    folders = dict.fromkeys(("directory", "eggs-directory", "develop-eggs-directory"), "x")
    session = _session.Session(None, folders, None)
    stopped = []
    session.ahead = types.SimpleNamespace(stop=lambda: stopped.append(1))
    monkeypatch.setattr(os, "getpid", lambda: session._pid + 1)
    session.close()
    assert stopped == [] and session.requested("https://example.org/") is None
    monkeypatch.undo()
    session.close()
    assert stopped == [1]
