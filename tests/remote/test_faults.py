"""A remote that fails in every known way: each pull ends in time and reports the reason, no corrupt egg
gets into the cache, and the next pull without the fault succeeds.

Some faults only end by a time-out, so all pulls with faults start at once.
"""

import contextlib
import socket

import pytest

import eggs
import faults
import servers

#: Seconds that a pull may take: a minute for an answer, and the delays of a busy machine.
IN_TIME = 110


def of_lists(request):
    return "/projects/" in request.path


def of_blobs(request):
    return "/blobs/" in request.path


def always(fault):
    return lambda request: fault


def on(kind, fault):
    return lambda request: fault if kind(request) else None


#: By fault: the rule, the expected message and the exit code.
FAULTS = {
    "it is silent": (always(faults.Silent()), "does not answer in time", 1),
    "it is silent for blobs": (on(of_blobs, faults.Silent()), "does not answer in time", 1),
    "a list arrives at a byte a second": (on(of_lists, faults.Slow()), "does not answer in time", 1),
    "a blob arrives at a byte a second": (on(of_blobs, faults.Slow()), "sends too slowly", 1),
    "it resets every connection": (always(faults.Reset(0)), "the connection was interrupted", 1),
    "it resets every blob": (on(of_blobs, faults.Reset(0)), "remote team: ", 1),
    "it cuts a list short": (on(of_lists, faults.Unreadable(200)), "remote team: ", 1),
    "it cuts a blob short": (on(of_blobs, faults.Unreadable(2_000)), "remote team: ", 1),
    "it forbids": (always(faults.Status(403)), "access denied (403)", 1),
    "it requires credentials": (always(faults.Status(401)), "it requires credentials (401)", 1),
    "it has nothing": (always(faults.Status(404)), "no remote has alpha==1.0", 3),
    "it has no blobs": (on(of_blobs, faults.Status(404)), "remote team: its blob is gone", 1),
    "it forbids blobs": (on(of_blobs, faults.Status(403)), "access denied (403)", 1),
    "it answers 412": (always(faults.Status(412)), "it answers 412", 1),
    "it answers 412 for blobs": (on(of_blobs, faults.Status(412)), "it answers 412", 1),
    "it answers 304": (always(faults.Status(304)), "it answers 304", 1),
    "it is overloaded": (always(faults.Status(429, Retry_After="3600")), "it answers 429 Too Many Requests", 1),
    "it fails": (always(faults.Status(500, "\33[31mall is lost\n" * 999)), "it answers 500", 1),
    "it is not ready": (always(faults.Status(503)), "it answers 503 Service Unavailable\n", 1),
    "a bit of a list is flipped": (on(of_lists, faults.Flipped(0.3)), "is refused", 1),
    "a list is binary garbage": (
        on(of_lists, faults.Changed(lambda _: b"\0\xff\n" * 999)), "it is not a list of entries", 1
    ),
    "it answers with a login page": (
        always(faults.Status(200, "<!DOCTYPE html><p>Please log in")), "it is not a list of entries", 1
    ),
    "a list is empty": (on(of_lists, faults.Changed(lambda _: b"")), "no remote has alpha==1.0", 3),
    "a bit of a blob is flipped": (on(of_blobs, faults.Flipped(0.9)), "does not match the digest", 1),
    "the first bit of a blob is flipped": (on(of_blobs, faults.Flipped(0)), "does not match the digest", 1),
    "a blob is too long": (on(of_blobs, faults.Changed(lambda it: it + b"0")), "instead of", 1),
    "a blob is too short": (on(of_blobs, faults.Changed(lambda it: it[:-1])), "instead of", 1),
    "a blob is empty": (on(of_blobs, faults.Changed(lambda it: b"")), "instead of", 1),
    "a list is endless": (on(of_lists, faults.Endless()), "remote team: ", 1),
    "a blob is endless": (on(of_blobs, faults.Endless()), "remote team: ", 1),
    "a list claims to be huge": (on(of_lists, faults.Endless(1 << 40)), "larger than", 1),
    "a blob claims to be huge": (on(of_blobs, faults.Endless(1 << 40)), "instead of", 1),
    "it redirects in a circle": (
        always(faults.Status(302, Location="/again")), "remote team: ", 1
    ),
    "it redirects to an unknown host": (
        always(faults.Status(302, Location="http://nobody.invalid/")), "it redirects to nobody.invalid", 1
    ),
}


class Source:
    """nginx over a folder with one egg."""

    def __init__(self, nginx, machine, keys, below):
        self.nginx, self.machine, self.keys, self.below = nginx, machine, keys, below
        self.builder = machine("builder", key=keys()[0])
        self.folder = "%s/%s" % (nginx.root, below)
        self.builder.trusts(self.folder, keys()[1], more=["--push"])
        self.name = self.builder.egg("alpha", data=[100_000])
        self.builder.push()

    def reader(self, name, host):
        reader = self.machine(name.replace(" ", "-"))
        self.let_trust(reader, host)
        return reader

    def let_trust(self, reader, host):
        reader.trusts("http://%s/%s" % (host, self.below), self.keys()[1])


@pytest.fixture
def source(nginx, machine, keys, request):
    return Source(nginx, machine, keys, request.node.name)


def begin(reader):
    return reader.start("pull", "--python", eggs.PYTHON, "alpha==1.0")


def check(source, reader, done, says, code):
    """Checks that the fault is reported and nothing is stored, then that the next pull succeeds."""
    assert done.code == code, str(done)
    assert says in done.err, str(done)
    assert done.seconds < IN_TIME, done.seconds
    problems = [line for line in done.err.splitlines() if line.startswith("problem: ")]
    assert problems, str(done)
    if code == 1:
        assert any("remote team: " in line for line in problems), str(done)
    assert all(len(line) < 400 for line in problems) and "\33" not in done.err, str(done)
    assert reader.has() == []
    reader.is_sound()
    reader.run("-q", "remote", "remove", "team")
    source.let_trust(reader, "127.0.0.1:%d" % source.nginx.port)
    assert reader.pull("alpha==1.0").outcomes == {source.name: "pulled"}
    assert reader.materialized(source.name) == source.builder.materialized(source.name)


def test_no_fault_of_a_remote_harms_a_cache(source, subtests):
    with contextlib.ExitStack() as proxies:
        readers, running = {}, {}
        for fault, (rule, _, _) in FAULTS.items():
            proxy = proxies.enter_context(faults.Proxy(source.nginx.port, rule))
            readers[fault] = source.reader(fault, "127.0.0.1:%d" % proxy.port)
        [nobody] = servers.free_ports(1)
        # The kernel accepts connections here, but nothing ever answers.
        hole = proxies.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0))))
        more = {
            "nobody listens": ("127.0.0.1:%d" % nobody, "cannot be reached", 1),
            "nobody accepts": ("127.0.0.1:%d" % hole.getsockname()[1], "does not answer in time", 1),
            "its host name is unknown": ("nobody.invalid", "cannot be reached", 1),
        }
        for fault, (host, _, _) in more.items():
            readers[fault] = source.reader(fault, host)
        for fault, reader in readers.items():
            running[fault] = begin(reader)
        expected = {fault: it[1:] for fault, it in {**FAULTS, **more}.items()}
        for fault in sorted(running, key=lambda fault: "silent" in fault or "second" in fault):
            with subtests.test(fault):
                check(source, readers[fault], running[fault].done(), *expected[fault])


def test_an_old_list_lacks_only_newer_eggs(source):
    """The remote shows yesterday's list: only the egg added since is missing."""
    old = {}

    def remember(body):
        return old.setdefault("list", body)

    with faults.Proxy(source.nginx.port, on(of_lists, faults.Changed(remember))) as proxy:
        reader = source.reader("reader", "127.0.0.1:%d" % proxy.port)
        reader.pull("alpha==1.0")
        name = source.builder.egg("alpha", "2.0")
        source.builder.push()
        done = reader.pull("alpha==2.0", code=3)
        assert done.json["missing"] == ["alpha==2.0"] and not done.json["complaints"]
        del old["list"]
        assert reader.pull("alpha==2.0").outcomes == {name: "pulled"}


def test_a_request_that_succeeds_on_retry_is_not_reported(source):
    """Like a server that is restarted, or overloaded for a moment."""
    lists, blobs = faults.Counter(of_lists), faults.Counter(of_blobs)

    def rule(request):
        if lists.up_to(2, request):
            return faults.Status(503)
        return faults.Status(429, Retry_After="1") if blobs.up_to(2, request) else None

    with faults.Proxy(source.nginx.port, rule) as proxy:
        done = source.reader("reader", "127.0.0.1:%d" % proxy.port).pull("alpha==1.0")
    assert done.outcomes == {source.name: "pulled"} and not done.json["complaints"]


def test_a_transfer_that_keeps_breaking_off_is_resumed(source):
    for fault in (faults.Reset(40_000), faults.CutShort(40_000)):
        with faults.Proxy(source.nginx.port, on(of_blobs, fault)) as proxy:
            reader = source.reader(type(fault).__name__, "127.0.0.1:%d" % proxy.port)
            assert reader.pull("alpha==1.0").outcomes == {source.name: "pulled"}
            assert len([it for it in proxy.requests if of_blobs(it)]) == 3


def test_a_redirect_is_followed_and_checked_as_usual(source):
    """Like a store that keeps its blobs elsewhere."""
    elsewhere = "http://127.0.0.1:%d" % source.nginx.port
    follow = lambda request: faults.Status(307, Location=elsewhere + request.path)  # noqa: E731
    with faults.Proxy(source.nginx.port, follow) as proxy:
        done = source.reader("reader", "127.0.0.1:%d" % proxy.port).pull("alpha==1.0")
    assert done.outcomes == {source.name: "pulled"}


def test_a_remote_that_is_down_delays_once_and_the_next_serves(source, tmp_path):
    [nobody] = servers.free_ports(1)
    reader = source.reader("reader", "127.0.0.1:%d" % nobody)
    reader.trusts(source.folder, source.keys()[1], name="second")
    names = ["alpha"] + ["egg%d" % number for number in range(4)]
    for name in names[1:]:
        source.builder.egg(name)
    source.builder.push()
    done = reader.pull(*["%s==1.0" % name for name in names])
    assert set(done.outcomes.values()) == {"pulled"} and len(done.outcomes) == 5
    assert {egg["remote"] for egg in done.json["eggs"]} == {"second"}
    [complaint] = done.json["complaints"]
    assert complaint.startswith("remote team: it cannot be reached"), complaint
