"""Buildouts that share the eggs they build through a remote."""

import functools
import http.server
import json
import shutil
import threading

import pytest

from conftest import summary


class Team:
    """Builders and readers, each with its own cache, and a folder as their remote."""

    def __init__(self, world):
        self.world = world
        self.pool = world.path / "pool"
        self.key = world.path / "key"
        world.eggcache("keygen", str(self.key))

    def member(self, name, push=False, url=None, options=(), **kw):
        """Make a project whose cache is empty and has the remote."""
        self.world.cache = self.world.path / (name + "-cache")
        options = [*options, "--push"] if push else options
        self.world.eggcache(
            "remote", "add", "team", url or str(self.pool), "--key", "%s.pub" % self.key, *options
        )
        return self.world.project(name, **kw)

    def env(self):
        return {"EGGCACHE_SIGNING_KEY": str(self.key)}


class Mirror(http.server.SimpleHTTPRequestHandler):
    """A web server that records its requests."""

    asked = []

    def do_GET(self):
        self.asked.append(self.path.split("/")[2])
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(newest_team):
    """The URL of a read-only mirror of the remote."""
    handler = functools.partial(Mirror, directory=str(newest_team.pool))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Mirror.asked.clear()
    yield "http://127.0.0.1:%d/" % server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def team(world):
    return Team(world)


@pytest.fixture
def newest_team(newest_world):
    return Team(newest_world)


def test_readers_pull_the_eggs_that_a_builder_pushed(team):
    team.world.wheel("alpha", "1.0", requires=["beta"])
    team.world.c_sdist("beta", "2.0")
    pins = {"eggs": "alpha", "versions": "alpha = 1.0\nbeta = 2.0"}
    builder = team.member("builder", push=True, **pins)
    output = builder.run(env=team.env())
    built = summary(output)
    assert built["hits"] == 0 and built["misses"] == built["stored"]
    assert "%d pushed" % built["stored"] in output
    team.world.cut_network()
    reader = team.member("reader", **pins)
    assert summary(reader.run()) == {"hits": built["misses"], "misses": 0, "stored": 0}
    assert reader.snapshot() == builder.snapshot()
    assert reader.script("alpha") == "alpha 1.0"
    team.world.eggcache("verify")


def test_a_builder_uses_no_egg_built_from_another_archive(newest_team):
    world = newest_team.world
    world.wheel("alpha", "1.0", marker="old")
    newest_team.member("first", push=True, versions="alpha = 1.0").run(env=newest_team.env())
    world.wheel("alpha", "1.0", marker="new")
    second = world.project("second")
    second.run(env=newest_team.env())
    assert second.script("alpha") == "alpha 1.0 new"


def test_ten_builders_at_once_build_each_egg_once(newest_team):
    newest_team.world.c_sdist("alpha", "1.0")
    pins = {"eggs": "alpha", "versions": "alpha = 1.0"}
    builders = [newest_team.member("builder%d" % n, push=True, **pins) for n in range(10)]
    running = [builder.start(env=newest_team.env()) for builder in builders]
    outputs = [run.communicate(timeout=300)[0] for run in running]
    assert [run.returncode for run in running] == [0] * 10, "\n".join(outputs)
    eggs = builders[0].eggs()
    summaries = [summary(output) for output in outputs]
    assert sum(it["misses"] for it in summaries) == len(eggs), outputs
    assert sum(it["hits"] for it in summaries) == 9 * len(eggs)
    assert all(builder.snapshot() == builders[0].snapshot() for builder in builders)
    assert not list(newest_team.pool.glob("v1/leases/*"))


def test_a_custom_build_is_shared_as_well(newest_team):
    newest_team.world.c_sdist("alpha", "1.0")
    pins = {
        "parts": "alpha",
        "versions": "alpha = 1.0",
        "sections": "[alpha]\nrecipe = zc.recipe.egg:custom\negg = alpha\ndefine = FLAVOUR_7\n",
    }
    builder = newest_team.member("builder", push=True, **pins)
    assert summary(builder.run(env=newest_team.env()))["misses"] > 0
    reader = newest_team.member("reader", **pins)
    assert summary(reader.run())["misses"] == 0


@pytest.mark.parametrize("push", [False, True])
def test_an_unreachable_remote_is_one_warning(newest_team, push):
    newest_team.world.wheel("alpha", "1.0")
    options = ["--endpoint", "http://127.0.0.1:9/"]
    pins = {"versions": "alpha = 1.0"}
    project = newest_team.member("app", push, "s3://eggs", options, **pins)
    output = project.run(env=newest_team.env())
    assert output.count("remote team") == 1, output
    assert "cannot be reached" in output
    assert summary(output)["stored"] > 0
    assert project.script("alpha") == "alpha 1.0"


def test_a_forged_entry_is_reported_and_the_egg_is_built(newest_team):
    newest_team.world.wheel("alpha", "1.0")
    pins = {"versions": "alpha = 1.0"}
    builder = newest_team.member("builder", push=True, **pins)
    builder.run(env=newest_team.env())
    shutil.rmtree(str(newest_team.pool / "v1/sets"))
    [path] = newest_team.pool.glob("v1/projects/alpha/*")
    signed = json.loads(path.read_text())
    signed["entry"] = signed["entry"].replace('"blob_bytes":', '"blob_bytes":1')
    path.write_text(json.dumps(signed) + "\n")
    reader = newest_team.member("reader", **pins)
    output = reader.run()
    assert "alpha-1.0-" in output and "is refused: the signature" in output, output
    assert summary(output)["misses"] == 1
    assert reader.script("alpha") == "alpha 1.0"


def test_offline_makes_no_requests_to_a_remote(newest_team):
    newest_team.world.wheel("alpha", "1.0")
    pins = {"versions": "alpha = 1.0"}
    newest_team.member("builder", push=True, **pins).run(env=newest_team.env())
    reader = newest_team.member("reader", **pins)
    output = reader.run("-o", check=False)
    assert reader.returncode != 0, output
    assert not reader.eggs()


def test_without_newest_the_pool_spares_the_index(team):
    team.world.wheel("alpha", "1.0", requires=["beta"])
    team.world.wheel("beta", "2.0")
    builder = team.member("builder", push=True)
    builder.run(env=team.env())
    reader = team.member("reader")
    team.world.cut_network()
    hits = summary(reader.run("-N"))
    assert hits["hits"] and not hits["misses"]
    assert reader.snapshot() == builder.snapshot()


def test_a_known_buildout_requests_only_its_set_withdrawals_and_blobs(newest_team, mirror):
    newest_team.world.wheel("alpha", "1.0", requires=["beta"])
    newest_team.world.wheel("beta", "2.0")
    pins = {"versions": "alpha = 1.0\nbeta = 2.0"}
    builder = newest_team.member("builder", push=True, **pins)
    builder.run(env=newest_team.env())
    eggs = len(builder.eggs())

    reader = newest_team.member("reader", url=mirror, **pins)
    assert summary(reader.run()) == {"hits": eggs, "misses": 0, "stored": 0}
    assert sorted(Mirror.asked) == ["blobs"] * eggs + ["sets", "withdrawals"]
    Mirror.asked.clear()
    assert summary(reader.run())["misses"] == 0
    shutil.rmtree(str(reader.path / "eggs"))
    assert summary(reader.run()) == {"hits": eggs, "misses": 0, "stored": 0}
    assert not Mirror.asked, "a complete cache asks the remote for nothing"


def test_a_new_buildout_requests_a_list_and_a_blob_per_egg(newest_team, mirror):
    newest_team.world.wheel("alpha", "1.0")
    newest_team.world.wheel("beta", "2.0")
    versions = "alpha = 1.0\nbeta = 2.0"
    newest_team.member("builder", push=True, versions=versions).run(env=newest_team.env())
    reader = newest_team.member("reader", url=mirror, eggs="alpha beta", versions=versions)
    hits = summary(reader.run())
    assert hits["misses"] == hits["stored"] == 1
    # There is no list for beta.
    eggs = len(reader.eggs())
    asked = ["blobs"] * (eggs - 1) + ["projects"] * eggs + ["sets", "withdrawals"]
    assert sorted(Mirror.asked) == asked
