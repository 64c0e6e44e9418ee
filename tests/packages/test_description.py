"""README.md on PyPI: it is rendered, and its links lead somewhere there too."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "packaging"))

import description  # noqa: E402

URL = "https://example.org/eggcache/blob/v1.0"
README = "# Name\n\n[This\npage](docs/a.md#b), [there](https://example.org), [below](#end), `code`\n"


def run_while_absolute(folder, *command):
    """Run a command in a folder that has README.md, through description.py."""
    with open(os.path.join(str(folder), "README.md"), "w") as file:
        file.write(README)
    program = os.path.join(ROOT, "packaging", "description.py")
    words = [sys.executable, program, "README.md", URL] + list(command)
    return subprocess.run(words, cwd=str(folder), stdout=subprocess.PIPE, universal_newlines=True)


def test_links_of_the_readme_lead_to_files_of_the_repository_on_pypi():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    relative = description.relative_links(readme)
    assert relative and all(os.path.isfile(os.path.join(ROOT, it.partition("#")[0])) for it in relative)
    absolute = description.with_absolute_links(readme, URL)
    assert not description.relative_links(absolute)
    rendered = description.rendered(absolute)
    assert all('href="%s/%s"' % (URL, link) in rendered for link in relative)


def test_only_links_are_changed():
    expected = README.replace("(docs", "(%s/docs" % URL).replace("(#", "(%s/README.md#" % URL)
    assert description.with_absolute_links(README, URL) == expected


def test_relative_images_and_reference_links_are_found():
    text = "![a](docs/a.png) <img src='b.png'> [c][c]\n\n[c]: docs/c.md\n"
    assert description.relative_links(text) == ["docs/a.png", "b.png", "docs/c.md"]


def test_a_command_gets_absolute_links_and_the_readme_is_restored(tmp_path):
    done = run_while_absolute(tmp_path, "cat", "README.md")
    assert (done.returncode, done.stdout) == (0, description.with_absolute_links(README, URL))
    assert (tmp_path / "README.md").read_text() == README


def test_the_readme_is_restored_after_a_command_that_fails(tmp_path):
    assert run_while_absolute(tmp_path, "sh", "-c", "exit 3").returncode == 3
    assert (tmp_path / "README.md").read_text() == README


@pytest.mark.parametrize(
    "metadata, problem",
    [
        ("Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM\n\n# Name\n", ""),
        ("Description-Content-Type: text/markdown\n\n<!-- nothing -->\n", "nothing is left of the description"),
        ("Description-Content-Type: text/x-rst\n\n# Name\n", "the description is text/x-rst"),
        ("Name: eggcache\n\n# Name\n", "the description is text/plain"),
    ],
)
def test_a_description_that_pypi_does_not_show_is_a_problem(metadata, problem):
    found = list(description.problems("Metadata-Version: 2.4\n" + metadata))
    assert len(found) == bool(problem) and all(it.startswith(problem) for it in found)
