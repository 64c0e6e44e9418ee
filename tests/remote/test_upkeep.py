"""Maintenance of a whole store: `remote verify`, `sign` and `remote gc`."""

import time

import pytest


@pytest.fixture
def builder(pool):
    """A builder that has pushed three eggs, one of them too large to be sent twice."""
    builder = pool.builder()
    builder.egg("alpha", data=[2_000_000])
    builder.egg("beta")
    builder.egg("beta", "2.0")
    builder.push()
    return builder


def problems(machine, code=None):
    report = machine.run("--json", "remote", "verify", "team", "--full", code=code).json
    return [(problem["kind"], problem["what"]) for problem in report["problems"]]


def collect(machine, *words):
    # By the clock of the store, which counts whole seconds, everything is then a second old.
    time.sleep(2.1)
    return machine.run("--json", "remote", "gc", "team", "--grace", "1s", *words).json


def test_the_lists_of_a_pool_can_be_rebuilt(builder, pool, weed):
    assert problems(builder, code=0) == []
    for name in pool.names("projects"):
        weed.remove(name)
    assert [kind for kind, _ in problems(builder, code=4)] == ["list"] * 3
    builder.run("remote", "verify", "team", "--repair")
    assert problems(builder, code=0) == []


def test_a_new_key_replaces_an_old_one(builder, pool, keys):
    reader = pool.reader()
    new, public = keys("new")
    for machine in (builder, reader):
        machine.run("-q", "trust", "team", public)
    builder.env["EGGCACHE_SIGNING_KEY"] = str(new)
    report = builder.run("--json", "sign", "team").json
    assert (report["signed"], report["present"], report["left"]) == (3, 0, [])
    for machine in (builder, reader):
        machine.run("-q", "trust", "team", "--remove", keys()[1])
    assert problems(builder, code=0) == []
    assert set(reader.pull("alpha==1.0", "beta==2.0").outcomes.values()) == {"pulled"}


def test_superseded_eggs_are_evicted_and_the_rest_is_sound(builder, pool):
    report = collect(builder, "--keep-versions", "1")
    assert [egg["version"] for egg in report["evicted"]] == ["1.0"]
    assert (len(pool.names("entries")), len(pool.names("blobs"))) == (2, 2)
    assert problems(builder, code=0) == []
    collect(builder, "--max-age", "1s")
    assert (pool.names("entries"), pool.names("blobs")) == ([], [])
    builder.push()
    assert problems(builder, code=0) == []


def test_a_push_during_gc_ends_complete(builder):
    for turn in range(6):
        time.sleep(2.1)
        gc = ["-q", "remote", "gc", "team", "--max-age", "1s", "--grace", "1s"]
        both = [gc, ["-q", "push", "--all"]]
        running = [builder.start(*words) for words in both[:: -1 if turn % 2 else 1]]
        assert [it.done().code for it in running] == [0, 0]
        assert {kind for kind, _ in problems(builder)} <= {"list"}
        builder.push()
        assert problems(builder, code=0) == []
