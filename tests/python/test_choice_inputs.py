"""More of what a choice depends on. What buildout chooses itself is tried in tests/buildout."""

import pytest

from eggcache._places import without_secrets
from test_places import HERE, Installer, choice


class Offline(Installer):
    """The installer of a part with ``-o``: buildout passes no places to it."""

    _dest = None


CONFIGURED = {
    "index": "https://eggs.example/simple",
    "find-links": "https://a.example/\nhttps://b.example/",
    "allow-hosts": "eggs.example\n  *.example",
}
ONLINE = Installer(
    ["https://a.example/", "https://b.example/"], CONFIGURED["index"], ("eggs.example", "*.example")
)


def test_offline_the_places_of_the_configuration_count():
    assert choice(Offline(), options=CONFIGURED) == choice(ONLINE) != HERE
    assert choice(Offline()) == HERE


def test_offline_the_places_of_a_part_count():
    other = Installer(["https://c.example/"], CONFIGURED["index"], ONLINE._allow_hosts)
    part = {"find-links": "https://c.example/"}
    assert choice(Offline(), options=CONFIGURED, part=part) == choice(other)
    # An empty option of a part means no place.
    none = Installer([], CONFIGURED["index"], ONLINE._allow_hosts)
    assert choice(Offline(), options=CONFIGURED, part={"find-links": ""}) == choice(none)


def test_the_tags_that_fit_this_machine_count():
    older, newer = ({"manylinux_2_%d_x86_64" % it for it in range(17, last)} for last in (28, 36))
    assert choice(Installer(), tags=older) != choice(Installer(), tags=newer)


def test_an_index_that_was_made_for_other_hosts_counts_as_it_is():
    shared = Installer(hosts=("*.example",))
    shared._allow_hosts = ("pypi.org",)
    assert choice(shared) not in (
        choice(Installer(hosts=("pypi.org",))),
        choice(Installer(hosts=("*.example",))),
    )


@pytest.mark.parametrize("part", ["?repo=x", "#egg=beta-1.0", "?repo=x#egg=beta-1.0"])
def test_a_query_counts_without_being_kept(part):
    url = "https://eggs.example/links"
    kept = without_secrets(url + part, digest=True)
    assert kept.startswith(url + "?") and "repo" not in kept and "beta" not in kept
    assert len({choice(Installer([it])) for it in (url, url + part, url + part + "y")}) == 3
    assert without_secrets(url + part) == url


def test_users_count_only_by_the_order_of_their_addresses():
    def of_users(one, two):
        links = ["https://%sa.example/" % one, "https://%sb.example/" % two]
        return choice(Installer(links, index="https://0.example/"))

    assert of_users("", "") == of_users("u:x@", "u:y@") == of_users("u:z@", "v:z@")
    assert of_users("", "") != of_users("v:z@", "u:z@")


def test_local_versions_are_left_to_buildout(tmp_path):
    (tmp_path / "alpha-1.0.tar.gz").write_text("code")
    here = Installer([str(tmp_path)])
    assert choice(here) is not None
    (tmp_path / "alpha-1.0+abc.tar.gz").write_text("other code")
    assert choice(here) is None
    assert choice(here, "1.0+abc") is not None
    assert choice(here, "2.0") is not None


@pytest.mark.parametrize("name", ["alpha===1.0", "alpha!=1.0+abc"])
def test_a_requirement_without_local_versions_is_left_to_buildout(name):
    assert choice(Installer(), name=name) is None
    assert choice(Installer(), name="alpha==1.0+abc", version="1.0+abc") is not None


def test_a_directory_with_the_name_of_an_archive_is_left_to_buildout(tmp_path):
    (tmp_path / "alpha-1.0.tar.gz").mkdir()
    (tmp_path / "beta-1.0.tar.gz").mkdir()
    assert choice(Installer([str(tmp_path)])) is None
    assert choice(Installer([str(tmp_path)]), "2.0") == choice(Installer(), "2.0")


def test_what_is_no_url_is_left_to_buildout():
    assert choice(Installer(["https://[eggs.example/"])) is None


@pytest.fixture
def folders(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "alpha-1.0.tar.gz").write_text(name)
    return tmp_path / "one", tmp_path / "two"


def test_which_folder_is_named_by_its_address_counts(folders):
    one, two = folders
    named = [[one, two.as_uri() + "/"], [one.as_uri() + "/", two], [one, two]]
    assert len({choice(Installer(map(str, links))) for links in named}) == 3


def test_which_folder_is_the_download_cache_counts(folders):
    def of_cache(folder):
        installer = Installer(map(str, folders))
        installer._download_cache = folder and str(folder)
        return choice(installer)

    assert len({of_cache(folder) for folder in (None, *folders)}) == 3


def test_the_fragment_of_a_local_address_is_left_to_buildout(folders):
    address = (folders[0] / "alpha-1.0.tar.gz").as_uri()
    assert choice(Installer([address])) is not None
    assert choice(Installer([address + "#egg=beta-1.0"])) is None


def test_a_project_is_found_in_a_local_index_by_its_normalized_name(tmp_path):
    folder = tmp_path / "my-alpha"
    folder.mkdir()
    (folder / "my.alpha-1.0.tar.gz").write_text("code")
    index = Installer(index=tmp_path.as_uri())
    # The fake of `test_places` takes what precedes the first dash for the name.
    assert choice(index, name="my.alpha") != choice(Installer(index=folder.as_uri()), name="other")
