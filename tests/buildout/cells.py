"""One cell of the matrix: a Python with a zc.buildout and a setuptools, stock and with the cache.

``make test`` tries a few cells (test_old_pythons.py and test_matrix.py), and ``make matrix`` tries all of them.
"""

import os
import subprocess

from conftest import summary

EGGS = "alpha ns.beta flavour"
PINS = "alpha = 1.0\nns.beta = 1.0\nflavour = 1.0\n"
#: How many eggs a buildout has: these, and the recipe.
COUNT = 4

#: A package in a namespace. It works in Python 2 as well, and without setuptools.
_NAMESPACE = {
    "ns/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
    "ns/beta.py": "import ns_beta\nNAME = 'ns.beta'\n",
}
_IMPORT = "import alpha, flavour, ns.beta; print(alpha.VERSION, flavour.flavour, ns.beta.NAME)"
_RESULT = "('1.0', 0, 'ns.beta')", "1.0 0 ns.beta"


def add_distributions(world):
    """Pure wheels, one with a dotted name and in a namespace, and an extension module in C."""
    world.wheel("alpha", "1.0", requires=["ns.beta"], python="py2.py3")
    beta = world.wheel("ns.beta", "1.0", python="py2.py3", more=_NAMESPACE)
    # As it was named in the days of setuptools that do not find the project by another spelling.
    os.rename(beta, os.path.join(os.path.dirname(beta), "ns.beta-1.0-py2.py3-none-any.whl"))
    world.c_sdist("flavour", "1.0")


def project(world, name):
    """A buildout of all of them, with their scripts and an interpreter."""
    return world.project(name, eggs=EGGS, sections="interpreter = py", versions=PINS)


def faults_of(stock, found):
    """How a buildout with the cache differs from the same one without it, and what does not work."""
    if files(found) != files(stock):
        differing = {path.split(os.sep)[0] for path in set(files(found)) ^ set(files(stock))}
        yield "the eggs have other names or files: %s" % ", ".join(sorted(differing))
    if scripts(found) != scripts(stock):
        yield "the scripts differ"
    for script, expected in (("alpha", "alpha 1.0"), ("ns.beta", "ns.beta 1.0")):
        if not found.script(script).endswith((expected, expected.replace(" ", "', '") + "', '')")):
            yield "the script %s does not work" % script
    code = [str(found.path / "bin" / "py"), "-c", _IMPORT]
    if subprocess.check_output(code, universal_newlines=True).strip() not in _RESULT:
        yield "the eggs cannot be imported"
    checked = found.world.eggcache("--quiet", "check", str(found.path), check=False)
    if checked.returncode != 0:
        yield "check finds a problem: %s" % checked.stdout.splitlines()[0]


def files(project):
    """The files of the eggs, without bytecode."""
    found = project.snapshot()
    return [path for path in sorted(found) if not path.endswith((".pyc", "__pycache__"))]


def scripts(project):
    """The lines of the scripts of a project, with its folder replaced."""
    found = (project.path / "bin").iterdir()
    return {
        path.name: path.read_text().replace(str(project.path), "PROJECT").splitlines() for path in found
    }


def error_of(said):
    """The last line that buildout itself has printed: its error. The summary of eggcache follows it."""
    return [line for line in said.splitlines() if line.strip() and not line.startswith("eggcache: ")][-1]


def faults_of_cell(world):
    """What is wrong in a cell. The index of the world must have the distributions.

    Raises `Unusable` if stock buildout fails there.
    """
    stock = project(world, "stock")
    said = stock.run(cache=False, check=False)
    if stock.returncode != 0:
        raise Unusable(error_of(said))
    faults = []
    first, second = project(world, "first"), project(world, "second")
    for buildout, is_cut in ((first, False), (second, True)):
        if is_cut:
            world.cut_network()
        try:
            said = buildout.run(check=False)
        finally:
            if is_cut:
                world.restore_network()
        if buildout.returncode != 0:
            return faults + ["%s folder: %s" % (buildout.path.name, error_of(said))]
        if is_cut and summary(said) != {"hits": COUNT, "misses": 0, "stored": 0}:
            faults.append("the second folder has %(hits)d hits and %(misses)d misses" % summary(said))
        faults += ["%s folder: %s" % (buildout.path.name, it) for it in faults_of(stock, buildout)]
    return faults


class Unusable(Exception):
    """Stock buildout fails in this cell."""
