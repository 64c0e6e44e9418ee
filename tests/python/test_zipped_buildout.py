"""zc.buildout can be a zipped egg. All modules in one zip file have the same loader."""

import os
import subprocess
import sys
import zipfile

import pytest

import pythons

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_SOURCES = {
    "zc/__init__.py": "",
    "zc/buildout/__init__.py": "",
    "zc/buildout/rmtree.py": "def rmtree(path): pass\n",
    "zc/buildout/buildout.py": (
        "class Buildout(object):\n"
        "    def _load_extensions(self):\n"
        "        return 'stock'\n"
        "from zc.buildout.rmtree import rmtree\n"
    ),
}
_CODE = """\
import sys
import eggcache._hook
sys.path.insert(0, sys.argv[1])
import zc.buildout.buildout as module
print(module.Buildout._load_extensions.__module__)
print(type(module.__loader__).__name__ if hasattr(module, '__loader__') else 'none')
print(type(module.__spec__.loader).__name__ if hasattr(module, '__spec__') else 'none')
import zc.buildout.rmtree
print(zc.buildout.rmtree.__name__)
"""


@pytest.mark.parametrize("version", pythons.OLD + ("3.8", "3.9", "3.12", "this one"))
def test_the_hook_waits_for_one_module_of_a_zipped_buildout(version, tmp_path):
    python = sys.executable if version == "this one" else pythons.find(version)
    if python is None:
        pytest.skip("no Python %s" % version)
    said = _run(python, "-c", _CODE, str(_egg(tmp_path)))
    wrapped, loader, spec_loader, other = said.split()
    assert wrapped == "eggcache._hook"
    assert loader == "zipimporter"
    assert spec_loader == ("none" if version == "2.7" else "zipimporter")
    assert other == "zc.buildout.rmtree"


def test_a_module_of_a_zipped_buildout_runs_as_a_program(tmp_path):
    code = "import sys, runpy; sys.path.insert(0, sys.argv[1]); runpy.run_module('zc.buildout.buildout')"
    assert _run(sys.executable, "-c", "import eggcache._hook\n" + code, str(_egg(tmp_path))) == ""


def _egg(folder):
    egg = folder / "zc.buildout-1.egg"
    with zipfile.ZipFile(str(egg), "w") as archive:
        for name, source in _SOURCES.items():
            archive.writestr(name, source)
    return egg


def _run(*command):
    environ = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "python"), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said
