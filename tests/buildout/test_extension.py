"""The second way to enable the cache, `extensions = eggcache`: where the package is not beside zc.buildout,
or where Python reads no `.pth` file."""

import copy
import glob
import json
import os
import shutil
import subprocess
import sys

from conftest import World, serve_wheel, summary, without_eggcache

def test_eggcache_works_as_a_buildout_extension(tmp_path, buildout, web):
    world = World(tmp_path, without_eggcache(buildout, tmp_path / "venv"), web)
    serve_wheel(world)
    world.wheel("alpha", "1.0")
    first = world.project("first", options="extensions = eggcache")
    first.run()
    assert first.installed("eggcache")
    assert "alpha" in [egg["name"] for egg in world.cached()]
    second = world.project("second", options="extensions = eggcache")
    assert summary(second.run())["misses"] == 0
    assert second.script("alpha") == "alpha 1.0"
    assert len(json.loads(world.eggcache("roots", "--json").stdout)["roots"]) == 2


#: What stock buildout logs if nobody has read the option.
UNUSED = "contains unused option(s): 'egg-cache'"


def check_both_ways(world, env):
    """Buildout says that nobody uses `egg-cache`; with the extension, the cache is used."""
    world.wheel("alpha", "1.0")
    output = world.project("silent").run(env=env)
    assert UNUSED in output and not world.cache.exists()
    output = world.project("first", options="extensions = eggcache").run(env=env)
    assert UNUSED not in output and summary(output)["misses"] > 0
    second = world.project("second", options="extensions = eggcache")
    assert summary(second.run("-o", env=env))["misses"] == 0
    assert second.installed("eggcache") is None


def site_packages(buildout):
    [found] = glob.glob(os.path.join(buildout.venv, "lib", "python3*", "site-packages"))
    return found


def move_script(buildout, path, interpreter):
    """Run buildout with a script in another folder, which begins with another interpreter."""
    with open(os.path.join(buildout.venv, "bin", "buildout")) as script:
        _, rest = script.read().split("\n", 1)
    (path / "bin").mkdir(exist_ok=True)
    (path / "bin" / "buildout").write_text("#!%s\n%s" % (interpreter, rest))
    (path / "bin" / "buildout").chmod(0o755)
    buildout.venv = str(path)


def test_packages_in_a_target_directory_are_used_as_an_extension(tmp_path, newest_buildout, web):
    world = World(tmp_path, copy.copy(newest_buildout), web)
    # As by `pip install --target`.
    shutil.copytree(site_packages(newest_buildout), str(tmp_path / "target"))
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)])
    move_script(world.buildout, tmp_path, tmp_path / "bin" / "python")
    check_both_ways(world, {"PYTHONPATH": str(tmp_path / "target")})


def test_a_python_without_site_uses_it_as_an_extension(tmp_path, newest_buildout, web):
    world = World(tmp_path, copy.copy(newest_buildout), web)
    move_script(world.buildout, tmp_path, newest_buildout.venv + "/bin/python -S")
    check_both_ways(world, {"PYTHONPATH": site_packages(newest_buildout)})
