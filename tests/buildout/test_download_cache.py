"""A download cache that a buildout with hits leaves incomplete, and what says so."""

import os

LACKS = "egg-cache-fetch-archives = true adds them"


def test_an_incomplete_download_cache_is_mentioned_once_with_the_remedy(newest_world):
    world = newest_world
    for name in ("alpha", "beta"):
        world.wheel(name, "1.0")
    pins = "alpha = 1.0\nbeta = 1.0"
    world.project("first", "alpha beta", versions=pins).run()
    (world.path / "downloads").mkdir()
    options = "download-cache = ../downloads"
    output = world.project("second", "alpha beta", options=options, versions=pins).run()
    assert output.count(LACKS) == 1, output
    # What it is for.
    shipped = world.project("shipped", "alpha beta", options + "\ninstall-from-cache = true", versions=pins)
    shipped.run(check=False)
    assert shipped.returncode != 0
    options += "\negg-cache-fetch-archives = true"
    output = world.project("third", "alpha beta", options=options, versions=pins).run()
    assert LACKS not in output and len(os.listdir(str(world.path / "downloads" / "dist"))) == 3
    shipped.run()
    # Its archives are there now.
    options = "download-cache = ../downloads"
    output = world.project("fourth", "alpha beta", options=options, versions=pins).run()
    assert LACKS not in output, output
