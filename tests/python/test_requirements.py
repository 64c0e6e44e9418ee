"""Names, pins, extras and links."""

import hashlib
import types

import pytest

from eggcache._requirements import canonical, extras_of, pinned_version, sha256_of_link
from fakes import Requirement

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "name, expected",
    [
        ("alpha", "alpha"),
        ("Zope.Interface", "zope-interface"),
        ("zope_interface", "zope-interface"),
        ("a-_.b", "a-b"),
        ("A--B..C__D", "a-b-c-d"),
    ],
)
def test_names_are_normalized_as_pep_503_says(name, expected):
    assert canonical(name) == expected


@pytest.mark.parametrize(
    "text, version",
    [
        ("alpha==1.0", "1.0"),
        ("alpha===1.0", "1.0"),
        ("alpha[more]==1.0+abc.1", "1.0+abc.1"),
        ("alpha", None),
        ("alpha==1.*", None),
        ("alpha>=1.0", None),
        ("alpha~=1.0", None),
        ("alpha!=1.0", None),
        ("alpha==1.0,!=2.0", None),
    ],
)
def test_a_pin_allows_exactly_one_version(text, version):
    assert pinned_version(Requirement(text)) == version


def test_only_extras_that_the_distribution_has_are_kept():
    dist = types.SimpleNamespace(extras=["more", "test"])
    assert extras_of(dist, Requirement("alpha[more,other]")) == ["more"]


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org/alpha-1.0.tar.gz#sha256=" + SHA256,
        "https://example.org/alpha-1.0.tar.gz#egg=alpha&sha256=" + SHA256,
        "https://example.org/alpha-1.0.tar.gz#sha256=%s&egg=alpha" % SHA256.upper(),
    ],
)
def test_the_sha256_is_in_the_fragment_of_a_link(link):
    assert sha256_of_link(link) == SHA256


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org/alpha-1.0.tar.gz",
        "https://example.org/alpha-1.0.tar.gz#md5=0123",
        "https://example.org/alpha-1.0.tar.gz#sha256",
        "/no/such/alpha-1.0.tar.gz",
        "",
    ],
)
def test_the_sha256_of_other_links_is_not_known(link):
    assert not sha256_of_link(link)


@pytest.mark.parametrize("form", ["%s", "file://%s", "%s#egg=alpha", "file://%s#md5=0123"])
def test_the_sha256_of_a_local_archive_is_computed(tmp_path, form):
    archive = tmp_path / "alpha 1.0.tar.gz"
    archive.write_bytes(b"content")
    path = str(archive)
    if form.startswith("file:"):
        path = path.replace(" ", "%20")
    assert sha256_of_link(form % path) == hashlib.sha256(b"content").hexdigest()
