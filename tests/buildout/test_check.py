"""`eggcache check` of real buildouts: no false alarms, and no problem missed."""

import json
import os
import shutil
import subprocess

import pytest


def check(project, *options, code=0):
    """Run a check that exits with this code, and return its report."""
    done = project.world.eggcache("--json", "check", str(project.path), *options, check=False)
    assert done.returncode == code, done.stdout
    return json.loads(done.stdout)


def kinds(findings):
    return sorted({finding["kind"] for finding in findings})


def problems(project, *options):
    report = check(project, *options, code=4)
    return [(it["kind"], it["path"]) for it in report["problems"]]


def fill(world):
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.c_sdist("native", "1.0")


PINS = "alpha = 1.0\nbeta = 1.0\nnative = 1.0"


def project(world, name, **kw):
    sections = "interpreter = py\n" + kw.pop("sections", "")
    return world.project(name, "alpha native", sections=sections, versions=PINS, **kw)


def egg(project, name):
    [found] = project.eggs_directory.glob(name + "-*.egg")
    return found


def sound(project, compared=None):
    for options in ([], ["--full"]):
        report = check(project, *options)
        assert report["problems"] == []
        assert report["eggs"] == len(list(project.eggs_directory.glob("*.egg")))
        assert report["compared"] == (report["eggs"] if compared is None else compared)
    return kinds(report["notes"])


def test_a_fresh_buildout_has_no_problem(world):
    fill(world)
    for name in ("first", "second"):
        fresh = project(world, name)
        fresh.run()
        notes = sound(fresh)
        assert set(notes) <= {"interpreter", "not-relocatable", "path", "run-path", "unused"}, notes


def test_a_buildout_that_runs_has_no_problem(world):
    fill(world)
    fresh = project(world, "fresh")
    fresh.run()
    assert fresh.script("alpha") == "alpha 1.0"
    shutil.rmtree(str(egg(fresh, "alpha") / "__pycache__"), ignore_errors=True)
    check(fresh, "--repair")
    for command in (["-c", "import alpha, beta, native"], ["-O", "-c", "import alpha"]):
        subprocess.check_call([str(fresh.path / "bin" / "py")] + command[-2:])
    sound(fresh)


def test_a_buildout_that_did_not_use_the_cache_has_no_problem(world):
    fill(world)
    project(world, "filling").run()
    plain = project(world, "plain")
    plain.run(cache=False)
    for options in ([], ["--full"], ["--repair"]):
        assert check(plain, *options)["problems"] == []


@pytest.mark.parametrize("option", ["relative-paths = true", "abi-tag-eggs = true"])
def test_a_buildout_with_options_has_no_problem(world, option):
    fill(world)
    fresh = project(world, "fresh", options=option)
    fresh.run()
    report = check(fresh, "--full")
    assert report["problems"] == []
    assert report["eggs"] == report["compared"] > 0
    is_relocatable = "not-relocatable" not in kinds(report["notes"])
    assert is_relocatable == option.startswith("relative")
    unused = [it["egg"] for it in report["notes"] if it["kind"] == "unused"]
    assert not [name for name in unused if name.startswith(("alpha", "beta", "native"))]


def test_a_custom_build_and_a_develop_egg_inside_have_no_problem(world):
    fill(world)
    custom = "[custom]\nrecipe = zc.recipe.egg:custom\negg = native\ndefine = FLAVOUR_7\n"
    fresh = project(
        world, "fresh", sections=custom, parts="custom app", options="develop = src/gamma"
    )
    source = fresh.path / "src" / "gamma"
    source.mkdir(parents=True)
    (source / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='gamma', version='1.0', py_modules=['gamma'])\n"
    )
    (source / "gamma.py").write_text("")
    fresh.run()
    report = check(fresh, "--full")
    assert report["problems"] == []
    [custom_egg] = (fresh.path / "develop-eggs").glob("native-*.egg")
    assert report["eggs"] == report["compared"] == len(fresh.eggs()) + 1
    assert "develop-egg" in kinds(report["notes"])


def test_a_develop_egg_outside_is_a_problem(newest_world):
    world = newest_world
    fill(world)
    source = world.path / "gamma"
    source.mkdir()
    (source / "setup.py").write_text("from setuptools import setup\nsetup(name='gamma', version='1.0')\n")
    fresh = project(world, "fresh", options="develop = %s" % source)
    fresh.run()
    found = problems(fresh)
    assert ("develop-egg", "develop-eggs/gamma.egg-link") in found, found


def test_drift_is_found_and_repaired(world):
    fill(world)
    fresh = project(world, "fresh")
    fresh.run()
    before = fresh.snapshot()
    alpha, native = egg(fresh, "alpha"), egg(fresh, "native")
    shared_object = next(native.rglob("*.so"))
    [metadata] = [path for path in alpha.rglob("*") if path.name in ("METADATA", "PKG-INFO")]

    def touch_source():
        module = alpha / "alpha.py"
        module.write_text(module.read_text() + "# a hotfix\n")

    [information] = [path for path in alpha.iterdir() if path.name.endswith(("INFO", "dist-info"))]
    damages = {
        "deleted": (alpha / "alpha.py").unlink,
        "edited": touch_source,
        "cut off": lambda: shared_object.write_bytes(shared_object.read_bytes()[:-100]),
        "emptied": lambda: metadata.write_text(""),
        "mode": lambda: os.chmod(str(alpha / "alpha.py"), 0o711),
        "all": lambda: shutil.rmtree(str(alpha)),
        "half": lambda: shutil.rmtree(str(information)),
    }
    for name, damage in damages.items():
        damage()
        assert problems(fresh), name
        report = check(fresh, "--repair")
        assert {it["repair"] for it in report["problems"]} == {"restored"}, name
        # What somebody may have edited is kept there.
        shutil.rmtree(str(fresh.eggs_directory / "set-aside"), ignore_errors=True)
        assert fresh.snapshot() == before, name
    assert fresh.script("alpha") == "alpha 1.0"


def test_a_folder_in_which_buildout_has_failed_is_not_installed(world):
    fill(world)
    world.wheel("gamma", "1.0", requires=["nowhere"])
    failed = world.project("failed", "alpha gamma", versions=PINS + "\ngamma = 1.0\nnowhere = 1.0")
    failed.run(check=False)
    assert failed.returncode == 1
    assert set(problems(failed)) == {("not-installed", "")}
    assert check(failed, code=4)["eggs"] > 0
    # What one part has installed before another fails is there.
    sections = "[other]\nrecipe = zc.recipe.egg\neggs = gamma\n"
    half = project(world, "half", sections=sections, parts="app other")
    half.run(check=False)
    assert problems(half) == [("not-installed", "")]
    half.run("install", "app")
    notes = check(half)["notes"]
    assert [it["what"] for it in notes if it["kind"] == "not-installed"] == [
        "buildout has not installed the part other"
    ]


def test_a_shared_eggs_directory_is_not_self_contained(world):
    fill(world)
    shared = world.path / "shared"
    fresh = project(world, "fresh", options="eggs-directory = %s" % shared)
    assert "eggcache: the eggs directory %s" % shared in fresh.run()
    found = problems(fresh)
    assert ("path", "bin/alpha") in found, found
    assert ("path", "bin/py") in found, found


def test_a_moved_buildout_is_not_self_contained(world):
    fill(world)
    fresh = project(world, "fresh")
    fresh.run()
    fresh.path.rename(world.path / "moved")
    fresh.path = world.path / "moved"
    assert ("path", "bin/alpha") in problems(fresh)
    fresh.run("-N")
    assert check(fresh)["problems"] == []
