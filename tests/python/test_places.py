"""The choice of an archive: what it depends on, and what it does not depend on."""

import fnmatch
import os
import re
import sys
import types

import pytest

import fakes
from eggcache._places import Places, without_secrets


class Installer:
    _dest = "eggs"
    _download_cache = None

    def __init__(self, links=(), index="https://pypi.org/simple", hosts=("*",)):
        self._links = list(links)
        self._allow_hosts = hosts
        # As buildout makes its index.
        index = index[len("file://") :] if index.startswith("file://") else index
        allows = re.compile("|".join(map(fnmatch.translate, hosts))).match
        self._index = types.SimpleNamespace(index_url=index.rstrip("/") + "/", allows=allows)

    def _fix_file_links(self, links):
        return links


def distros_for_filename(path):
    """Parse ``name-version.tar.gz``."""
    name, _, rest = str(path).rsplit("/", 1)[-1].partition("-")
    if rest.endswith(".tar.gz"):
        yield types.SimpleNamespace(project_name=name, version=rest[: -len(".tar.gz")], location=path)


class Wheel:
    """Stands in for the class of setuptools. The tags are those that its module computes."""


def choice(
    installer, version="1.0", source=None, name="alpha", options=(), part=None, tags=("py3-none-any",)
):
    resources = types.SimpleNamespace(
        parse_version=fakes.RESOURCES.parse_version, get_supported_platform=lambda: "linux-x86_64"
    )
    easy_install = types.SimpleNamespace(
        pkg_resources=resources,
        default_index_url="https://pypi.org/simple",
        realpath=os.path.realpath,
        _package_index=types.SimpleNamespace(distros_for_filename=distros_for_filename, Wheel=Wheel),
    )
    places = Places(easy_install, dict(options))
    with places.of_part(dict(part or {})), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "_get_supported_tags", lambda: set(tags), raising=False)
        return places.choice(installer, fakes.Requirement(name), version, source)


HERE = choice(Installer())


def test_a_choice_is_a_digest():
    assert len(HERE) == 64 and int(HERE, 16)


@pytest.mark.parametrize(
    "installer",
    [
        Installer(index="https://pypi.org/simple"),
        Installer(index="https://pypi.org/simple/"),
        Installer(index="https://user:secret@pypi.org/simple/"),
        Installer(links=["/no/such/folder"]),
    ],
)
def test_the_same_places_are_the_same_choice(installer):
    assert choice(installer) == HERE


@pytest.mark.parametrize(
    "installer",
    [
        Installer(index="https://eggs.example/simple"),
        Installer(links=["https://eggs.example/"]),
        Installer(hosts=("pypi.org",)),
        Installer(index="https://pypi.org/simple/?repo=x"),
    ],
)
def test_other_places_are_another_choice(installer):
    assert choice(installer) != HERE


def test_the_order_of_links_does_not_matter():
    links = ["https://a.example/", "https://b.example/"]
    assert choice(Installer(links)) == choice(Installer(links[::-1]))


def test_a_source_distribution_is_another_choice():
    assert choice(Installer(), source=1) != HERE


def test_the_content_of_a_local_folder_counts_and_its_path_does_not(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "alpha-1.0.tar.gz").write_text("code")
        (folder / "other-1.0.tar.gz").write_text(folder.name)
        (folder / "alpha-2.0.tar.gz").write_text(folder.name)
    one, two = (choice(Installer([str(folder)])) for folder in folders)
    assert one == two != HERE
    (folders[1] / "alpha-1.0.tar.gz").write_text("other code")
    assert choice(Installer([str(folders[1])])) != one
    (folders[1] / "alpha-1.0.tar.gz").unlink()
    assert choice(Installer([str(folders[1])])) == HERE


def test_another_spelling_of_the_version_is_the_same_archive(tmp_path):
    (tmp_path / "alpha-1.0.0.tar.gz").write_text("code")
    installer = Installer([str(tmp_path)])
    assert choice(installer, "1.0") == choice(installer, "1.0.0") != HERE


def test_a_single_local_archive_counts(tmp_path):
    archive = tmp_path / "alpha-1.0.tar.gz"
    archive.write_text("code")
    assert choice(Installer([str(archive)])) == choice(Installer([str(tmp_path)])) != HERE


def test_a_local_index_is_compared_by_content(tmp_path):
    for name, content in [("one", "code"), ("two", "code"), ("three", "other")]:
        folder = tmp_path / name / "alpha"
        folder.mkdir(parents=True)
        (folder / "alpha-1.0.tar.gz").write_text(content)
    one, two, three = (choice(Installer(index=str(tmp_path / name))) for name in ("one", "two", "three"))
    assert one == two != three


@pytest.mark.parametrize("name", ["index.html", "links.html"])
def test_a_local_page_of_links_is_left_to_buildout(tmp_path, name):
    (tmp_path / name).write_text("")
    link = tmp_path.as_uri() if name == "index.html" else (tmp_path / name).as_uri()
    assert choice(Installer([link])) is None


def test_urls_lose_their_secrets():
    url = "https://user:secret@eggs.example:8080/a/alpha-1.0.tar.gz?token=secret#sha256=ab"
    assert without_secrets(url) == "https://eggs.example:8080/a/alpha-1.0.tar.gz"
    assert without_secrets("/srv/eggs") == "/srv/eggs"
