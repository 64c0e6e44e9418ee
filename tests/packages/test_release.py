"""What a release checks."""

import io
import os
import subprocess
import sys
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "packaging"))

import release_check  # noqa: E402


def test_the_version_is_the_same_everywhere():
    found = release_check.versions()
    assert len(found) == 3
    assert not list(release_check.problems_of_versions(found, "v" + found["Cargo.toml"]))


def test_a_version_that_differs_and_another_tag_are_problems():
    found = {"Cargo.toml": "1.1", "Cargo.lock": "1.0"}
    [lock, tag] = release_check.problems_of_versions(found, "v1.0")
    assert lock.startswith("Cargo.lock has version 1.0") and "v1.0 is not v1.1" in tag


@pytest.mark.parametrize(
    "changelog, count",
    [
        ("## Unreleased\n\n## 1.1 - 2026-12-01\n\n- New.\n", 0),
        ("## 1.1 - 2026-12-01\n\n- New.\n", 0),
        ("## Unreleased\n\n- New.\n\n## 1.1 - 2026-12-01\n\n- New.\n", 1),
        ("## Unreleased\n\n- New.\n", 2),
        ("## 1.1 - 2026-12-01\n\n## 1.0 - 2026-11-01\n\n- Old.\n", 1),
        ("## 1.1 - soon\n\n- New.\n", 1),
    ],
)
def test_a_release_has_its_changelog(changelog, count):
    assert len(list(release_check.problems_of_changelog(changelog, "1.1", True))) == count
    assert not list(release_check.problems_of_changelog(changelog, "1.1", False))


def sdist(folder, texts):
    """A source distribution with these files, in a folder that is created."""
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(os.path.join(folder, "a-1.tar.gz"), "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo("a-1/" + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return archive.name


def test_metadata_is_that_of_the_project_and_not_of_a_file_below(tmp_path):
    texts = {"tests/PKG-INFO": "below", "PKG-INFO": "of the project", "PKG-INFO.txt": "beside"}
    assert release_check.metadata_of(sdist(str(tmp_path), texts)) == "of the project"


def test_a_source_distribution_whose_description_pypi_does_not_show_is_not_released(tmp_path, monkeypatch):
    def run(words, **_):
        if "sdist" in words:
            sdist(words[-1], {"PKG-INFO": "Description-Content-Type: text/x-rst\n\n# Name\n"})

    monkeypatch.setattr(release_check.subprocess, "check_call", run)
    with pytest.raises(SystemExit, match="the description is text/x-rst"):
        release_check.build(str(tmp_path / "release"), "1")


@pytest.mark.parametrize("target", ["release-check", "wheel-release"])
def test_links_of_the_readme_are_absolute_in_what_is_released(target):
    command = ["make", "-n", "-C", ROOT, target, "TARGET=t", "COMPATIBILITY=c", "LINKS=https://example.org/blob/v1"]
    printed = subprocess.check_output(command, universal_newlines=True)
    builders = [line for line in printed.splitlines() if "wheel.sh" in line or "release_check.py" in line]
    assert builders and all('description.py README.md "https://example.org/blob/v1" ' in it for it in builders)
