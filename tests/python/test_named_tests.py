"""The pages that promise something name the tests that prove it."""

import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["reliability.md", "threats.md"]


def sources():
    for top in "src", "tests":
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith((".py", ".rs")):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        yield f.read()


@pytest.fixture(scope="module")
def tests():
    """The names of all functions and of the modules that a macro makes, as `a_crash_at_any_call_...`."""
    text = "\n".join(sources())
    return set(re.findall(r"\b(?:fn|def|test_each_operation!\()\s*(\w+)", text))


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_exist(page, tests):
    with open(os.path.join(ROOT, "docs", "explanation", page), encoding="utf-8") as f:
        text = f.read()
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", text))
    assert len(named) > 40
    assert not named - tests
    files = set(re.findall(r"`(tests/[^`]+\.\w+)`", text))
    assert not [name for name in files if not os.path.exists(os.path.join(ROOT, name))]
