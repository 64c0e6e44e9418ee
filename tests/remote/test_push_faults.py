"""A store that fails during a push: readers find either all of an egg or nothing of it, and whatever was
reported as pushed is there."""

import pytest

import faults
import servers


def of(folder, method="PUT"):
    return lambda request: request.method == method and "/v1/%s/" % folder in request.path


class Lost(faults.Fault):
    """Executes the request, but loses its answer."""

    def spoil(self, client, request, forward):
        forward(request)


def first(kind, fault, times=1):
    counter = faults.Counter(kind)
    return lambda request: fault if counter.up_to(times, request) else None


def push(pool, weed, rule, code=0):
    """Lets a builder push through a proxy with a rule; afterwards it uses the store directly."""
    builder = pool.builder()
    name = builder.egg("alpha", data=[2_000_000])
    with faults.Proxy(weed.ports["s3"], rule) as proxy:
        pool.point_at(builder, proxy.port)
        done = builder.push(code=code)
    pool.point_at(builder)
    return builder, name, done


def is_found(pool, builder, name):
    """Asserts that a reader gets the egg, and that the store has one blob, one entry and one list for it."""
    reader = pool.reader()
    assert reader.pull("alpha==1.0").outcomes == {name: "pulled"}
    assert reader.materialized(name) == builder.materialized(name)
    assert [len(pool.names(folder)) for folder in ("blobs", "entries", "projects")] == [1, 1, 1]


@pytest.mark.parametrize("folder", ["blobs", "entries", "projects"])
def test_a_lost_answer_does_no_harm(pool, weed, folder):
    """The blob, the entry or the list was stored, but the answer got lost."""
    builder, name, done = push(pool, weed, first(of(folder), Lost()))
    assert done.outcomes[name] in ("pushed", "present"), str(done)
    is_found(pool, builder, name)


def test_a_temporary_failure_does_not_stop_a_push(pool, weed):
    rule = first(lambda request: request.method == "PUT", faults.Status(503), times=3)
    builder, name, done = push(pool, weed, rule)
    assert done.outcomes == {name: "pushed"}
    is_found(pool, builder, name)


def test_if_the_blob_is_rejected_nothing_else_is_written(pool, weed):
    builder, name, done = push(pool, weed, lambda request: (
        faults.Status(507, "<Code>QuotaExceeded</Code>") if of("blobs")(request) else None
    ), code=1)
    assert "remote team: it answers 507 Insufficient Storage (QuotaExceeded)" in done.out + done.err
    assert pool.names("") == []
    assert builder.push().outcomes == {name: "pushed"}
    is_found(pool, builder, name)


def test_after_a_rejected_entry_the_next_push_completes(pool, weed):
    rule = lambda request: faults.Status(403) if of("entries")(request) else None  # noqa: E731
    builder, name, done = push(pool, weed, rule, code=1)
    assert "access denied (403)" in done.out + done.err
    assert [name.split("/")[2] for name in pool.names("")] == ["blobs"]
    pool.reader().pull("alpha==1.0", code=3)
    assert builder.push().outcomes == {name: "pushed"}
    assert pool.blobs_are_whole(builder)


def test_after_a_rejected_list_the_next_push_completes(pool, weed):
    rule = lambda request: faults.Status(403) if of("projects")(request) else None  # noqa: E731
    builder, name, done = push(pool, weed, rule, code=1)
    assert "remote team: access denied (403)" in done.err, str(done)
    assert builder.push().outcomes == {name: "present"}
    is_found(pool, builder, name)


def test_a_blob_damaged_during_upload_is_never_served(pool, weed):
    class Spoilt(faults.Fault):
        def spoil(self, client, request, forward):
            body = bytearray(request.body)
            body[-1] ^= 1
            request.body = bytes(body)
            super().spoil(client, request, forward)

    rule = first(of("blobs"), Spoilt(), times=100)
    builder, name, done = push(pool, weed, rule, code=None)
    if done.code == 0:
        # A store that does not verify uploads.
        refused = pool.reader().pull("alpha==1.0", code=1)
        assert "does not match the digest" in refused.out, str(refused)
    else:
        assert "remote team: " in done.out + done.err, str(done)
        assert pool.names("entries") == []
        assert builder.push().outcomes == {name: "pushed"}
        is_found(pool, builder, name)


def test_a_stale_list_does_not_overwrite_a_newer_one(pool, weed):
    """A cache on the way returns an old list with its old ETag: If-Match protects the newer one."""
    builder = pool.builder()
    builder.egg("alpha")
    builder.push()
    old = []

    def rule(request):
        if not of("projects", "GET")(request):
            return None
        return Old(old)

    class Old(faults.Fault):
        def __init__(self, answers):
            self.answers = answers

        def spoil(self, client, request, forward):
            if not self.answers:
                self.answers.append(forward(request))
            super().spoil(client, request, lambda _: self.answers[0])

    with faults.Proxy(weed.ports["s3"], rule) as proxy:
        pool.point_at(builder, proxy.port)
        builder.egg("alpha", "2.0")
        builder.push()
        other = pool.builder("other")
        other.egg("alpha", "3.0")
        other.push()
        builder.egg("alpha", "4.0")
        done = builder.push(code=1)
    assert "other processes keep writing" in done.err, str(done)
    [lines] = pool.lists().values()
    assert len(lines) == 3
    pool.point_at(builder)
    builder.push()
    [lines] = pool.lists().values()
    assert len(lines) == 4


def test_a_web_page_in_place_of_a_list_is_not_extended(pool, weed):
    """Like the login page of a captive network."""
    builder = pool.builder()
    builder.egg("alpha")
    builder.push()
    before = pool.lists()
    builder.egg("alpha", "2.0")
    page = first(of("projects", "GET"), faults.Status(200, "<p>Please log in"), times=100)
    with faults.Proxy(weed.ports["s3"], page) as proxy:
        pool.point_at(builder, proxy.port)
        done = builder.push(code=1)
    assert "remote team: " in done.err, str(done)
    assert pool.lists() == before
    pool.point_at(builder)
    builder.push()
    [lines] = pool.lists().values()
    assert len(lines) == 2


def test_a_damaged_list_in_the_store_is_repaired(pool, weed):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("alpha")
    builder.push()
    [(path, lines)] = pool.lists().items()
    weed.write(path, b"\0" * 1000)
    assert "it is not a list of entries" in reader.pull("alpha==1.0", code=1).out
    assert builder.push().outcomes == {name: "present"}
    assert pool.lists() == {path: lines}
    reader.pull("alpha==1.0")


def test_a_killed_push_can_be_repeated(pool, weed):
    builder = pool.builder()
    name = builder.egg("alpha", data=[20_000_000])
    parts = lambda request: "partNumber" in request.path  # noqa: E731
    with faults.Proxy(weed.ports["s3"], first(parts, faults.Silent(), times=100)) as proxy:
        pool.point_at(builder, proxy.port)
        running = builder.start("push", "--to", "team", "--all")
        servers.wait_until(lambda: any(map(parts, proxy.requests)), "no part is sent")
        running.process.kill()
        running.done()
    assert pool.names("entries") == []
    pool.point_at(builder)
    assert builder.push().outcomes == {name: "pushed"}
    is_found(pool, builder, name)
