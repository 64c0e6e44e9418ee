"""Every Python on this machine with every zc.buildout that runs there: stock, and with one cache for all.

``make matrix`` runs it, and writes docs/reference/pythons.md. An argument is a regular expression: only
cells whose names match it are tried, such as ``3.12 6.0.1``. Results are kept in build/matrix.json.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", folder) for folder in ("buildout", "python")]

import pathlib  # noqa: E402

import cells  # noqa: E402
import pythons  # noqa: E402
from conftest import VERSIONS, Buildout, World  # noqa: E402
from index import Index  # noqa: E402

#: Python -> zc.buildout/setuptools, from the oldest to the newest buildout.
PAIRS = {
    "2.7": "2.13.8/44.1.1 3.4/44.1.1",
    "3.6": "2.13.8/51.3.3 3.3/59.6.0 3.4/59.6.0",
    "3.7": "2.13.8/51.3.3 3.3/68.0.0 3.4/68.0.0",
    "3.8": "2.13.8/51.3.3 3.3/75.3.0 3.4/75.3.0",
    "3.9": "2.13.8/51.3.3 3.0.1/75.8.0 3.3/68.2.2 3.3/75.8.0 3.4/79.0.1 4.0/75.8.0 4.1.3/79.0.1 "
    "4.1.12/80.9.0 4.2.0/81.0.0 5.0.0/80.9.0 5.1.3/81.0.0 5.2.0/81.0.0",
    "3.10": "2.13.8/51.3.3 3.3/75.8.0 3.4/79.0.1 4.2.0/81.0.0 5.2.0/81.0.0 6.0.1/81.0.0",
    "3.11": "2.13.8/51.3.3 3.3/75.8.0 3.4/79.0.1 4.2.0/81.0.0 5.2.0/81.0.0 6.0.1/81.0.0",
    "3.12": "3.0.1/75.8.0 3.1.1/75.8.0 3.3/75.8.0 3.4/79.0.1 4.0/75.8.0 4.1.3/75.8.0 4.1.4/75.8.2 "
    "4.1.5/79.0.1 4.1.6/79.0.1 4.1.7/79.0.1 4.1.8/79.0.1 4.1.12/80.9.0 4.2.0/81.0.0 5.0.0/80.9.0 "
    "5.1.3/81.0.0 5.2.0/81.0.0 5.3.0a2/80.9.0 6.0.0/81.0.0 6.0.1/81.0.0",
    "3.13": "3.0.1/75.8.0 3.1.1/75.8.0 3.3/75.8.0 3.4/79.0.1 4.0/75.8.0 4.1.12/80.9.0 4.2.0/81.0.0 "
    "5.0.0/80.9.0 5.1.3/81.0.0 5.2.0/81.0.0 5.3.0a2/80.9.0 6.0.0/81.0.0 6.0.1/81.0.0 6.0.1/84.2.1",
    "pypy3.9": "2.13.8/51.3.3 3.3/75.8.0 3.4/79.0.1 4.2.0/79.0.1 4.2.0/81.0.0 5.2.0/81.0.0",
    "pypy3.11": "4.2.0/81.0.0 5.2.0/81.0.0 6.0.1/81.0.0",
}
#: The version of zc.recipe.egg, by zc.buildout or its major version. zc.buildout 4.0 does not find an egg with the
#: normalized name that the wheels of newer recipes have.
RECIPES = {"2": "2.0.7", "3": "2.0.7", "4.0": "2.0.7", "4": "3.0.0", "5": "4.0.0", "6": "6.0.0"}
THIS_PYTHON = "%d.%d" % sys.version_info[:2]
ORDERS = ("oldest first", "newest first")
#: The result of a cell whose Python this machine does not have.
MISSING = "no such Python"
RESULTS = os.path.join(ROOT, "build", "matrix.json")
PAGE = os.path.join(ROOT, "docs", "reference", "pythons.md")
BEGIN, END = "<!-- begin: matrix -->", "<!-- end: matrix -->"


class MatrixWorld(World):
    """A folder of one cell. The index and the cache are those of all cells."""

    def __init__(self, path, buildout, web, shared, url):
        super().__init__(path, buildout, web)
        for archive in (self.index / "zc.recipe.egg").iterdir():
            shutil.copy(str(archive), str(shared / "index" / "zc.recipe.egg"))
        self.index, self.index_url, self.cache = shared / "index", url, shared / "cache"

    def cut_network(self):
        self.index.rename(self.index.parent / "index-out-of-reach")

    def restore_network(self):
        (self.index.parent / "index-out-of-reach").rename(self.index)


def all_cells(wanted):
    """The cells as Python, zc.buildout and setuptools; the oldest buildout of the oldest Python first."""
    for python, pairs in PAIRS.items():
        for pair in pairs.split():
            cell = [python] + pair.split("/")
            if re.search(wanted, " ".join(cell)):
                yield cell


def in_order(order, found):
    """Cells, given with the oldest first, in one of the orders."""
    return found if order == ORDERS[0] else found[::-1]


def prepare(cell):
    """The environment of a cell; None if this machine does not have the Python."""
    python, version, setuptools = cell
    path = pythons.find(python)
    if path is None:
        return None
    recipe = RECIPES.get(version, RECIPES[version[0]])
    if python == THIS_PYTHON and VERSIONS.get(version) == (setuptools, recipe):
        return Buildout(version)  # as all tests use it
    return Buildout(version, path, setuptools, "py%s-%s-%s" % (python, version, setuptools), recipe)


def run(order, found, results):
    """Try all cells in this order, and save each result."""
    started = time.monotonic()
    for cell, result in results_of(found):
        results.setdefault(" ".join(cell), {})[order] = result
        save(results)
        seconds, started = time.monotonic() - started, time.monotonic()
        print("%-12s  %-24s %3d s  %s" % (order, " ".join(cell), seconds, result), flush=True)


def results_of(found):
    """Try cells one after the other with a new cache for all. Each cell comes with its result."""
    with tempfile.TemporaryDirectory() as folder:
        shared = pathlib.Path(folder)
        (shared / "index" / "zc.recipe.egg").mkdir(parents=True)
        web = Index()
        url = web.serve(shared / "index")
        for number, cell in enumerate(found):
            yield cell, result_of(cell, shared / str(number), web, shared, url)


def result_of(cell, path, web, shared, url):
    """``ok``, or what is wrong."""
    path.mkdir()
    try:
        buildout = prepare(cell)
        if buildout is None:
            return MISSING
        world = MatrixWorld(path, buildout, web, shared, url)
        if not (shared / "index" / "flavour").exists():
            cells.add_distributions(world)
        return "; ".join(cells.faults_of_cell(world)) or "ok"
    except cells.Unusable as error:
        return "stock buildout fails: %s" % error
    except Exception as error:
        traceback.print_exc()
        return "%s: %s" % (type(error).__name__, str(error).strip().splitlines()[-1:])
    finally:
        shutil.rmtree(str(path), ignore_errors=True)


def save(results):
    with open(RESULTS + ".new", "w") as file:
        json.dump(results, file, indent=1, sort_keys=True)
    os.rename(RESULTS + ".new", RESULTS)


def table(results):
    """The results in Markdown. A cell that this machine could not try has no line."""
    yield "| Python | zc.buildout | setuptools | %s |" % " | ".join(ORDERS)
    yield "|---|---|---|---|---|"
    for cell in all_cells(""):
        tried = results.get(" ".join(cell), {})
        if any(tried.get(order, MISSING) != MISSING for order in ORDERS):
            yield "| %s |" % " | ".join(cell + [tried.get(order, "") for order in ORDERS])


def write_page(results):
    """Write the table into the page, between its markers."""
    with open(PAGE) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(PAGE, "w") as file:
        file.write("%s%s\n%s\n%s%s" % (before, BEGIN, "\n".join(table(results)), END, after))


def failure(results):
    """Why the matrix fails, or None."""
    tried = [result for result in results if result != MISSING]
    wrong = [result for result in tried if result != "ok"]
    if not tried:
        return "no cell was tried: this machine has none of the Pythons"
    return "%d of %d results are not ok" % (len(wrong), len(tried)) if wrong else None


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    results = {}
    if os.path.exists(RESULTS):
        with open(RESULTS) as file:
            results = json.load(file)
    found = list(all_cells(wanted))
    for order in ORDERS:
        run(order, in_order(order, found), results)
    print("\n".join(table(results)))
    write_page(results)
    sys.exit(failure([results[" ".join(cell)][order] for cell in found for order in ORDERS]))


if __name__ == "__main__":
    main()
