"""`eggcache serve` makes exactly the requests that benches/remote_rules.py predicts."""

import hashlib
import http.server
import json
import os
import random
import re
import subprocess
import threading

import pytest

from test_scale import Requests, program, rules

HOST = {
    "implementation": "cp",
    "python": "3.11",
    "soabi": "cpython-311-x86_64-linux-gnu",
    "platform": "linux-x86_64",
    "libc": "glibc 2.36",
    "generation": 5,
    "environment": "",
}


class Store(http.server.BaseHTTPRequestHandler):
    """The part of S3 that eggcache uses. Records each request."""

    protocol_version = "HTTP/1.1"
    objects, asked = {}, []
    lock = threading.Lock()

    def answer(self, code, body=b"", etag=None, length=None):
        self.send_response(code)
        if etag:
            self.send_header("ETag", etag)
            self.send_header("Last-Modified", "Tue, 24 Nov 2026 12:00:00 GMT")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = self.note()
        if body is None:
            self.answer(404)
        elif self.command == "HEAD":
            self.answer(200, b"", etag(body), len(body))
        else:
            self.answer(200, body, etag(body))

    do_HEAD = do_GET

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            there = self.note()
            if self.headers.get("If-None-Match") == "*" and there is not None:
                return self.answer(412)
            if "If-Match" in self.headers and self.headers["If-Match"] != etag(there or b""):
                return self.answer(412)
            self.objects[self.path] = body
        return self.answer(200, b"", etag(body))

    def do_POST(self):
        """Removes an object. S3 deletes several per request; eggcache sends one here."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        (key,) = re.findall("<Key>(.*?)</Key>", text)
        self.asked.append(self.command)
        self.objects.pop("/eggs/" + key)
        self.answer(200, b"<DeleteResult><Deleted><Key>%s</Key></Deleted></DeleteResult>" % key.encode())

    def note(self):
        self.asked.append(self.command)
        return self.objects.get(self.path)

    def log_message(self, *args):
        pass


def etag(body):
    return '"%s"' % hashlib.md5(body).hexdigest()


class Pool:
    """A store, and machines with their own caches that use it."""

    def __init__(self, path):
        self.path, self.program = path, program()
        self.handler = type("Handler", (Store,), {"objects": {}, "asked": []})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.env = dict(os.environ, EGGCACHE_SIGNING_KEY=str(path / "key"))
        self.env.update(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret")
        subprocess.check_call([self.program, "-q", "keygen", str(path / "key")], cwd=str(path))

    def machine(self, name, push=True):
        cache = self.path / name
        words = ["remote", "add", "team", "s3://eggs", "--region", "us-east-1", "--key", "key.pub"]
        words += ["--endpoint", "http://127.0.0.1:%d" % self.server.server_address[1]]
        command = [self.program, "-q", "--cache", str(cache)] + words + (["--push"] if push else [])
        subprocess.check_call(command, cwd=str(self.path))
        return cache

    def buildout(self, cache, eggs, pins="these"):
        """Acts like a buildout run that succeeds; returns the number of requests by kind, and how many
        eggs were built."""
        self.handler.asked.clear()
        session, into = Serve(self), self.path / ("out-" + pins + "-" + cache.name)
        session.ask("open", cache=str(cache), host=HOST, configuration=pins)
        session.ask("look", wanted=[{"name": name, "version": "1.0"} for name in eggs])
        paths, built = [], 0
        for name in eggs:
            what = {"name": name, "variant": "", "version": "1.0"}
            found = session.ask("find", **what)["eggs"]
            if found:
                found = session.ask("materialize", digest=found[0]["digest"], into=str(into))
                paths.append(found["path"])
                continue
            built += 1
            session.ask("lease", **what)
            paths.append(str(self.egg(into, name)))
            session.ask("store", path=paths[-1], source_sha256="", variant="", build_seconds=0.5)
        session.ask("settle")
        session.ask("root", directory=str(into), eggs_directory=str(into), eggs=paths, whole=True)
        assert not session.ask("close").get("warnings")
        session.end()
        return Requests(self.handler.asked), built

    def egg(self, into, name):
        chance = random.Random(name)
        info = into / (name + "-1.0-py3.11.egg") / "EGG-INFO"
        info.mkdir(parents=True)
        (info / "PKG-INFO").write_text("Name: %s\nVersion: 1.0\n" % name)
        (info / "data").write_bytes(bytes(chance.getrandbits(8) for _ in range(1000)))
        return info.parent


class Serve:
    def __init__(self, pool):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([pool.program, "serve"], env=pool.env, stdin=pipe, stdout=pipe)
        self.process.stdout.readline()

    def ask(self, op, **request):
        self.process.stdin.write(json.dumps(dict(request, op=op)).encode() + b"\n")
        self.process.stdin.flush()
        answer = {"busy": True}
        while "busy" in answer:
            answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def end(self):
        self.process.communicate()


@pytest.fixture
def pool(tmp_path):
    pool = Pool(tmp_path)
    yield pool
    pool.server.shutdown()
    pool.server.server_close()


EGGS = ["egg%d" % number for number in range(5)]
#: The list of withdrawn builds, which each run reads at most once.
ONCE = rules.withdrawals()
#: The requests for each built egg: its list, its lease and its push.
BUILT = rules.miss() + rules.lease(0) + rules.push(1)


def test_a_first_builder_pushes_every_egg_and_its_set(pool):
    assert pool.buildout(pool.machine("first"), EGGS) == (
        ONCE + rules.miss() + BUILT.times(5) + rules.finish(5, 5),
        5,
    )


def test_a_kept_cache_requests_only_unknown_eggs_of_new_pins(pool):
    first, second = pool.machine("first"), pool.machine("second")
    pool.buildout(first, EGGS)
    assert pool.buildout(first, EGGS) == (Requests(), 0)
    # All eggs are cached, but the remote does not yet have these pins.
    assert pool.buildout(first, EGGS, "others") == (rules.finish(5, 0, has_asked=False), 0)
    pool.buildout(second, EGGS + ["more"], "more")
    told = ONCE + rules.known(1) + rules.finish(6, 6, is_changed=False)
    assert pool.buildout(first, EGGS + ["more"], "more") == (told, 0)
    assert pool.buildout(first, EGGS + ["more"], "more") == (Requests(), 0)


def test_a_reader_requests_a_set_or_lists_and_then_blobs(pool):
    pool.buildout(pool.machine("first"), EGGS)
    reader = pool.machine("reader", push=False)
    assert pool.buildout(reader, EGGS) == (ONCE + rules.known(5), 0)
    assert pool.buildout(reader, EGGS) == (Requests(), 0)
    other = pool.machine("other", push=False)
    assert pool.buildout(other, EGGS, "others") == (ONCE + rules.miss() + rules.hit().times(5), 0)


def test_a_new_builder_requests_nothing_twice(pool):
    pool.buildout(pool.machine("first"), EGGS)
    second, third = pool.machine("second"), pool.machine("third")
    found = ONCE + rules.miss() + rules.hit().times(5)
    assert pool.buildout(second, EGGS, "others") == (found + rules.finish(5, 5), 0)
    known = ONCE + rules.known(5) + rules.finish(5, 5, is_changed=False)
    assert pool.buildout(third, EGGS) == (known, 0)
