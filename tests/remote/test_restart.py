"""A store that is killed in the middle of a transfer and started again."""

import threading

import faults
import servers


class Killed(faults.Fault):
    """The store dies when it has got this request, and with `half` of its answer on the way."""

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
    """A proxy before the store that kills it at the second request of a kind."""
    counter = faults.Counter(kind)
    return faults.Proxy(
        weed.ports["s3"],
        lambda request: killed if counter.is_one(request) and counter.count == 2 else None,
    )


def knows_it_by(machine, proxy, pool, keys):
    """Lets a machine go through a proxy."""
    machine.run("-q", "remote", "remove", "team")
    url = "s3://%s/%s" % (servers.BUCKET, pool.prefix)
    endpoint = "http://127.0.0.1:%d" % proxy.port
    machine.trusts(url, keys()[1], more=["--endpoint", endpoint])


def are_whole(pool, weed, builder):
    """No blob on the store is a part of one, whatever was cut off."""
    whole = [path.read_bytes() for path in (builder.cache / "blobs").rglob("*") if path.is_file()]
    return all(weed.read(name) in whole for name in pool.names("blobs"))


def test_a_push_goes_on_or_is_done_again(pool, weed, keys):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("large", data=[30_000_000])
    killed = Killed(weed)
    is_part = lambda request: request.method == "PUT" and "partNumber" in request.path  # noqa: E731
    with through(weed, is_part, killed) as proxy:
        knows_it_by(builder, proxy, pool, keys)
        done = builder.push(code=None)
        assert killed.is_back.wait(servers.UP)
    assert done.code in (0, 1), str(done)
    assert are_whole(pool, weed, builder)
    if done.code == 1:
        assert "remote team: " in done.out + done.err, str(done)
        # Nobody is promised what is not there.
        reader.pull("large==1.0", code=3)
    knows_it_by(builder, Direct(weed), pool, keys)
    assert builder.push().outcomes[name] in ("pushed", "present")
    assert are_whole(pool, weed, builder)
    reader.pull("large==1.0")
    assert reader.materialized(name) == builder.materialized(name)


def test_a_pull_goes_on_or_is_done_again(pool, weed, keys):
    builder, reader = pool.builder(), pool.reader()
    names = [builder.egg(name, data=[9_000_000]) for name in ("alpha", "beta", "gamma")]
    wanted = ["alpha==1.0", "beta==1.0", "gamma==1.0"]
    builder.push()
    killed = Killed(weed, half=True)
    with through(weed, lambda request: "/blobs/" in request.path, killed) as proxy:
        knows_it_by(reader, proxy, pool, keys)
        done = reader.pull(*wanted, code=None)
        assert killed.is_back.wait(servers.UP)
    assert done.code in (0, 1), str(done)
    reader.is_sound()
    if done.code == 1:
        assert "remote team: " in done.out + done.err, str(done)
    knows_it_by(reader, Direct(weed), pool, keys)
    assert set(reader.pull(*wanted).outcomes.values()) <= {"pulled", "present"}
    assert reader.has() == names
    assert reader.materialized(*names) == builder.materialized(*names)
    reader.is_sound()


class Direct:
    def __init__(self, weed):
        self.port = weed.ports["s3"]
