"""What a run imports: with the cache, pip only for a page of an index, and without it little of eggcache."""

import copy
import json
import os
import subprocess

from conftest import without_eggcache

#: Runs buildout, and says on the last line what is imported, which function reads pages, and which of the modules in
#: USED are not found in the packages that were imported.
RUN = """
import functools, gc, json, os, sys
import zc.buildout.buildout

def is_missing(name):
    top, _, rest = name.partition(".")
    get = lambda module, name: getattr(module, name, None)
    return top in sys.modules and functools.reduce(get, rest.split("."), sys.modules[top]) is None
try:
    zc.buildout.buildout.main(sys.argv[1:])
finally:
    try:
        from zc.buildout._package_index import PackageIndex
    except ImportError:
        from setuptools.package_index import PackageIndex
    print(json.dumps({
        "pip": "pip._internal.index.collector" in sys.modules,
        "eggcache": sorted(name for name in sys.modules if name.startswith("eggcache.")),
        "reads pages": PackageIndex.process_url.__module__,
        "thresholds": gc.get_threshold(),
        "standard": sorted(name for name in sys.modules if name.split(".")[0] in sys.stdlib_module_names),
        "missing": [name for name in json.loads(os.environ.get("USED", "[]")) if is_missing(name)],
    }))
"""

#: Says where distutils comes from after the import of buildout.
DISTUTILS = """
import warnings
warnings.simplefilter("ignore")
import zc.buildout.buildout
import distutils.core
print(distutils.core.__file__)
"""

#: Takes the hook away, so that buildout is as it is without eggcache.
NO_HOOK = """
import sys
sys.meta_path = [it for it in sys.meta_path if type(it).__module__ != "eggcache._hook"]
"""


def state_after(project, *args, cache=True, used=()):
    """What `RUN` says after a run in a project."""
    options = [] if cache else ["buildout:egg-cache="]
    env = dict(os.environ, PIP_NO_INDEX="1", buildout_testing_index_url=project.world.index_url, USED=json.dumps(used))
    python = os.path.join(project.world.buildout.venv, "bin", "python")
    command = [python, "-c", RUN] + options + list(args)
    output = subprocess.check_output(command, cwd=str(project.path), env=env, universal_newlines=True)
    return json.loads(output.splitlines()[-1])


def has_patches(buildout):
    """Whether a buildout imports pip at all."""
    return buildout.version != "2.13.8"


def python(buildout, code, **env):
    """Run code beside a buildout; return what it prints, also to its standard error."""
    path = os.path.join(buildout.venv, "bin", "python")
    return subprocess.check_output(
        [path, "-c", code], stderr=subprocess.STDOUT, env=dict(os.environ, **env), universal_newlines=True
    )


def test_a_run_that_reads_no_page_does_without_pip(filled):
    project = filled.project("second", versions="alpha = 1.0")
    assert not state_after(project)["pip"]
    assert project.eggs() == ["alpha-1.0", "zc.recipe.egg-%s" % filled.buildout.recipe]
    # Nor does one in which nothing is to do.
    assert not state_after(project)["pip"]


def test_a_run_that_reads_a_page_reads_it_as_stock_does(world):
    world.wheel("alpha", "1.0")
    state = state_after(world.project("with"))
    assert state["pip"] == has_patches(world.buildout)
    assert state["reads pages"] == state_after(world.project("without"), cache=False)["reads pages"]


def test_without_a_cache_pip_is_imported_as_in_stock(filled):
    project = filled.project("second", versions="alpha = 1.0")
    state_after(project)
    state = state_after(project, cache=False)
    assert state["pip"] == has_patches(filled.buildout)
    assert (state["reads pages"] == "zc.buildout.patches") == has_patches(filled.buildout)
    own = ["_compat", "_deferred_pip", "_hook", "_log", "_options", "_run"]
    assert state["eggcache"] == ["eggcache." + name for name in own]


def test_only_a_run_with_the_cache_collects_garbage_less_often(filled):
    project = filled.project("second", versions="alpha = 1.0")
    assert state_after(project)["thresholds"] == [50000, 20, 100]
    thresholds = json.loads(python(filled.buildout, "import gc, json; print(json.dumps(gc.get_threshold()))"))
    assert state_after(project, cache=False)["thresholds"] == thresholds


def test_a_verbose_log_has_no_other_lines_of_pip_than_that_of_stock(world, tmp_path):
    world.wheel("alpha", "1.0")
    stock = copy.copy(world)
    stock.buildout = without_eggcache(world.buildout, tmp_path / "bare")
    outputs = [
        stock.project("stock").run("-vv", cache=False),
        world.project("without").run("-vv", cache=False),
        world.project("with").run("-vv"),
    ]
    lines = [[line for line in output.splitlines() if line.startswith("pip._")] for output in outputs]
    assert lines[1:] == [lines[0]] * 2


def test_what_pip_imports_of_the_standard_library_is_there(filled):
    project = filled.project("second", versions="alpha = 1.0")
    stock = state_after(project, cache=False)["standard"]
    # Code that imports a package and uses a submodule of it finds that only if somebody has imported it.
    # Python itself imports encodings when they are used.
    names = [name for name in stock if "." in name and not name.startswith("encodings.")]
    assert state_after(project, used=names)["missing"] == []
    assert state_after(project, used=["logging.nothing"])["missing"] == ["logging.nothing"]


def test_a_pip_that_lacks_what_buildout_needs_is_reported_at_once(buildout, tmp_path):
    for name in ("pip", "pip/_internal"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    both = [
        python(buildout, code + "import zc.buildout", PYTHONPATH=str(tmp_path)) for code in (NO_HOOK, "")
    ]
    assert ("Requires-Python support missing" in both[1]) == has_patches(buildout)
    assert both[0].splitlines()[:1] == both[1].splitlines()[:1]
    assert both[0].splitlines()[-1:] == both[1].splitlines()[-1:]


def test_distutils_is_that_of_stock(buildout):
    assert python(buildout, DISTUTILS) == python(buildout, NO_HOOK + DISTUTILS)
