"""`eggcache bundle --verify --import` of real buildouts."""

import json
import shutil
import subprocess
import sys

import pytest

PINS = "app = 1.0\nbeta = 1.0\nnative = 1.0"


def namespaces():
    """Whether this machine allows namespaces."""
    for arguments in (["--user", "--map-root-user", "--mount"], ["--mount"]):
        try:
            if subprocess.call(["unshare"] + arguments + ["true"], stderr=subprocess.DEVNULL) == 0:
                return True
        except OSError:
            return False
    return False


@pytest.mark.parametrize("relative", ["true", "false"])
def test_the_scripts_of_a_bundle_are_imported_where_it_works(world, relative):
    if relative == "false" and not namespaces():
        sys.stderr.write("\nSKIPPED: this machine allows no namespaces\n")
        pytest.skip("this machine allows no namespaces")
    world.wheel("app", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.c_sdist("native", "1.0")
    project = world.project(
        "app", "app native", "relative-paths = " + relative, "interpreter = py", versions=PINS
    )
    project.run()
    archive = world.path / "app.tar.zst"
    arguments = ["--json", "bundle", "--verify", str(archive), "--import"]
    world.eggcache("bundle", str(project.path), "-o", str(archive))
    # What is left of the original is hidden.
    shutil.rmtree(str(project.path / "eggs"))
    report = json.loads(world.eggcache(*arguments).stdout)
    assert (report.get("path") is None) == (relative == "true")
    assert report["imports"] == {"scripts": 1, "not_imported": ["bin/py"]}
