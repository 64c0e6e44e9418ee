"""Only listed archives are installed: ``eggcache lock`` and ``egg-cache-hashes``."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest

import dists
from conftest import ALL, ROOT, Buildout, World, summary
from test_uv import REQUIRED, UvWorld

sys.path.insert(0, os.path.join(ROOT, "tests", "python"))

import pythons  # noqa: E402

CUSTOM = "\n[custom]\nrecipe = zc.recipe.egg:custom\negg = flavour\ndefine = FLAVOUR_7\n"


@pytest.fixture(params=["6.0.1", "4.2.0", "2.13.8", "py2.7-2.13.8"])
def world(tmp_path, request, web):
    if request.param in ALL:
        return prepared(World(tmp_path, Buildout(request.param), web))
    path = pythons.find("2.7")
    if path is None:
        pytest.skip("no Python 2.7 on this machine")
    return prepared(World(tmp_path, Buildout("2.13.8", path, "44.1.1", request.param), web))


@pytest.fixture
def newest_world(newest_world):
    return prepared(newest_world)


@pytest.fixture
def uv_world(tmp_path, web):
    buildout = Buildout("5.3.0a2", setuptools="80.9.0", recipe="4.0.0", others=REQUIRED)
    return prepared(UvWorld(tmp_path, buildout, web))


def prepared(world):
    """A world with an archive of alpha, and the SHA-256 of all that a buildout of it needs."""
    world.archive = world.wheel("alpha", "1.0", requires=["beta"], python="py2.py3")
    world.wheel("beta", "1.0", python="py2.py3")
    install(world, "first", hashes=False)
    world.eggcache("lock", str(world.path / "first"), "-o", str(world.path / "hashes.cfg"))
    return world


def install(world, name, *args, hashes=True, options="", versions="alpha = 1.0\nbeta = 1.0", **kw):
    """Run a new buildout, with the hashes; return it and its output."""
    run = {key: kw.pop(key) for key in ("cache", "check", "env") if key in kw}
    if isinstance(world, UvWorld):
        options += "\ninstaller = uv"
        run["env"] = dict(world.env, **run.get("env", {}))
    if hashes:
        options += "\negg-cache-hashes = ../hashes.cfg"
    project = world.project(name, options=options, versions=versions, **kw)
    return project, project.run(*args, **run)


def fails(world, name, *args, **kw):
    project, output = install(world, name, *args, check=False, **kw)
    assert project.returncode == 1 and "Traceback" not in output, output
    return project, output


def sha256_of(path):
    with open(str(path), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def replace(world, marker="tampered"):
    """Put another archive of the same name into the index; return its SHA-256 and that of the first one."""
    before = sha256_of(world.archive)
    shutil.copy(str(world.archive), str(world.path / "original.whl"))
    world.wheel("alpha", "1.0", requires=["beta"], python="py2.py3", marker=marker)
    after = sha256_of(world.archive)
    assert before != after
    return after, before


def restore(world):
    shutil.copy(str(world.path / "original.whl"), str(world.archive))


def another_cache(world):
    """From here on, buildouts use another cache, which is empty."""
    world.cache = world.path / "another-cache"


def assert_refused(output, found, expected, what="alpha-1.0-py"):
    assert "Error: alpha 1.0 does not have a SHA-256 that is listed for it.\n" in output
    assert "  expected: sha256:%s\n  found:    sha256:%s\n" % (expected, found) in output
    assert re.search("^  archive:  .*%s" % what, output, re.M), output
    assert "/hashes.cfg\n" in output


# -- Right and wrong archives


def test_a_locked_buildout_installs_from_the_index_and_from_the_cache(world):
    second, output = install(world, "second")
    assert summary(output) == {"hits": 3, "misses": 0, "stored": 0}
    another_cache(world)
    third, again = install(world, "third")
    assert summary(again) == {"hits": 0, "misses": 3, "stored": 3}
    assert second.script("alpha") == third.script("alpha") == "alpha 1.0"
    for text in (output, again):
        assert "hashes" not in text and "SHA-256" not in text
    offline, _ = install(world, "offline", "-o")
    assert offline.script("alpha") == "alpha 1.0"


def test_a_wrong_archive_of_the_index_fails_before_it_is_installed(world):
    found, expected = replace(world)
    another_cache(world)
    project, output = fails(world, "second")
    assert_refused(output, found, expected, r"http://.*/alpha-1\.0-py2\.py3-none-any\.whl$")
    assert project.installed("alpha") is None
    assert "alpha" not in {egg["name"] for egg in world.cached()}
    restore(world)
    assert project.run() and project.script("alpha") == "alpha 1.0"


def test_a_cached_egg_of_another_archive_fails_where_there_is_no_other(world):
    found, expected = replace(world)
    another_cache(world)
    install(world, "filling", hashes=False)
    project, output = fails(world, "second")
    assert_refused(output, found, expected, "cached egg alpha-1.0-py")
    offline, output = fails(world, "offline", "-o")
    assert_refused(output, found, expected, "cached egg alpha-1.0-py")
    assert project.installed("alpha") is None and offline.installed("alpha") is None
    # The index has the right one again.
    restore(world)
    output = project.run()
    assert "is not used: its archive is not listed." in output
    assert project.script("alpha") == "alpha 1.0"


# -- Versions that are not listed


def test_a_version_that_is_not_listed_fails_until_it_is_locked(world):
    world.wheel("alpha", "2.0", requires=["beta"], python="py2.py3")
    new = {"versions": "alpha = 2.0\nbeta = 1.0"}
    refused, output = fails(world, "refused", **new)
    assert "Error: no SHA-256 is listed for alpha 2.0.\n  found:    sha256:" in output
    assert refused.installed("alpha") is None
    warned, output = install(world, "warned", options="egg-cache-hashes-missing = warn", **new)
    warning = r"^eggcache: .*/hashes\.cfg lists no SHA-256 for alpha 2\.0; `eggcache lock -o .*/hashes\.cfg` adds the hashes\.$"
    assert len(re.findall(warning, output, re.M)) == 1, output
    # An egg from the cache needs one, too.
    again, output = fails(world, "again", **new)
    assert "no SHA-256 is listed for alpha 2.0.\n" in output and "archive:  cached egg alpha-2.0" in output
    world.eggcache("lock", str(warned.path), "-o", str(world.path / "hashes.cfg"))
    assert again.run() and again.script("alpha") == "alpha 2.0"
    # The hashes of the other version are still there.
    old, _ = install(world, "old")
    assert old.script("alpha") == "alpha 1.0"


def test_a_wrong_archive_of_a_listed_version_is_no_warning(newest_world):
    found, expected = replace(newest_world)
    another_cache(newest_world)
    _, output = fails(newest_world, "second", options="egg-cache-hashes-missing = warn")
    assert_refused(output, found, expected)


# -- Without the cache


def test_without_a_cache_archives_are_compared(world):
    right, output = install(world, "right", cache=False)
    assert right.script("alpha") == "alpha 1.0" and "eggcache" not in output
    found, expected = replace(world)
    wrong, output = fails(world, "wrong", cache=False)
    assert_refused(output, found, expected)
    assert wrong.installed("alpha") is None


def test_if_the_cache_fails_archives_are_compared(newest_world):
    world = newest_world
    found, expected = replace(world)
    world.cache = world.path / "no-directory"
    world.cache.write_text("")
    _, output = fails(world, "wrong")
    assert "continuing without the cache" in output
    assert_refused(output, found, expected)


def test_hashes_that_cannot_be_read_fail_the_run(newest_world):
    world = newest_world
    path = world.path / "hashes.cfg"
    path.write_text(path.read_text().replace("sha256:", "md5:", 1))
    _, output = fails(world, "wrong")
    assert re.search("Error: .*/hashes.cfg, line 4 is not in the format of hashes: 1.0 md5:", output), output
    path.unlink()
    project, output = fails(world, "missing")
    assert re.search("Error: cannot read the hashes in .*/hashes.cfg: No such file", output), output
    assert not project.eggs()
    off = project.run("buildout:egg-cache-hashes=")
    assert project.script("alpha") == "alpha 1.0", off


def test_buildout_reads_the_file(newest_world):
    python = os.path.join(newest_world.buildout.venv, "bin", "python")
    code = (
        "from zc.buildout import configparser\n"
        "print(sorted(configparser.parse(open('hashes.cfg'), 'hashes.cfg')['hashes']))"
    )
    output = subprocess.check_output([python, "-c", code], cwd=str(newest_world.path))
    assert output.decode().strip() == "['alpha', 'beta', 'zc-recipe-egg']"


# -- Other ways in


def test_the_archive_of_a_custom_build_is_compared(newest_world):
    world = newest_world
    archive = world.c_sdist("flavour", "1.0")
    custom = {"sections": CUSTOM, "parts": "custom", "versions": "flavour = 1.0"}
    made, _ = install(world, "made", hashes=False, **custom)
    lock = ["lock", str(made.path), "-o", str(world.path / "hashes.cfg")]
    expected = sha256_of(archive)
    world.eggcache(*lock)
    install(world, "right", **custom)
    world.c_sdist("flavour", "1.0", marker="tampered")
    another_cache(world)
    install(world, "filling", hashes=False, **custom)
    for name, args in (("wrong", ()), ("offline", ("-o",))):
        project, output = fails(world, name, *args, **custom)
        assert "flavour 1.0 does not have a SHA-256" in output
        assert "  expected: sha256:%s\n  found:    sha256:%s\n" % (expected, sha256_of(archive)) in output
        assert not list((project.path / "develop-eggs").glob("flavour*")), name


def test_an_archive_in_the_download_cache_is_compared(newest_world):
    world = newest_world
    (world.path / "downloads").mkdir()
    options = "download-cache = ../downloads"
    another_cache(world)
    install(world, "right", options=options)
    [downloaded] = (world.path / "downloads").rglob("alpha*")
    _, expected = replace(world)
    shutil.copy(str(world.archive), str(downloaded))
    world.cache = world.path / "third-cache"
    _, output = fails(world, "wrong", options=options)
    assert_refused(output, sha256_of(downloaded), expected, re.escape(str(downloaded)))
    # The cache has the right egg, but the wrong archive would complete the download cache.
    restore(world)
    install(world, "filling", hashes=False)
    downloaded.unlink()
    replace(world)
    options += "\negg-cache-fetch-archives = true"
    _, output = fails(world, "completing", options=options)
    assert "alpha 1.0 does not have a SHA-256" in output


def test_what_is_no_archive_is_refused(newest_world):
    world = newest_world
    made, _ = install(world, "made", hashes=False)
    [egg] = made.eggs_directory.glob("alpha*.egg")
    links = world.path / "links"
    links.mkdir()
    shutil.copytree(str(egg), str(links / egg.name))
    shutil.rmtree(str(world.index / "alpha"))
    another_cache(world)
    project, output = fails(world, "second", options="find-links = %s" % links)
    assert "alpha 1.0 does not have a SHA-256" in output and "  found:    not known\n" in output
    assert project.installed("alpha") is None


def test_installed_eggs_are_not_compared_but_lock_checks_them(newest_world):
    world = newest_world
    replace(world)
    another_cache(world)
    project, _ = install(world, "second", hashes=False)
    configuration = project.path / "buildout.cfg"
    text = configuration.read_text()
    configuration.write_text(text.replace("[app]", "egg-cache-hashes = ../hashes.cfg\n[app]", 1))
    project.run()
    check = ["--json", "lock", "--check", str(project.path), "-o", str(world.path / "hashes.cfg")]
    done = world.eggcache(*check, check=False)
    assert done.returncode == 4 and '"project": "alpha"' in done.stdout


# -- uv


def test_uv_installs_only_what_is_listed(uv_world):
    world = uv_world
    another_cache(world)
    right, output = install(world, "right")
    assert right.script("alpha") == "alpha 1.0" and summary(output)["misses"] == 3
    again, output = install(world, "again")
    assert summary(output) == {"hits": 3, "misses": 0, "stored": 0}
    found, expected = replace(world)
    shutil.rmtree(world.env["UV_CACHE_DIR"])
    for name, cache in (("wrong", True), ("without", False)):
        wrong, output = fails(world, name, cache=cache)
        assert_refused(output, found, expected)
        assert wrong.installed("alpha") is None


def test_uv_compares_what_it_downloads_with_what_the_index_says(uv_world):
    world = uv_world
    another_cache(world)
    shutil.rmtree(world.env["UV_CACHE_DIR"])
    # The index lies: its page has the listed SHA-256, and another archive is behind the link.
    folder = world.index / "alpha"
    name = os.path.basename(str(world.archive))
    expected = sha256_of(world.archive)
    shutil.rmtree(str(folder))
    folder.mkdir()
    lying = world.path / "lying"
    tampered = dists.wheel(lying, "alpha", "1.0", requires=["beta"], python="py2.py3", marker="tampered")
    tampered = sha256_of(tampered)
    url = world.web.serve(lying)
    (folder / "index.html").write_text('<a href="%salpha/%s#sha256=%s">%s</a>' % (url, name, expected, name))
    project, output = fails(world, "second")
    assert project.installed("alpha") is None
    assert "SHA-256" not in output and "Hash mismatch" in output, output
    assert "sha256:" + expected in output and "sha256:" + tampered in output


def test_uv_does_not_download_a_custom_build_unchecked(uv_world):
    world = uv_world
    world.c_sdist("flavour", "1.0")
    custom = {"sections": CUSTOM, "parts": "custom", "versions": "flavour = 1.0"}
    made, _ = install(world, "made", hashes=False, **custom)
    world.eggcache("lock", str(made.path), "-o", str(world.path / "hashes.cfg"))
    another_cache(world)
    install(world, "right", **custom)
    world.c_sdist("flavour", "1.0", marker="tampered")
    shutil.rmtree(world.env["UV_CACHE_DIR"])
    world.cache = world.path / "third-cache"
    for name, cache in (("wrong", True), ("without", False)):
        project, output = fails(world, name, cache=cache, **custom)
        assert "flavour 1.0 does not have a SHA-256" in output
        assert not list((project.path / "develop-eggs").glob("flavour*"))
