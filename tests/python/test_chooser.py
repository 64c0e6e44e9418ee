"""Which cached egg is offered to buildout."""

import types
import warnings

import pytest

import fakes
from eggcache import _chooser, _compat
from eggcache._custom import CustomBuilds
from fakes import Bridge, Installer, egg

#: Setuptools warns of its own pkg_resources and of versions from before PEP 440.
pytestmark = pytest.mark.filterwarnings("ignore")

SHA256 = "a" * 64
LINK = "https://example.org/alpha-1.0.tar.gz#sha256="


def real_resources():
    """The module ``pkg_resources``, or None. Setuptools does not have it any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pkg_resources
        except ImportError:
            return None
    return pkg_resources


@pytest.fixture(params=["packaging", "pkg_resources"], scope="module")
def resources(request):
    found = fakes.RESOURCES if request.param == "packaging" else real_resources()
    if found is None:
        pytest.skip("pkg_resources is not installed")
    return found


@pytest.fixture
def choose(resources):
    """Offer an egg for a requirement; return its digest, or None."""

    def choose(text, eggs, installer=None, source=None, custom=None):
        chooser = fakes.chooser(*eggs, resources=resources, custom=custom)
        requirement = resources.Requirement.parse(text)
        dist = chooser.choose(installer or Installer(), requirement, source)
        return dist and dist.eggcache.digest

    return choose


@pytest.fixture
def same_as(resources):
    """Offer an egg that equals what the index has; return its digest, or None."""

    def same_as(available, eggs, text="alpha", custom=None, source=None):
        chooser = fakes.chooser(*eggs, resources=resources, custom=custom)
        requirement = resources.Requirement.parse(text)
        dist = chooser.same_as(Installer(), available, requirement, source)
        return dist and dist.eggcache.digest

    return same_as


def archive(version="1.0", sha256=SHA256):
    """What the index has."""
    return types.SimpleNamespace(version=version, location=LINK + sha256)


NOT_NEWEST = dict(newest=False)
OFFLINE = dict(dest=None, newest=True)


# -- Pins


def test_a_pin_is_offered_its_version(choose):
    eggs = [egg("alpha", "1.1"), egg("alpha", "1.0"), egg("alpha", "0.9")]
    assert choose("alpha==1.0", eggs) == "alpha-1.0"
    assert choose("alpha===1.0", eggs) == "alpha-1.0"


def test_a_pin_is_offered_nothing_else(choose):
    assert choose("alpha==1.0", [egg("alpha", "1.1"), egg("alpha", "1.0.1")]) is None


@pytest.mark.parametrize(
    "pin, version", [("1.0", "1"), ("1", "1.0.0"), ("1.0-rc1", "1.0rc1"), ("1.0.a1", "1.0a1")]
)
def test_a_pin_matches_another_spelling_of_its_version(choose, pin, version):
    assert choose("alpha==" + pin, [egg("alpha", version)]) == "alpha-" + version


def test_a_pin_is_not_offered_a_local_version(choose):
    assert choose("alpha==1.0", [egg("alpha", "1.0+abc.1")]) is None


def test_a_pin_of_a_local_version_is_offered_it(choose):
    eggs = [egg("alpha", "1.0"), egg("alpha", "1.0+abc.1")]
    assert choose("alpha==1.0+abc.1", eggs) == "alpha-1.0+abc.1"


def test_a_pin_of_a_prerelease_is_offered_it(choose):
    assert choose("alpha==2.0rc1", [egg("alpha", "2.0rc1")]) == "alpha-2.0rc1"


def test_of_equal_versions_the_first_stored_is_offered(choose):
    eggs = [egg("alpha", "1.0", "alpha-first"), egg("alpha", "1.0", "alpha-second")]
    assert choose("alpha==1.0", eggs) == "alpha-first"


# -- Without a pin


@pytest.mark.parametrize("text", ["alpha", "alpha>=1.0", "alpha==1.*"])
def test_newest_without_a_pin_is_offered_nothing(choose, text):
    assert choose(text, [egg("alpha", "1.0")]) is None


@pytest.mark.parametrize("options", [NOT_NEWEST, OFFLINE], ids=["not newest", "offline"])
class TestBestVersion:
    def test_the_newest_version_is_offered(self, choose, options):
        eggs = [egg("alpha", "1.9"), egg("alpha", "1.10"), egg("alpha", "1.2")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-1.10"

    def test_a_requirement_holds(self, choose, options):
        eggs = [egg("alpha", "1.9"), egg("alpha", "1.10")]
        assert choose("alpha<1.10", eggs, Installer(**options)) == "alpha-1.9"
        assert choose("alpha>2", eggs, Installer(**options)) is None

    def test_a_tie_goes_to_the_first_stored(self, choose, options):
        eggs = [egg("alpha", "1.0", "alpha-first"), egg("alpha", "1.0.0", "alpha-second")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-first"

    def test_final_releases_are_preferred(self, choose, options):
        eggs = [egg("alpha", "1.0"), egg("alpha", "2.0rc1")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-1.0"

    def test_a_prerelease_is_offered_without_prefer_final(self, choose, options):
        eggs = [egg("alpha", "1.0"), egg("alpha", "2.0rc1")]
        assert choose("alpha", eggs, Installer(prefer_final=False, **options)) == "alpha-2.0rc1"

    def test_a_prerelease_is_offered_if_there_is_nothing_else(self, choose, options):
        eggs = [egg("alpha", "1.0a1"), egg("alpha", "1.0b1")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-1.0b1"

    def test_a_local_version_is_not_offered(self, choose, options):
        eggs = [egg("alpha", "1.0+abc.1"), egg("alpha", "0.9")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-0.9"
        assert choose("alpha", eggs[:1], Installer(**options)) is None

    def test_a_version_that_pep_440_does_not_allow_is_skipped(self, choose, options):
        eggs = [egg("alpha", "1.0-foo-bar"), egg("alpha", "0.9")]
        assert choose("alpha", eggs, Installer(**options)) == "alpha-0.9"


# -- What the index has


def test_the_egg_of_the_same_archive_is_offered(same_as):
    eggs = [egg("alpha", "1.0", "alpha-other", "b" * 64), egg("alpha", "1.0", "alpha-same", SHA256)]
    assert same_as(archive(), eggs) == "alpha-same"


def test_the_egg_of_another_archive_is_not_offered(same_as):
    assert same_as(archive(), [egg("alpha", "1.0", source_sha256="b" * 64)]) is None


def test_an_egg_of_an_unknown_archive_is_not_offered(same_as):
    assert same_as(archive(), [egg("alpha", "1.0")]) is None
    assert same_as(archive(sha256=""), [egg("alpha", "1.0")]) is None
    assert same_as(archive(sha256=""), [egg("alpha", "1.0", source_sha256=SHA256)]) is None


def test_another_version_than_that_of_the_index_is_not_offered(same_as):
    assert same_as(archive("1.1"), [egg("alpha", "1.0", source_sha256=SHA256)]) is None


def test_the_index_may_spell_the_version_differently(same_as):
    assert same_as(archive("1.0.0"), [egg("alpha", "1.0", source_sha256=SHA256)]) == "alpha-1.0"


# -- What is left to buildout


def test_nothing_is_offered_if_an_installed_egg_satisfies(choose, resources):
    dist = resources.Distribution(project_name="alpha", version="1.0")
    eggs = [egg("alpha", "1.0"), egg("alpha", "1.1")]
    assert choose("alpha==1.0", eggs, Installer(installed=[dist])) is None
    assert choose("alpha", eggs, Installer(newest=False, installed=[dist])) is None


def test_an_unsuitable_installed_egg_does_not_prevent_an_offer(choose, resources):
    dist = resources.Distribution(project_name="alpha", version="0.9")
    assert choose("alpha==1.0", [egg("alpha", "1.0")], Installer(installed=[dist])) == "alpha-1.0"


def test_nothing_is_offered_with_install_from_cache(choose):
    installer = Installer()
    installer._install_from_cache = True
    assert choose("alpha==1.0", [egg("alpha", "1.0")], installer) is None


# -- Custom builds


@pytest.mark.parametrize("projects", [{"my-alpha"}, None], ids=["a custom part", "parts that are not known"])
def test_the_plain_egg_of_a_custom_project_is_not_offered(choose, same_as, projects):
    plain = [egg("My.alpha", "1.0", source_sha256=SHA256)]
    assert choose("My.alpha==1.0", plain, custom=CustomBuilds(projects, "/srv/app")) is None
    assert same_as(archive(), plain, "My.alpha", custom=CustomBuilds(projects, "/srv/app")) is None


def test_a_custom_build_is_offered_an_egg_of_its_variant(resources):
    bridge, custom = Bridge(egg("alpha", "1.0")), CustomBuilds({"alpha"}, "/srv/app")
    chooser = fakes.chooser(bridge=bridge, custom=custom, resources=resources)
    requirement = resources.Requirement.parse("alpha==1.0")
    with custom.building("alpha", {"define": "X"}):
        variant = custom.variant
        assert chooser.choose(Installer(), requirement, 1) is not None
    [(_, asked)] = bridge.calls
    assert asked["variant"] == variant != "" == custom.variant


def test_nothing_is_offered_while_paused():
    chooser = fakes.chooser(egg("alpha", "1.0", source_sha256=SHA256))
    requirement = fakes.Requirement("alpha==1.0")
    with chooser.paused():
        assert chooser.choose(Installer(), requirement, None) is None
        assert chooser.same_as(Installer(), archive(), requirement, None) is None
    assert chooser.choose(Installer(), requirement, None) is not None


# -- Versions


@pytest.mark.parametrize(
    "left, right, are_same",
    [
        ("1.0", "1.0", True),
        ("1.0", "1", True),
        ("1.0.0", "1.0", True),
        ("1.0RC1", "1.0-rc.1", True),
        ("v1.0", "1.0", True),
        ("1.0-1", "1.0.post1", True),
        ("1.0+ABC.1", "1.0+abc-1", True),
        ("1.0", "1.0+abc", False),
        ("1.0", "1.0.1", False),
        ("1.0-foo-bar", "1.0-foo-bar", True),
        ("1.0-foo-bar", "1.0_foo_bar", False),
        ("1.0-foo-bar", "1.0", False),
    ],
)
def test_versions_are_compared_as_versions(resources, left, right, are_same):
    assert fakes.chooser(resources=resources)._same_version(left, right) is are_same


# -- Questions to the cache


def test_a_hit_is_remembered_until_eggs_change():
    bridge = Bridge(egg("alpha", "1.0"))
    chooser, requirement = fakes.chooser(bridge=bridge), fakes.Requirement("alpha==1.0")
    assert chooser.choose(Installer(), requirement, None)
    assert chooser.choose(Installer(), requirement, None)
    assert bridge.ops() == ["find"]
    chooser.forget()
    assert chooser.choose(Installer(), requirement, None)
    assert bridge.ops() == ["find", "find"]


def test_a_miss_is_remembered_briefly(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_compat, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    bridge = Bridge()
    chooser, requirement = fakes.chooser(bridge=bridge), fakes.Requirement("alpha==1.0")
    for _ in range(2):
        assert chooser.choose(Installer(), requirement, None) is None
    assert bridge.ops() == ["find"]
    now[0] += _chooser.MISSED_FOR + 0.1
    bridge.eggs.append(egg("alpha", "1.0"))
    assert chooser.choose(Installer(), requirement, None) is not None


def test_warnings_about_remotes_are_handed_on():
    bridge, warned = Bridge(), []
    bridge.answers["find"] = {"warnings": ["remote team: no answer", "remote aws: no answer"]}
    chooser = fakes.chooser(bridge=bridge, warn=warned.append)
    assert chooser.choose(Installer(), fakes.Requirement("alpha==1.0"), None) is None
    assert warned == ["remote team: no answer", "remote aws: no answer"]


def test_an_offer_knows_what_it_was_made_for():
    installer, requirement = Installer(), fakes.Requirement("alpha==1.0")
    dist = fakes.chooser(egg("alpha", "1.0")).choose(installer, requirement, 1)
    offer = dist.eggcache
    assert (offer.installer, offer.requirement, offer.source) == (installer, requirement, 1)
    assert offer.file_name == "alpha-1.0-py3.11.egg" and offer.arrived is None
    assert dist.precedence == fakes.RESOURCES.EGG_DIST
