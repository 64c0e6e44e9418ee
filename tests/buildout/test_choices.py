"""Two sets of places with the same choice lead buildout to the same archive.

`choices` asks buildout itself, in one process, without a run.
"""

import collections
import json
import os
import subprocess

from conftest import ROOT

THOROUGH = "EGGCACHE_THOROUGH" in os.environ

#: Cases that have one choice although they are not the same: the cache would be of less use otherwise.
SAME = [
    {"folder", "moved folder"},
    {"two folders", "two folders in another order"},
    {"query x"},
    {"query y"},
]


def answers(buildout, folder, seed, count):
    program = os.path.join(os.path.dirname(__file__), "choices.py")
    command = [os.path.join(buildout.venv, "bin", "python"), "-W", "ignore", program]
    environ = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "python"), no_proxy="127.0.0.1,localhost")
    folder.mkdir()
    arguments = [str(folder), str(seed), str(count)]
    return json.loads(subprocess.check_output(command + arguments, env=environ, cwd=str(folder)))


def test_the_same_choice_is_the_same_archive(buildout, tmp_path):
    for seed in range(20 if THOROUGH else 1):
        found = answers(buildout, tmp_path / str(seed), seed, 1000 if THOROUGH else 300)
        cases, archives = collections.defaultdict(set), collections.defaultdict(set)
        for case, choice, archive in found:
            if choice is not None:
                cases[choice].add(case)
                archives[choice].add(archive)
        wrong = {str(cases[it]): archives[it] for it in archives if len(archives[it]) > 1}
        assert not wrong
        for same in SAME:
            assert any(same <= it for it in cases.values()), same
        assert len(archives) > 50
