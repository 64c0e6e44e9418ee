"""A cache that somebody else can change causes one warning, and a normal build."""

ALONE = "continuing without the cache"


def run(world, name, env=None):
    project = world.project(name, versions="alpha = 1.0")
    output = project.run(env=env)
    assert project.script("alpha") == "alpha 1.0"
    return output


def test_a_cache_that_everybody_can_write_is_not_used(filled):
    assert ALONE not in run(filled, "before")
    for part in ("", "blobs", "tmp", "index.sqlite"):
        path = filled.cache / part
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        output = run(filled, "with-" + part)
        assert output.count(ALONE) == 1, output
        assert "everybody can write to " in output
        assert "EGGCACHE_TRUST_CACHE" in output and "--trust-cache" not in output
        path.chmod(mode)
    assert ALONE not in run(filled, "after")


def test_a_new_cache_is_private(filled):
    for path in [filled.cache] + list(filled.cache.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_only_the_environment_of_a_user_trusts_a_cache(filled):
    filled.cache.chmod(0o777)
    project = filled.project("project", versions="alpha = 1.0")
    for option in ("egg-cache-trust = true", "trust-cache = true"):
        config = project.path / "buildout.cfg"
        config.write_text(config.read_text().replace("[buildout]\n", "[buildout]\n%s\n" % option, 1))
    assert project.run().count(ALONE) == 1
    output = run(filled, "trusting", env={"EGGCACHE_TRUST_CACHE": str(filled.cache)})
    assert ALONE not in output and "2 hits, 0 misses" in output, output
