"""Several processes share one cache and one remote, or one of them is killed."""

import eggs
import faults
import servers


def test_ten_processes_pull_the_same_eggs_into_one_cache(pool):
    builder, reader = pool.builder(), pool.reader()
    names = sorted(builder.egg("egg%d" % number, data=[200_000]) for number in range(5))
    builder.push()
    wanted = ["egg%d==1.0" % number for number in range(5)]
    reader.run("-q", "list")
    running = [
        reader.start("--json", "pull", "--python", eggs.PYTHON, *wanted) for _ in range(10)
    ]
    done = [it.done() for it in running]
    assert [it.code for it in done] == [0] * 10, "\n".join(map(str, done))
    outcomes = {outcome for it in done for outcome in it.outcomes.values()}
    assert outcomes <= {"pulled", "present"}, outcomes
    assert reader.has() == names
    assert reader.materialized(*names) == builder.materialized(*names)
    reader.is_sound()


def test_readers_can_pull_during_a_push(pool):
    """An egg that is listed can be pulled at any time."""
    builder = pool.builder()
    for number in range(30):
        builder.egg("alpha", "1.%d" % number, data=[100_000])
    pushing = builder.start("--json", "push", "--to", "team", "--all")
    readers = [pool.reader("reader%d" % number) for number in range(3)]
    wanted = ["alpha==1.%d" % number for number in range(30)]
    rounds = 0
    while pushing.process.poll() is None or rounds == 0:
        rounds += 1
        for reader in readers:
            done = reader.pull(*wanted, code=None)
            assert done.code in (0, 3), str(done)
            assert not done.json["complaints"], str(done)
            assert set(done.outcomes.values()) <= {"pulled", "present"}, str(done)
    assert pushing.done().code == 0
    for reader in readers:
        reader.pull(*wanted)
        assert len(reader.has()) == 30
        reader.is_sound()


def test_a_killed_pull_leaves_a_sound_cache(pool, weed):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("alpha", data=[3_000_000])
    builder.push()
    half = lambda request: faults.Slow(0.001) if "/blobs/" in request.path else None  # noqa: E731
    with faults.Proxy(weed.ports["s3"], half) as proxy:
        pool.point_at(reader, proxy.port)
        running = reader.start("pull", "--python", eggs.PYTHON, "alpha==1.0")
        begun = lambda: any(  # noqa: E731
            path.stat().st_size for path in (reader.cache / "tmp").glob(".eggcache*")
        )
        servers.wait_until(begun, "nothing arrives")
        running.process.kill()
        running.done()
    reader.run("-q", "verify")
    assert reader.has() == []
    pool.point_at(reader)
    assert reader.pull("alpha==1.0").outcomes == {name: "pulled"}
    reader.run("-q", "gc")
    reader.is_sound()
