"""A recipe that patches an egg right after it was installed: the cache has the egg as it was built, or not
at all."""

import pytest

RECIPE = """

import os, zc.buildout.easy_install

class Recipe:
    def __init__(self, buildout, name, options):
        self.options, self.buildout = options, buildout["buildout"]

    def install(self):
        found = zc.buildout.easy_install.install(
            ["alpha"], self.buildout["eggs-directory"], index=self.buildout["index"]
        )
        egg = found.by_key["alpha"].location
        path = os.path.join(egg, "alpha.py")
        before = os.stat(path)
        with open(path) as file:
            text = file.read()
        %s
        return ()

    update = install
"""

#: What may happen to an egg. The module prints a word, which the patched one replaces.
PATCHES = {
    "another-size": "open(path, 'w').write(text + 'MARKER = 2')",
    "size-and-mtime-kept": "open(path, 'w').write(text.replace('built', 'wrong'));"
    " os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))",
    "another-name": "os.link(path, egg + '.link');"
    " open(egg + '.link', 'w').write(text.replace('built', 'wrong'));"
    " os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns)); os.remove(egg + '.link')",
    "added-and-removed": "os.rename(path, os.path.join(egg, 'wrong.py'))",
}

#: Stops the program before it can read the request to store this egg, for a while.
BLOCKED = """
import os, signal, threading
from eggcache import _bridge

post = _bridge.Bridge.post

def blocked(self, op, answered, **parameters):
    if "alpha" in parameters.get("path", ""):
        os.kill(self._process.pid, signal.SIGSTOP)
        threading.Timer(1, os.kill, (self._process.pid, signal.SIGCONT)).start()
    post(self, op, answered, **parameters)

_bridge.Bridge.post = blocked
"""


@pytest.mark.parametrize("patch", sorted(PATCHES))
def test_an_egg_that_a_recipe_patches_is_stored_as_it_was_built_or_not_at_all(world, tmp_path, patch):
    world.wheel("alpha", "1.0", marker="built")
    world.wheel("patching", "1.0", recipe=RECIPE % PATCHES[patch])
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED)
    sections = "[patch]\nrecipe = patching\n"
    first = world.project("first", sections=sections, parts="patch")
    first.run(env={"PYTHONPATH": str(site)})
    second = world.project("second", versions="alpha = 1.0")
    output = second.run()
    assert second.script("alpha") == "alpha 1.0 built", output
    assert not list(second.eggs_directory.glob("alpha*/wrong.py"))
