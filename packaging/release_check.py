"""Check all of a release that can be checked before it: ``make release-check`` runs this.

Usage: release_check.py FOLDER [TAG]. It leaves the source distribution in the folder.

It checks that the version is the same everywhere and has its changelog, that PyPI accepts the metadata and shows
the README, and that the source distribution builds in a new environment. With a tag, such as v1.2.3, it also
checks that the version is that of the tag. Wheels for other machines are built by the release workflow.
"""

import glob
import os
import re
import subprocess
import sys
import tarfile
import tempfile

import description

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: The files that have the version, each with how it is written there first.
VERSIONS = {
    "Cargo.toml": r'^version = "(.+)"$',
    "Cargo.lock": r'^name = "eggcache"\nversion = "(.+)"$',
    "packaging/debian/changelog": r"^eggcache \((.+?)(?:-\d+)?\) ",
}


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def versions():
    """The version that each file has."""
    return {name: re.search(pattern, text_of(name), re.M).group(1) for name, pattern in VERSIONS.items()}


def problems_of_changelog(changelog, version, is_release):
    """What is wrong with the changelog, in sentences."""
    sections = re.split(r"^## ", changelog, flags=re.M)[1:]
    bodies = {title: body.strip() for title, _, body in (section.partition("\n") for section in sections)}
    if not is_release:
        # The version that was released last may still be the current one.
        return []
    dated = [title for title in bodies if re.fullmatch(re.escape(version) + r" - \d{4}-\d\d-\d\d", title)]
    if not dated or not bodies[dated[0]]:
        yield "CHANGELOG.md has no section `## %s - DATE` with entries" % version
    if bodies.get("Unreleased"):
        yield "CHANGELOG.md has entries under Unreleased"


def problems_of_versions(found, tag):
    """What is wrong with the versions of files, in sentences."""
    expected = found["Cargo.toml"]
    for name, version in found.items():
        if version != expected:
            yield "%s has version %s, and Cargo.toml has %s" % (name, version, expected)
    if tag and tag != "v" + expected:
        yield "the tag %s is not v%s" % (tag, expected)


def metadata_of(archive):
    """The metadata in a source distribution."""
    with tarfile.open(archive) as members:
        [name] = [name for name in members.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
        return members.extractfile(name).read().decode()


def stop_at(problems):
    said = "\n".join(problems)
    if said:
        sys.exit(said)


def build(folder, version):
    """Make the source distribution, check it as PyPI does, and install it in a new environment."""
    run = subprocess.check_call
    tool = lambda *arguments: run([sys.executable, "-m"] + list(arguments), cwd=ROOT)
    for old in glob.glob(os.path.join(folder, "*.tar.gz")):
        os.remove(old)
    tool("maturin", "sdist", "--out", folder)
    [archive] = glob.glob(os.path.join(folder, "*.tar.gz"))
    tool("twine", "check", "--strict", archive)
    stop_at(description.problems(metadata_of(archive)))
    with tempfile.TemporaryDirectory() as scratch:
        run([sys.executable, "-m", "venv", scratch])
        program = lambda name: os.path.join(scratch, "bin", name)
        run([program("python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", archive])
        said = subprocess.check_output([program("eggcache"), "--version"], universal_newlines=True)
        if said.split() != ["eggcache", version]:
            sys.exit("the program of the source distribution says %r" % said)
        run([program("python"), "-c", "import eggcache; eggcache.load"], cwd=scratch)


def main(folder, tag=""):
    found = versions()
    version = found["Cargo.toml"]
    stop_at(problems_of_versions(found, tag))
    stop_at(problems_of_changelog(text_of("CHANGELOG.md"), version, bool(tag)))
    os.makedirs(folder, exist_ok=True)
    build(folder, version)
    print("version %s is ready: %s" % (version, ", ".join(sorted(found))))


if __name__ == "__main__":
    main(*sys.argv[1:])
