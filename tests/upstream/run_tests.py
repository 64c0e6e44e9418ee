"""Runs the tests of zc.buildout and zc.recipe.egg in one mode. `upstream.py` says what the modes are.

Usage: run_tests.py MODE FOLDER REGEX. It runs in an environment that has both, and the tests whose names
match. Caches and logs are kept in the folder. The file ``MODE.json`` there has the outcome of each test.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
import unittest

# What is tested is on the path of this process only: buildouts in its tests do not find it there.
sys.path[:0] = os.environ.pop("UPSTREAM_PATH").split(os.pathsep)

import zc.buildout.buildout  # noqa: E402
import zc.buildout.testing  # noqa: E402

#: Those of a version that exist. The order decides only what is in the cache that all tests share.
MODULES = (
    "zc.buildout.tests",
    "zc.buildout.tests.test_all",
    "zc.buildout.tests.test_extras",
    "zc.buildout.tests.test_increment",
    "zc.buildout.tests.test_pep660",
    "zc.buildout.tests.test_unit",
    "zc.recipe.egg.tests",
)
IS_INSTALLED = "upstream_cache" in sys.modules


class Seam:
    """eggcache in this process, which runs many tests. Many of them call ``easy_install.install``.

    The run of a buildout begins when a test is prepared, and ends with the test.
    """

    def __init__(self):
        from eggcache import _patches, _run, _session

        self.run, self.sessions, self.stock = _run, [], []
        self._watch(_session.Session, "open", self.sessions.append)
        self._watch(_patches.Patches, "apply", self._remember)
        self._prepare_with_cache(zc.buildout.testing)

    @staticmethod
    def _watch(owner, name, note):
        stock = getattr(owner, name)

        def method(instance, *args, **kw):
            note(instance)
            return stock(instance, *args, **kw)

        setattr(owner, name, method)

    def _remember(self, patches):
        self.stock += [(owner, name, getattr(owner, name)) for owner, name in patches.places]

    def _prepare_with_cache(self, testing):
        stock, made = testing.buildoutSetUp, []
        self._watch(zc.buildout.buildout.Buildout, "bootstrap", made.append)

        def prepare(test):
            stock(test)
            self.run.start(made.pop())

        testing.buildoutSetUp = prepare

    def reset(self):
        """Do what the end of a process would do."""
        for session in self.sessions:
            session.close()
        for owner, name, stock in reversed(self.stock):
            setattr(owner, name, stock)
        del self.sessions[:], self.stock[:]
        self.run._is_started = False
        sys.dont_write_bytecode = False


class Result(unittest.TestResult):
    """Gives each test a cache, and keeps the outcomes."""

    def __init__(self, mode, folder, progress):
        super().__init__()
        self.progress = progress
        self.mode, self.folder, self.outcomes = mode, folder, {}
        self.directory, self.environ = os.getcwd(), dict(os.environ)
        self.handlers = logging.getLogger().handlers[:]
        self.seam = Seam() if IS_INSTALLED else None

    def startTest(self, test):
        super().startTest(test)
        name = name_of(test)
        self.outcomes[name] = "ok"
        self.started = time.monotonic()
        os.environ["UPSTREAM_LOG"] = log = os.path.join(self.folder, "%s %s.log" % (name, self.mode))
        if os.path.exists(log):
            os.remove(log)
        cache = {"fresh": name, "warm": name, "shared": "of all tests"}.get(self.mode)
        if cache is not None:
            os.environ["UPSTREAM_EGG_CACHE"] = os.path.join(self.folder, "caches", cache)

    def stopTest(self, test):
        super().stopTest(test)
        if self.seam is not None:
            self.seam.reset()
        # A test that cannot be prepared does not clean up.
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environ)
        logging.getLogger().handlers[:] = self.handlers
        name = name_of(test)
        seconds = time.monotonic() - self.started
        word = "ok" if self.outcomes[name] == "ok" else "FAILS"
        print("%-5s %4d s  %s" % (word, seconds, name), file=self.progress, flush=True)
        with open(os.path.join(self.folder, self.mode + ".json"), "w") as file:
            json.dump(self.outcomes, file, indent=1, sort_keys=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.outcomes[name_of(test)] = str(error[1])

    def addError(self, test, error):
        super().addError(test, error)
        self.outcomes[name_of(test)] = "".join(traceback.format_exception(*error))


def name_of(test):
    """A short name, such as ``easy_install.txt`` and ``bug_59270``. It is the same in all versions."""
    document = getattr(getattr(test, "_dt_test", None), "filename", None) or test.id()
    if re.search(r"\.(txt|rst|test)$", document):
        return re.sub(r"^.*/src/zc/recipe/egg/", "zc.recipe.egg ", document).split("/")[-1]
    return re.sub(r"^zc\.buildout\.(tests\.)?(test_all\.|tests\.)?", "", test.id())


def tests_of(suite):
    """The tests of a suite and of those in it."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def all_tests():
    """All tests of this version."""
    for name in MODULES:
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        module = sys.modules[name]
        if hasattr(module, "test_suite"):
            yield from tests_of(module.test_suite())
        else:
            yield from tests_of(unittest.defaultTestLoader.loadTestsFromModule(module))


def main():
    mode, folder, wanted = sys.argv[1:]
    # As zope.testrunner does: tests see this handler.
    logging.getLogger().addHandler(logging.NullHandler())
    # The processes that tests start print much, which belongs to neither the tests nor the progress.
    progress = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    result = Result(mode, folder, progress)
    tests = list(all_tests())
    names = [name_of(test) for test in tests]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    for test in tests:
        if re.search(wanted, name_of(test)):
            test.run(result)


if __name__ == "__main__":
    main()
