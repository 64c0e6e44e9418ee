"""Tests of the Debian package in ``build/deb``; ``make deb`` builds it and runs them."""

import glob
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "packaging"))

import description  # noqa: E402

#: Lintian tags that are ignored, each with the reason.
LEFT = {
    "statically-linked-binary": "SQLite and zstd are linked statically, as usual in Rust",
    "initial-upload-closes-no-bugs": "it is not uploaded to Debian",
    "bogus-mail-host-in-debian-changelog": "the project has no mail address",
    "bogus-mail-host": "the project has no mail address",
    "embedded-library": "SQLite is compiled in: two of them in one process break its locks",
}


@pytest.fixture(scope="module")
def deb():
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not installed")
    [deb] = glob.glob(os.path.join(ROOT, "build", "deb", "*.deb"))
    return deb


@pytest.fixture(scope="module")
def root(deb, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    subprocess.check_call(["dpkg-deb", "-x", deb, str(root)])
    return root


def run(*command, **kw):
    return subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        **kw
    )


def test_it_has_program_pages_completions_and_documents(root):
    for path in (
        "usr/bin/eggcache",
        "usr/share/man/man1/eggcache.1.gz",
        "usr/share/man/man1/eggcache-materialize.1.gz",
        "usr/share/man/man1/eggcache-remote-add.1.gz",
        "usr/share/man/man5/egg-cache.5.gz",
        "usr/share/bash-completion/completions/eggcache",
        "usr/share/zsh/vendor-completions/_eggcache",
        "usr/share/fish/vendor_completions.d/eggcache.fish",
        "usr/share/doc/eggcache/changelog.Debian.gz",
        "usr/share/doc/eggcache/copyright",
    ):
        assert (root / path).is_file(), path
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "changelog",
        "docs/README.md",
        "docs/tutorial.md",
        "docs/howto/app.spec",
        "docs/howto/rpm.md",
        "docs/reference/cli.md",
        "docs/explanation/reliability.md",
        "docs/images/stats.png",
    ):
        assert list((root / "usr/share/doc/eggcache").glob(name + "*")), name


def test_every_link_of_an_installed_document_leads_to_a_file_of_the_package(root):
    pages = list((root / "usr/share/doc/eggcache").rglob("*.md"))
    links = [
        (page, link.partition("#")[0])
        for page in pages
        for link in description.relative_links(page.read_text(encoding="utf-8"))
    ]
    assert len(links) > len(pages)
    broken = [(page.name, link) for page, link in links if not (page.parent / link).exists()]
    assert not broken


def test_it_declares_its_dependencies(deb):
    fields = run("dpkg-deb", "-f", deb).stdout
    assert "Package: eggcache\n" in fields
    assert "libc6 (>= " in fields, fields


def test_the_installed_program_stores_an_egg(root, tmp_path):
    egg = tmp_path / "eggs" / "foo-1.0-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: foo\nVersion: 1.0\n")
    program = [root / "usr/bin/eggcache", "--cache", tmp_path / "cache"]
    for words in (["add", tmp_path / "eggs"], ["materialize", "--into", tmp_path / "out", "foo"]):
        done = run(*program, *words)
        assert done.returncode == 0, done.stdout
    assert (tmp_path / "out" / egg.name / "EGG-INFO" / "PKG-INFO").is_file()


def test_dpkg_installs_it(deb, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can let dpkg install into another root")
    for name in ("info", "updates"):
        (tmp_path / "var/lib/dpkg" / name).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").touch()
    # That root has no libc6.
    done = run("dpkg", "--root", tmp_path, "--force-depends", "--install", deb)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "usr/bin/eggcache").is_file()


def test_lintian_finds_only_ignored_tags(deb):
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    found = run("lintian", "--allow-root", "--tag-display-limit", "0", deb).stdout.splitlines()
    tags = [line for line in found if line[:2] in ("E:", "W:")]
    assert [line for line in tags if line.split()[2] not in LEFT] == []
