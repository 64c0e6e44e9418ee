"""The cache keeps digests of the directories that recipes come from; buildout sees a changed recipe as without it."""

import re
import time

import pytest

RECIPE = """
class Recipe:
    def __init__(self, buildout, name, options):
        pass
    def install(self):
        print("installs ONE")
        return ()
    def update(self):
        print("updates ONE")
"""
SETUP = """
from setuptools import setup
setup(name="mine", version="1", py_modules=["mine"], entry_points={"zc.buildout": ["default = mine:Recipe"]})
"""


@pytest.mark.one_version
def test_a_recipe_is_installed_again_when_it_has_changed(world):
    world.wheel("alpha", "1.0")
    project = world.project("project", options="develop = src", sections="[mine]\nrecipe = mine", parts="mine app")
    source = project.path / "src"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "mine.py").write_text(RECIPE)
    assert "installs ONE" in project.run()
    time.sleep(2.1)  # until the files are old enough
    assert "updates ONE" in project.run()
    # Each run writes files beside the recipe, so that only site-packages has a record.
    [record] = (world.cache / "signatures").iterdir()
    record.unlink()
    # The digest of site-packages is computed, and then taken from the cache.
    signatures = set()
    for cache in (True, True, False):
        assert "updates ONE" in project.run(cache=cache)
        state = (project.path / ".installed.cfg").read_text()
        signatures.add(tuple(re.findall("(?m)^__buildout_signature__ = .*", state)))
        assert list((world.cache / "signatures").iterdir()) == [record]
    assert len(signatures) == 1 and all(signatures)
    (source / "mine.py").write_text(RECIPE.replace("ONE", "TWO"))
    assert "installs TWO" in project.run()
