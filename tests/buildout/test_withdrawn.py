"""Eggs that a remote has withdrawn, and that buildout makes again."""

import json
import shutil

import dists
from conftest import summary


def environment_with_remote(world, monkeypatch):
    """Add a remote in a folder to which the builds of a world are pushed."""
    key = world.path / "key"
    monkeypatch.setenv("EGGCACHE_SIGNING_KEY", str(key))
    world.eggcache("keygen", str(key))
    remote = ("remote", "add", "team", str(world.path / "pool"), "--key", "%s.pub" % key, "--push")
    world.eggcache(*remote)
    return {"EGGCACHE_SIGNING_KEY": str(key)}


def test_a_withdrawn_egg_of_a_wheel_is_made_again_and_alone_not_stored(newest_world, monkeypatch):
    world = newest_world
    env = environment_with_remote(world, monkeypatch)
    for name in ("beta", "gamma"):
        world.wheel(name, "1.0")
    versions = "beta = 1.0\ngamma = 1.0"
    app = world.project("app", eggs="beta", versions=versions)
    app.run(env=env)
    world.eggcache("remote", "withdraw", "team", "beta==1.0", "--reason", "evil")
    world.eggcache("gc")
    shutil.rmtree(str(app.path / "eggs"))
    # As on a new machine, where pip installs the first wheel to compare the eggs.
    shutil.rmtree(str(world.cache / "parity"))
    cfg = app.path / "buildout.cfg"
    cfg.write_text(cfg.read_text().replace("eggs = beta\n", "eggs = beta\n    gamma\n"))
    output = app.run(env=env)
    warnings = [line for line in output.splitlines() if "did not store" in line]
    assert len(warnings) == 1 and "beta-1.0" in warnings[0], output
    assert "use another version" in warnings[0], output
    assert "no more eggs" not in output, output
    assert summary(output)["stored"] == 1, output
    cached = {egg["name"] for egg in world.cached()}
    assert "gamma" in cached and "beta" not in cached
    # The content of the copy is known, although the cache does not have it.
    report = json.loads(world.eggcache("--json", "check", str(app.path), check=False).stdout)
    assert [it["egg"][:8] for it in report["problems"]] == ["beta-1.0"], report
    assert report["problems"][0]["what"] == "withdrawn from remote team: evil"
    # Later runs name it, too, and so does the list.
    output = app.run(env=env)
    assert "beta-1.0" in output and "of this buildout was withdrawn from remote team: evil" in output, output
    listed = world.eggcache("remote", "withdrawals", "team").stdout
    assert str(app.path) in listed, listed


def test_a_withdrawn_build_of_an_sdist_is_neither_stored_nor_pushed_again(world, monkeypatch):
    env = environment_with_remote(world, monkeypatch)
    dists.sdist(world.index, "beta", "1.0")
    app = world.project("app", eggs="beta", versions="beta = 1.0")
    app.run(env=env)
    world.eggcache("remote", "withdraw", "team", "beta==1.0", "--reason", "evil")
    before = sorted((world.path / "pool").rglob("*"))
    shutil.rmtree(str(app.path / "eggs"))
    output = app.run(env=env)
    warnings = [line for line in output.splitlines() if "did not store" in line]
    assert len(warnings) == 1 and "beta-1.0" in warnings[0], output
    assert "same content as a build that was withdrawn from remote team: evil" in warnings[0], output
    assert "repair what builds it" in warnings[0], output
    assert "beta-1.0" in app.eggs(), output
    assert sorted((world.path / "pool").rglob("*")) == before
    output = app.run(env=env)
    assert "of this buildout was withdrawn from remote team: evil" in output, output
