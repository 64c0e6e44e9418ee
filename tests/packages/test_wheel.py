"""Tests of the wheel in ``build/manylinux``; ``make wheel-manylinux`` builds it and runs them.

It then runs some tests of tests/buildout with that wheel, also as ``extensions = eggcache``.
"""

import glob
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module")
def wheel():
    [wheel] = glob.glob(os.path.join(ROOT, "build", "manylinux", "*.whl"))
    return wheel


def test_it_supports_the_platform_in_its_name(wheel):
    assert "manylinux2014" in wheel or "manylinux_2_17" in wheel
    audited = subprocess.check_output(
        [sys.executable, "-m", "auditwheel", "show", wheel], universal_newlines=True
    )
    # auditwheel wraps its lines.
    audited = " ".join(audited.split())
    tag = re.search(r'consistent with the following platform tag: "manylinux_2_(\d+)_', audited)
    assert tag and int(tag.group(1)) <= 17, audited


def test_pip_of_python_2_and_3_accepts_it(wheel):
    assert "-py2.py3-none-" in os.path.basename(wheel)


def test_no_program_in_it_needs_a_newer_glibc(wheel, tmp_path):
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        folders = ("eggcache/_bin", "scripts")
        programs = [name for name in archive.namelist() if os.path.dirname(name).endswith(folders)]
        assert len(programs) == 2, programs
        for name in programs:
            needed = {int(it) for it in re.findall(rb"GLIBC_2\.(\d+)", archive.read(name))}
            assert max(needed) <= 17, (name, needed)


def test_a_fresh_environment_has_command_and_package(wheel, tmp_path):
    subprocess.check_call([sys.executable, "-m", "venv", str(tmp_path)])
    program = lambda name: str(tmp_path / "bin" / name)
    subprocess.check_call(
        [program("python"), "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel]
    )
    printed = subprocess.check_output([program("eggcache"), "--version"], universal_newlines=True)
    assert printed.startswith("eggcache ")
    subprocess.check_call([program("python"), "-c", "import eggcache; eggcache.load"])
