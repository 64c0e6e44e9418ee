"""A remote of somebody who means harm: what it sends takes neither memory nor time without a bound.

The servers here serve no pool, and have no key.
"""

import contextlib
import json
import threading

import pytest

import eggs
import faults
from test_memory import MOST, peak

#: More lists than fit into the memory that a command may use.
LISTS = 12
LIST_BYTES = 16_000_000
CHUNK = 1 << 20


class Given(faults.Fault):
    """Sends bytes of its own."""

    def __init__(self, body, status=200, length=None, **headers):
        headers.setdefault("Last_Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        headers.setdefault("ETag", '"1"')
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.answer, self.length = faults.Answer(status, named, body), length

    def spoil(self, client, request, forward):
        body = self.answer.body
        client.sendall(self.answer.head(len(body) if self.length is None else self.length))
        for begin in range(0, len(body), CHUNK):
            client.sendall(body[begin:begin + CHUNK])


class EndlessHead(faults.Fault):
    def spoil(self, client, request, forward):
        client.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(10 ** 9):
            client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))


class EndlessBody(faults.Fault):
    """Sends an answer without end."""

    def __init__(self, status=200, piece=b" " * 0x10000):
        self.status, self.piece = status, piece

    def spoil(self, client, request, forward):
        answer = Given(b"", self.status, Transfer_Encoding="chunked").answer
        head = answer.head().replace(b"Connection: close", b"Transfer-Encoding: chunked")
        client.sendall(head)
        while True:
            client.sendall(b"%x\r\n%s\r\n" % (len(self.piece), self.piece))


@contextlib.contextmanager
def server(rule):
    """A server whose every answer comes from a rule."""
    with faults.Proxy(0, rule) as proxy:
        yield proxy


@pytest.fixture
def line(machine, keys, tmp_path):
    """A line of a list that a key has signed, as bytes."""
    def of(key):
        builder = machine("builder-%s" % key, key=keys(key)[0])
        folder = tmp_path / ("pool-%s" % key)
        builder.trusts(str(folder), keys(key)[1], more=["--push"])
        builder.egg("alpha")
        builder.push()
        [path] = (folder / "v1" / "projects" / "alpha").iterdir()
        return path.read_bytes()
    return of


def named(line, project, version):
    """The line with another project and version, which makes its signature wrong."""
    parsed = json.loads(line)
    entry = json.loads(parsed["entry"])
    entry["key"].update(name=project, version=version)
    parsed["entry"] = json.dumps(entry)
    return json.dumps(parsed).encode() + b"\n"


def forged_list(line, project):
    """A long list of different lines."""
    template = named(line, project, "@@@@@@@@")
    count = LIST_BYTES // len(template)
    return b"".join(template.replace(b"@@@@@@@@", b"%08d" % number) for number in range(count))


def pull(reader, projects, code=1):
    """The peak memory of a pull that fails, and its output."""
    names = ["%s==1.0" % project for project in projects]
    return peak(reader, "pull", "--python", eggs.PYTHON, *names, code=code)


@pytest.mark.parametrize("signer", ["stranger", "team"])
def test_forged_lists_take_no_memory(machine, keys, line, signer):
    """Lines of an unknown key, and lines that name the trusted key with wrong signatures."""
    signed = line(signer)
    lists = {}

    def rule(request):
        project = request.path.split("/")[-2]
        if project not in lists:
            lists[project] = forged_list(signed, project)
        return Given(lists[project])

    with server(rule) as proxy:
        reader = machine("reader")
        reader.trusts("http://127.0.0.1:%d" % proxy.port, keys("team")[1])
        used, err = pull(reader, ["egg%d" % number for number in range(LISTS)])
    assert used <= MOST, used >> 20
    assert reader.has() == []
    if signer == "team":
        assert "signatures are wrong" in err, err


def test_one_list_that_is_too_large_leaves_the_others(machine, keys, line):
    good = line("team")

    def rule(request):
        if "/projects/alpha/" in request.path:
            return Given(good)
        if "/projects/" in request.path:
            return Given(b"x", length=40 << 20)
        return faults.Status(404)

    with server(rule) as proxy:
        reader = machine("reader")
        reader.trusts("http://127.0.0.1:%d" % proxy.port, keys("team")[1])
        done = reader.pull("huge==1.0", "alpha==1.0", code=1)
    [complaint] = done.json["complaints"]
    assert "it is larger than 32" in complaint, complaint
    # Its entry is used: only the blob does not exist here.
    [egg] = done.json["eggs"]
    assert egg["reason"] == "remote team: its blob is gone", egg


@pytest.mark.parametrize("fault", [
    EndlessBody(piece=b"a" * 0x10000),
    EndlessBody(piece=b"\n" * 0x10000),
    EndlessBody(status=400),
    EndlessBody(status=403),
    EndlessHead(),
    Given(b"\n" * (30 << 20)),
    Given(b"{}\n" * (8 << 20)),
    Given(b"\x1f\x8b\x08" + bytes(1000), Content_Encoding="gzip"),
    Given(b"", 302, Location="/again"),
], ids=lambda fault: type(fault).__name__)
def test_an_answer_without_end_takes_no_memory(machine, keys, fault):
    with server(lambda request: fault) as proxy:
        reader = machine("reader")
        reader.trusts("http://127.0.0.1:%d" % proxy.port, keys("team")[1])
        used, err = pull(reader, ["alpha"])
    assert used <= MOST, used >> 20
    assert "remote team: " in err, err


def test_lines_of_nothing_take_no_memory(machine, keys):
    lines = Given(b'{"entry":"","signatures":[]}\n' * 1_000_000)
    # A list of withdrawn builds that is not accepted would end the use of the remote.
    absent = faults.Status(404)

    def answer(request):
        return absent if request.path.endswith("/withdrawals") else lines

    with server(answer) as proxy:
        reader = machine("reader")
        reader.trusts("http://127.0.0.1:%d" % proxy.port, keys("team")[1])
        used, err = pull(reader, ["egg%d" % number for number in range(4)], code=3)
    assert used <= MOST, used >> 20
    assert "no remote has egg0==1.0" in err, err


class Listings:
    """A store whose listing has no end: every page names another one."""

    def __init__(self, key_bytes):
        keys = ["v1/foreign/%04d%s" % (number, "k" * key_bytes) for number in range(1000)]
        object_ = (
            "<Contents><Key>%s</Key><LastModified>2026-11-24T12:00:00Z</LastModified>"
            '<ETag>"1"</ETag><Size>1</Size></Contents>'
        )
        self.contents = "".join(object_ % key for key in keys)
        self.pages = 0
        self.lock = threading.Lock()

    def __call__(self, request):
        if "list-type" not in request.path:
            return faults.Status(404)
        with self.lock:
            self.pages += 1
        page = "<ListBucketResult><IsTruncated>true</IsTruncated>%s<NextContinuationToken>%d" \
            "</NextContinuationToken></ListBucketResult>" % (self.contents, self.pages)
        return Given(page.encode())


def verify(machine, keys, rule):
    with server(rule) as proxy:
        builder = machine("builder")
        more = ["--endpoint", "http://127.0.0.1:%d" % proxy.port, "--region", "here"]
        builder.trusts("s3://eggs", keys("team")[1], more=more)
        return peak(builder, "remote", "verify", "team", code=1)


def test_a_listing_without_end_is_an_error(machine, keys):
    used, err = verify(machine, keys, Listings(900))
    assert "it lists more than" in err, err
    assert used <= 400 << 20, used >> 20


def test_a_page_of_a_listing_without_end_is_an_error(machine, keys):
    used, err = verify(machine, keys, lambda request: EndlessBody())
    assert "its answer has more than 16777216 bytes" in err, err
    assert used <= MOST, used >> 20
