"""An editable installation, `pip install -e .`: the package works from the checkout, hook included.

A program that is compiled in a second takes the place of eggcache's.
"""

import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

MANIFEST = """\
[package]
name = "eggcache"
version = "0.1.0"
edition = "2021"
"""


@pytest.fixture
def checkout(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "src").mkdir(parents=True)
    (checkout / "src" / "main.rs").write_text("fn main() {}\n")
    (checkout / "Cargo.toml").write_text(MANIFEST)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(os.path.join(ROOT, name), str(checkout))
    for name in ("python", "eggcache.data"):
        ignored = shutil.ignore_patterns("_bin", "__pycache__")
        shutil.copytree(os.path.join(ROOT, name), str(checkout / name), ignore=ignored)
    return checkout


def test_the_hook_is_loaded_and_finds_the_program(checkout, tmp_path):
    venv = str(tmp_path / "venv")
    python = os.path.join(venv, "bin", "python")
    subprocess.check_call([sys.executable, "-m", "venv", venv])
    # maturin builds it, from the environment of the tests.
    tools = os.path.dirname(sys.executable)
    import maturin

    env = dict(
        os.environ,
        PATH=tools + os.pathsep + os.environ["PATH"],
        PYTHONPATH=os.path.dirname(os.path.dirname(maturin.__file__)),
        CARGO_TARGET_DIR=str(tmp_path / "target"),
    )
    install = [python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.check_call(install + ["-e", str(checkout)], env=env)
    code = (
        "import sys; loaded = 'eggcache._hook' in sys.modules; from eggcache import _bridge; "
        "print(loaded, _bridge.__file__, _bridge.find_program())"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    printed = subprocess.check_output([python, "-c", code], universal_newlines=True, env=env).split()
    assert printed == [
        "True",
        str(checkout / "python" / "eggcache" / "_bridge.py"),
        os.path.join(venv, "bin", "eggcache"),
    ]
