"""Pushing to and pulling from every kind of store: SeaweedFS as S3, a folder, and Azurite as Azure if
`make azure` has installed it."""

import json
import os

import pytest

import eggs


@pytest.fixture(params=["weed", "folder", "azurite"])
def store(request):
    return request.getfixturevalue(request.param)


def test_pushed_eggs_are_pulled_without_credentials(pool):
    builder, reader = pool.builder(), pool.reader()
    names = [builder.egg(name, data=[50_000]) for name in ("alpha", "beta")]
    pushed = builder.push()
    assert pushed.outcomes == dict.fromkeys(names, "pushed")
    pulled = reader.pull("alpha==1.0", "beta==1.0")
    assert pulled.outcomes == dict.fromkeys(names, "pulled")
    # A list and a blob for each egg, and the list of withdrawn builds.
    assert pulled.json["requests"] == 5
    assert reader.has() == names
    assert reader.materialized(*names) == builder.materialized(*names)
    reader.is_sound()


def test_an_egg_with_native_code_is_found_by_its_name_alone(pool, tmp_path):
    builder, reader = pool.builder(), pool.reader()
    egg = eggs.native(tmp_path, tmp_path / "wheels")
    builder.run("-q", "add", egg)
    builder.push("zope.interface==7.2")
    reader.pull("zope.interface==7.2")
    [name] = reader.has()
    assert name == os.path.basename(egg)
    [told] = reader.run("--json", "list").json["eggs"]
    assert told["abi"] and told["platform"].startswith("linux-"), told
    assert reader.materialized(name) == {
        os.path.join(name, path): data for path, data in eggs.contents(egg).items()
    }


def test_eggs_in_the_remote_are_not_pushed_again(pool):
    builder = pool.builder()
    names = [builder.egg("egg%d" % number) for number in range(5)]
    builder.push()
    before = pool.lists()
    again = builder.push()
    assert again.outcomes == dict.fromkeys(names, "present")
    # The entry, the blob and the list of each egg, and the list of withdrawn builds.
    assert again.json["requests"] <= 3 * len(names) + 1
    assert pool.lists() == before


def test_eggs_in_the_cache_are_not_pulled_again(pool):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("alpha")
    builder.push()
    reader.pull("alpha==1.0")
    again = reader.pull("alpha==1.0")
    assert again.outcomes == {name: "present"}
    assert again.json["requests"] == 2


def test_one_of_ten_simultaneous_pushes_wins_and_all_agree(pool):
    """All push their own build of the same egg, and to the same list an egg that only they have."""
    builders = [pool.builder("builder%d" % number) for number in range(10)]
    for number, builder in enumerate(builders):
        builder.egg("alpha", text="build %d" % number)
        builder.egg("alpha", "2.%d" % number)
    running = [builder.start("--json", "push", "--to", "team", "--all") for builder in builders]
    done = [it.done() for it in running]
    assert [it.code for it in done] == [0] * 10, "\n".join(map(str, done))
    outcomes = [it.outcomes[eggs.file_name("alpha")] for it in done]
    assert sorted(outcomes) == ["other"] * 9 + ["pushed"], outcomes
    winner = outcomes.index("pushed")
    digests = {egg["digest"] for egg in done[winner].json["eggs"] if "alpha-1.0" in egg["file_name"]}
    others = {
        egg["existing"] for it in done for egg in it.json["eggs"] if egg["outcome"] == "other"
    }
    assert others == digests, "all learn of the winner's build"
    # If-Match has kept every line.
    [lines] = pool.lists().values()
    entries = [json.loads(line["entry"]) for line in lines]
    versions = sorted(entry["key"]["version"] for entry in entries)
    assert versions == ["1.0"] + ["2.%d" % number for number in range(10)]
    assert digests == {entry["egg"] for entry in entries if entry["key"]["version"] == "1.0"}
    reader = pool.reader()
    reader.pull("alpha==1.0", *["alpha==2.%d" % number for number in range(10)])
    name = eggs.file_name("alpha")
    assert reader.materialized(name) == builders[winner].materialized(name)


def test_the_next_push_rewrites_a_lost_list(pool, store):
    builder, reader = pool.builder(), pool.reader()
    builder.egg("alpha")
    builder.egg("alpha", "2.0")
    builder.push()
    before = pool.lists()
    [name] = before
    store.remove(name)
    assert pool.lists() == {}
    builder.push()
    assert {name: sorted(map(str, lines)) for name, lines in pool.lists().items()} == {
        name: sorted(map(str, lines)) for name, lines in before.items()
    }
    reader.pull("alpha==1.0", "alpha==2.0")


def test_a_blob_of_several_parts_arrives_whole(pool):
    builder, reader = pool.builder(), pool.reader()
    name = builder.egg("large", data=[9 << 20, 8 << 20, (8 << 20) + 1])
    builder.push()
    [blob] = pool.names("blobs")
    reader.pull("large==1.0")
    assert reader.materialized(name) == builder.materialized(name)
    reader.is_sound()
    # No parts are left beside it.
    folders = sorted(name.split("/")[2] for name in pool.names(""))
    assert folders == ["blobs", "entries", "projects"], pool.names("")
