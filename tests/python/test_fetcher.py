"""Requests that are made ahead in threads, without a network."""

import email.message
import io
import os
import threading

import pytest

from eggcache import _fetcher


class Response(io.BytesIO):
    """An answer as ``urllib`` returns it."""

    code = 200

    def __init__(self, url, content, **headers):
        super().__init__(content)
        self.url = url
        self.headers = email.message.Message()
        for name, value in headers.items():
            self.headers[name.replace("_", "-")] = value

    def geturl(self):
        return self.url

    def info(self):
        return self.headers

    def getcode(self):
        return self.code


class Status(OSError):
    code = 404


def content_of(answer):
    text = answer.read()
    answer.close()
    return text


def seen(answer):
    return answer.url


@pytest.fixture
def fetcher(tmp_path):
    """A fetcher of addresses that are their own content."""
    return _fetcher.Fetcher(str(tmp_path), lambda url: Response(url, url.encode()))


def wait_for(fetcher, count):
    found = []
    fetcher.want("last", "file", lambda answer: None)
    while len(found) < count:
        found += fetcher.events()
    return found


def test_an_answer_is_returned_once_and_its_file_removed(fetcher, tmp_path):
    fetcher.want("a", "file", seen)
    assert wait_for(fetcher, 1) == ["a"]
    answer = fetcher.take("a", lambda: None)
    assert (answer.url, answer.code, answer.getheader("X", "none")) == ("a", 200, "none")
    assert answer.read(1) + answer.read() == b"a"
    answer.close()
    answer.close()
    assert fetcher.take("a", lambda: None) is None
    fetcher.want("a", "file", seen)
    assert fetcher.take("a", lambda: None) is None, "it is not requested again"
    assert fetcher.take("never", lambda: None) is None
    assert content_of(fetcher.take("last", lambda: None)) == b"last"
    assert os.listdir(str(tmp_path)) == []


def test_who_asks_for_a_running_request_waits_and_acts_meanwhile(tmp_path):
    go, acted = threading.Event(), []

    def opened(url):
        assert go.wait(60)
        return Response(url, b"content")

    def meanwhile():
        acted.append(1)
        go.set()

    fetcher = _fetcher.Fetcher(str(tmp_path), opened)
    fetcher.want("a", "file", seen)
    while fetcher.remaining and not fetcher._running:
        pass
    assert content_of(fetcher.take("a", meanwhile)) == b"content"
    assert acted and fetcher.events() == ["a"]


def test_who_asks_waits_for_a_thread_that_has_not_begun_yet(fetcher, monkeypatch):
    begin, work = threading.Event(), fetcher._work
    monkeypatch.setattr(fetcher, "_work", lambda: begin.wait(60) and work())
    fetcher.want("a", "file", seen)
    assert content_of(fetcher.take("a", begin.set)) == b"a"
    assert fetcher.events() == ["a"]


def test_a_request_for_which_there_is_no_thread_is_left_to_who_asks(fetcher, monkeypatch):
    monkeypatch.setattr(_fetcher, "MOST_BYTES", 1)
    fetcher.want("a", "file", seen)
    while fetcher.remaining or fetcher._threads:
        pass
    fetcher.want("b", "file", seen)
    assert fetcher.take("b", lambda: None) is None


def test_a_request_that_still_waits_is_left_to_who_asks(tmp_path):
    go, asked = threading.Event(), []

    def opened(url):
        asked.append(url)
        assert go.wait(60)
        return Response(url, b"")

    fetcher = _fetcher.Fetcher(str(tmp_path), opened)
    urls = [str(number) for number in range(5)]
    for url in urls:
        fetcher.want(url, "file", seen)
    while len(asked) < _fetcher.FIRST_CONNECTIONS:
        pass
    assert fetcher.remaining == len(urls)
    assert fetcher.take(urls[-1], lambda: None) is None
    go.set()
    assert content_of(fetcher.take(urls[0], lambda: None)) == b""
    for url in urls[1:-1]:
        taken = fetcher.take(url, lambda: None)
        assert taken is None or content_of(taken) == b""
    assert urls[-1] not in asked, "it was not requested twice"


def test_each_answer_allows_one_more_request_at_once(tmp_path):
    go, asked = threading.Semaphore(0), []

    def opened(url):
        asked.append(url)
        assert go.acquire(timeout=60)
        return Response(url, b"")

    fetcher = _fetcher.Fetcher(str(tmp_path), opened)
    for number in range(20):
        fetcher.want(str(number), "file", seen)
    at_once = _fetcher.FIRST_CONNECTIONS
    for answered in range(12):
        while len(asked) < answered + at_once:
            pass
        assert fetcher._running <= at_once == len(asked) - answered
        at_once = min(at_once + 1, _fetcher.CONNECTIONS)
        go.release()
    go.release(20)


def test_no_more_is_fetched_than_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(_fetcher, "MOST_BYTES", 10)
    monkeypatch.setattr(_fetcher, "FIRST_CONNECTIONS", 1)
    monkeypatch.setattr(_fetcher, "CONNECTIONS", 1)
    fetcher = _fetcher.Fetcher(str(tmp_path), lambda url: Response(url, b"x" * 10))
    fetcher.want("a", "file", seen)
    fetcher.want("b", "file", seen)
    while fetcher.fetched < 1 or fetcher._threads:
        pass
    assert fetcher.remaining == 1
    content_of(fetcher.take("a", lambda: None))
    while fetcher.remaining:
        pass
    assert content_of(fetcher.take("b", lambda: None)) == b"x" * 10


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "11"}])
def test_an_answer_that_does_not_fit_is_none(tmp_path, monkeypatch, headers):
    monkeypatch.setattr(_fetcher, "MOST_BYTES", 10)
    fetcher = _fetcher.Fetcher(str(tmp_path), lambda url: Response(url, b"x" * 11, **headers))
    fetcher.want("a", "file", seen)
    while fetcher.remaining:
        pass
    assert fetcher.take("a", lambda: None) is None
    assert os.listdir(str(tmp_path)) == [] and fetcher._kept == 0


@pytest.mark.parametrize(
    "response",
    [
        lambda url: Response(url, b"half", Content_Length="8"),
        lambda url: type("Moved", (Response,), {"code": 206})(url, b"half"),
    ],
    ids=["cut-off", "partial"],
)
def test_an_incomplete_answer_is_none(tmp_path, response):
    fetcher = _fetcher.Fetcher(str(tmp_path), response)
    fetcher.want("a", "file", seen)
    assert fetcher.take("a", lambda: None) is None
    assert fetcher.events() == [] and os.listdir(str(tmp_path)) == []


def read_by(fetcher, read):
    """The answer of a request after its thread has read it."""
    fetcher.want("a", "file", read)
    return fetcher.take("a", lambda: None)


def test_an_answer_of_another_content_is_none(fetcher, tmp_path):
    def fails(answer):
        raise _fetcher.Unwanted

    assert read_by(fetcher, fails) is None
    assert os.listdir(str(tmp_path)) == [] and fetcher._kept == 0


@pytest.mark.parametrize("error", [ValueError("it makes no sense"), SystemExit(), OSError("of its own file")])
def test_an_answer_that_is_not_understood_is_returned_all_the_same(fetcher, error):
    def fails(answer):
        raise error

    assert content_of(read_by(fetcher, fails)) == b"a"
    fetcher.want("b", "file", seen)
    assert content_of(fetcher.take("b", lambda: None)) == b"b", "the thread goes on"


def failing(error):
    def opened(url):
        if url == "bad":
            raise error
        return Response(url, b"content")

    return opened


def test_a_status_of_one_address_does_not_end_the_others(tmp_path):
    fetcher = _fetcher.Fetcher(str(tmp_path), failing(Status()))
    fetcher.want("bad", "file", seen)
    while fetcher.remaining:
        pass
    fetcher.want("good", "file", seen)
    assert wait_for(fetcher, 1) == ["good"]
    assert fetcher.take("bad", lambda: None) is None


def test_after_a_connection_has_failed_nothing_more_is_requested(tmp_path):
    fetcher = _fetcher.Fetcher(str(tmp_path), failing(OSError("no route")))
    fetcher.want("bad", "file", seen)
    while fetcher.remaining:
        pass
    fetcher.want("good", "file", seen)
    assert fetcher.take("good", lambda: None) is None and fetcher.remaining == 0


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_gets_too_many_requests_gets_no_more(tmp_path, code):
    going, go = threading.Event(), threading.Event()

    def opened(url):
        if url == "slow":
            going.set()
            assert go.wait(60)
            raise OSError("it is over")
        assert going.wait(60)
        raise type("Refusal", (OSError,), {"code": code})

    fetcher = _fetcher.Fetcher(str(tmp_path), opened)
    for url in "slow", "refused", "waiting":
        fetcher.want(url, "file", seen)
    while not fetcher.was_refused:
        pass
    assert fetcher.take("slow", go.set) is None
    assert not fetcher._running, "nobody asks while it still has requests"
    assert fetcher.take("waiting", lambda: None) is None and fetcher.remaining == 0


def test_a_refusal_is_forgotten_after_a_while(tmp_path, monkeypatch):
    fetcher = _fetcher.Fetcher(str(tmp_path), failing(OSError("no route")))
    assert not fetcher.was_refused
    fetcher.want("bad", "file", seen)
    assert fetcher.take("bad", lambda: None) is None and fetcher.was_refused
    now = _fetcher._compat.monotonic()
    monkeypatch.setattr(_fetcher._compat, "monotonic", lambda: now + 2 * _fetcher.MEMORY)
    assert not fetcher.was_refused


def test_a_system_without_threads_fetches_nothing_ahead(fetcher, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    fetcher.want("a", "file", seen)
    assert fetcher.take("a", lambda: None) is None and fetcher.remaining == 0
