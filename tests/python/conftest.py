"""What several tests of the package need."""

import sys
import textwrap

import pytest


@pytest.fixture
def program(tmp_path):
    """Write a program in Python; return its path."""

    def program(text):
        path = tmp_path / "program"
        path.write_text("#!%s -S\n%s" % (sys.executable, textwrap.dedent(text)))
        path.chmod(0o755)
        return str(path)

    return program
