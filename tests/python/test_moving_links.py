"""A link with `#egg=` may lead to another archive tomorrow: what it leads to is never assumed."""

import pytest

import fakes
from eggcache._requirements import egg_of_link
from fakes import Distribution, Requirement, egg
from test_places import Installer, choice

URL = "https://example.org/archive/master.tar.gz"


@pytest.mark.parametrize(
    "link, name",
    [
        (URL, None),
        (URL + "#egg=alpha-dev", "alpha-dev"),
        ("git+" + URL + "#egg=alpha", "alpha"),
        (URL + "#subdirectory=a&egg=alpha-1.0", "alpha-1.0"),
        (URL + "#sha256=ab&egg=alpha-1.0", None),
        (URL + "#md5=egg", None),
    ],
)
def test_the_egg_of_a_link_is_named_in_its_fragment(link, name):
    assert egg_of_link(link) == name


@pytest.mark.parametrize("name", ["alpha", "alpha-1.0", "alpha-dev", "Alpha-1.0"])
def test_no_choice_is_known_where_a_link_moves(name):
    assert choice(Installer(links=[URL + "#egg=" + name])) is None
    assert choice(Installer(links=["git+" + URL + "#egg=" + name])) is None


@pytest.mark.parametrize("name", ["alphabet-1.0", "beta-1.0"])
def test_a_moving_link_of_another_project_does_not_matter(name):
    assert choice(Installer(links=[URL + "#egg=" + name])) is not None


def test_what_a_page_of_links_led_to_is_not_assumed_if_its_link_moves():
    sha256 = "a" * 64
    chooser = fakes.chooser(egg("alpha", "1.0", source_sha256=sha256, choices=()))
    requirement = Requirement("alpha==1.0")
    for link, expected in [(URL + "#egg=alpha-1.0", None), (URL, fakes.HERE)]:
        available = Distribution("alpha", "1.0", link)
        assert chooser.choice_of(fakes.Installer(), available, requirement, None) == expected
