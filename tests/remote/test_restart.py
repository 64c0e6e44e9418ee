"""A store that is killed in the middle of a transfer and then restarted."""

import threading

import faults
import servers


class Killed(faults.Fault):
    """Kills the store at this request, after `half` of its answer if that is set."""

    def __init__(self, weed, half=False):
        self.weed, self.half = weed, half
        self.is_back = threading.Event()

    def spoil(self, client, request, forward):
        try:
            if self.half:
                answer = forward(request)
                client.sendall(answer.head(len(answer.body)) + answer.body[: len(answer.body) // 2])
            self.weed.kill()
            client.close()
            self.weed.start()
        finally:
            self.is_back.set()


def through(weed, kind, killed):
    """A proxy that kills the store behind it at the second request of a kind."""
    counter = faults.Counter(kind)
    return faults.Proxy(
        weed.ports["s3"],
        lambda request: killed if counter.is_one(request) and counter.count == 2 else None,
    )


def test_a_push_survives_a_store_restart_or_can_be_repeated(pool, weed):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("large", data=[30_000_000])
    killed = Killed(weed)
    is_part = lambda request: request.method == "PUT" and "partNumber" in request.path  # noqa: E731
    with through(weed, is_part, killed) as proxy:
        pool.point_at(builder, proxy.port)
        done = builder.push(code=None)
        assert killed.is_back.wait(servers.UP)
    assert done.code in (0, 1), str(done)
    assert pool.blobs_are_whole(builder)
    if done.code == 1:
        assert "remote team: " in done.out + done.err, str(done)
        # Nothing is promised that is not there.
        reader.pull("large==1.0", code=3)
    pool.point_at(builder)
    assert builder.push().outcomes[name] in ("pushed", "present")
    assert pool.blobs_are_whole(builder)
    reader.pull("large==1.0")
    assert reader.materialized(name) == builder.materialized(name)


def test_a_pull_survives_a_store_restart_or_can_be_repeated(pool, weed):
    builder, reader = pool.builder(), pool.reader()
    names = [builder.egg(name, data=[9_000_000]) for name in ("alpha", "beta", "gamma")]
    wanted = ["alpha==1.0", "beta==1.0", "gamma==1.0"]
    builder.push()
    killed = Killed(weed, half=True)
    with through(weed, lambda request: "/blobs/" in request.path, killed) as proxy:
        pool.point_at(reader, proxy.port)
        done = reader.pull(*wanted, code=None)
        assert killed.is_back.wait(servers.UP)
    assert done.code in (0, 1), str(done)
    reader.is_sound()
    if done.code == 1:
        assert "remote team: " in done.out + done.err, str(done)
    pool.point_at(reader)
    assert set(reader.pull(*wanted).outcomes.values()) <= {"pulled", "present"}
    assert reader.has() == names
    assert reader.materialized(*names) == builder.materialized(*names)
    reader.is_sound()
