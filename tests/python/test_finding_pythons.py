"""The Pythons that tests find on a machine."""

import os
import sys

import pythons

THIS = "%d.%d" % sys.version_info[:2]


def fake(path, says):
    """A program that prints the version of a Python, whatever it is asked."""
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nprintf %s\n" % says)
    path.chmod(0o755)
    return str(path)


def test_pypy_is_found_in_the_path_and_below_pyenv(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("pypy3.9") is None
    builds = [tmp_path / "versions" / name / "bin" / "python" for name in ("pypy3.9-7.3.9", "pypy3.9-7.3.16")]
    found = [fake(path, "pypy3.9") for path in builds]
    assert pythons.find("pypy3.9") == found[1]
    in_path = fake(tmp_path / "bin" / "pypy3.9", "pypy3.9")
    assert pythons.find("pypy3.9") == in_path
    assert pythons.find("3.9") is pythons.find("pypy3.1") is None


def test_a_python_is_not_taken_for_pypy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for name in ("pypy" + THIS, "python" + THIS):
        os.symlink(sys.executable, str(tmp_path / name))
    is_pypy = hasattr(sys, "pypy_version_info")
    assert (pythons.find("pypy" + THIS) is not None) == is_pypy
    assert (pythons.find(THIS) is None) == is_pypy
