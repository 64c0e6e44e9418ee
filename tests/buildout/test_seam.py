"""Releases of zc.buildout to come: small changes of its source, after each of which stock works as before.

Eggcache fits still, or it does without the cache and says so once. No build fails.
"""

import glob
import re
import shutil

import pytest

from conftest import summary

#: For each change what is replaced, as file, regular expression and text. Each expression occurs.
CHANGES = {
    "a parameter for extensions": [
        ("buildout.py", r"def _load_extensions\(self\)", "def _load_extensions(self, early=False)"),
        ("buildout.py", r"self\._load_extensions\(\)", "self._load_extensions(early=True)"),
    ],
    "a parameter by its name": [
        ("easy_install.py", r"self\._satisfied\(requirement\)", "self._satisfied(req=requirement)"),
        ("easy_install.py", r"self\._log_requirement\(ws, (\w+)\)", r"self._log_requirement(ws=ws, req=\1)"),
    ],
    "another name of a parameter": [
        (
            "easy_install.py",
            r"def _satisfied\(self, req, source=None\):",
            "def _satisfied(self, wanted, source=None):\n        req = wanted",
        ),
        ("easy_install.py", r"self\._satisfied\(requirement\)", "self._satisfied(wanted=requirement)"),
    ],
    "another name of _download_cache": [("easy_install.py", r"\b_download_cache\b", "_downloads")],
    "another name of _dest": [("easy_install.py", r"\b_dest\b", "_target")],
    "another name of _env": [("easy_install.py", r"\b_env\b", "_environment")],
    "a list for a distribution": [
        ("easy_install.py", r"return newdist\n", "return [newdist]\n"),
        ("easy_install.py", r"\[(_move_to_eggs_dir_and_compile\(dist, self\._dest\))\]", r"\1"),
        ("easy_install.py", r"result\.append\(_move", "result.extend(_move"),
    ],
    "another order of parameters": [
        ("easy_install.py", r"def _get_dist\(self, requirement, ws\)", "def _get_dist(self, ws, requirement)"),
        ("easy_install.py", r"self\._get_dist\(([^\n]*), ws\)", r"self._get_dist(ws, \1)"),
    ],
    "more than two results": [
        (
            "easy_install.py",
            r"return (None, self\._obtain\(req, source\)|None, best_\w+|\S+, None)\n",
            r"return \1, 1\n",
        ),
        ("easy_install.py", r"dist, avail = self\._satisfied\(", "dist, avail, _ = self._satisfied("),
    ],
}

#: Changes that eggcache fits.
FIT = "a parameter for extensions", "a parameter by its name"

ALONE = "continuing without the cache"


def changed(world, change):
    """The environment of a buildout whose source has a change."""
    folder = world.path / "site"
    [source] = glob.glob(world.buildout.venv + "/lib/python*/site-packages/zc")
    shutil.copytree(source, str(folder / "zc"), ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern, text in CHANGES[change]:
        path = folder / "zc" / "buildout" / name
        content, count = re.subn(pattern, text, path.read_text())
        assert count, pattern
        path.write_text(content)
    return {"PYTHONPATH": str(folder)}


def said_by_eggcache(output):
    """What eggcache has logged, without where the eggs came from."""
    lines = re.findall("^eggcache: (.*)$", output, re.M)
    return [line for line in lines if not re.search(r" \((cache|converted|built, .*)\)$", line)]


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_changed_buildout_has_the_eggs_of_stock_and_at_most_one_warning(newest_world, change):
    world = newest_world
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    world.wheel("gamma", "1.0")
    world.project("filling", versions="alpha = 1.0\nbeta = 1.0").run()
    env = changed(world, change)
    kw = {"eggs": "alpha gamma", "versions": "alpha = 1.0\nbeta = 1.0\ngamma = 1.0"}
    stock = world.project("stock", **kw)
    stock.run(env=env, cache=False)
    project = world.project("project", **kw)
    output = project.run(env=env)
    assert project.eggs() == stock.eggs(), output
    assert project.script("alpha") == stock.script("alpha") == "alpha 1.0"
    said = said_by_eggcache(output)
    assert len(said) == 1, output
    if change in FIT:
        assert summary(output)["hits"] >= 2, output
    else:
        assert ALONE in said[0]
    # Once more, with everything in place.
    again = said_by_eggcache(project.run(env=env))
    assert len(again) <= 1, again
