"""Conflicts to which a cached version has led: what is blamed, and what a second try finds."""

import logging
import os
import types

import pytest

import fakes
from eggcache import _chooser, _conflicts
from fakes import Distribution, Environment, Installer, Requirement, egg

ALPHA, OLD_BETA = Distribution("alpha", "1.0"), Distribution("beta", "1.0")


class UserError(Exception):
    pass


class ResolutionError(Exception):
    pass


class VersionConflict(UserError):
    """As in buildout, it wraps the error of pkg_resources."""

    def __init__(self, dist, requirement):
        self.err = ResolutionError(dist, requirement)


class WorkingSet:
    def __init__(self):
        self.entries, self.by_key = [], {}

    def add(self, dist):
        self.entries.append(dist.location)
        self.by_key[dist.key] = dist

    def __iter__(self):
        return iter(self.by_key.values())


class World:
    """A buildout whose cache has some eggs, and an installation that the test defines."""

    def __init__(self, tmp_path):
        resources = types.SimpleNamespace(**vars(fakes.RESOURCES))
        resources.ResolutionError = ResolutionError
        easy_install = types.SimpleNamespace(
            pkg_resources=resources,
            realpath=os.path.realpath,
            zc=types.SimpleNamespace(buildout=types.SimpleNamespace(UserError=UserError)),
        )
        self.path = tmp_path
        self.used = set()
        self.conflicts = _conflicts.Conflicts(easy_install, str(tmp_path / "buildout"), self.used)
        eggs = [egg("alpha", "1.0"), egg("alpha", "0.9"), egg("beta", "1.0"), egg("beta-two", "1.0")]
        self.chooser = fakes.chooser(*eggs)
        self.installer = Installer(newest=False)
        self.installer._index, self.installer._picked_versions = "index", {}
        self.working_set = WorkingSet()
        self.tries = 0
        #: The requirements that are resolved.
        self.asked = [Requirement("alpha"), Requirement("beta")]
        #: Errors to which an offered egg has led otherwise than by a conflict.
        self.misled = []

    def install(self, *tries):
        """Resolve: each try is a function that returns an error, or None if it has succeeded."""

        def install():
            error = tries[self.tries]()
            self.tries += 1
            if error is not None:
                raise error
            return self.working_set

        is_misled = lambda _, error: error in self.misled  # noqa: E731
        parts = self.installer, self.asked, self.working_set, self.chooser
        return self.conflicts.resolve(*parts, install, is_misled)

    def copy(self, text, folder="buildout/eggs", is_new=True, requires=()):
        """Copy what the cache offers for a requirement, as buildout does; return its distribution."""
        requirement = Requirement(text)
        self.installer._eggcache_wanted = requirement, self.working_set
        offered = self.chooser.choose(self.installer, requirement, None)
        if offered is None:
            return None
        location = self.path / folder / offered.eggcache.file_name
        location.mkdir(parents=True, exist_ok=True)
        found = Distribution(offered.project_name, offered.version, str(location), requires=requires)
        offered.eggcache.is_new = is_new
        self.conflicts.copied(found, offered.eggcache)
        self.installer._env.add(found)
        self.working_set.add(found)
        self.installer._picked_versions[found.project_name] = found.version
        return found


@pytest.fixture
def world(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="eggcache")
    return World(tmp_path)


def names(working_set):
    return sorted("%s %s" % (dist.project_name, dist.version) for dist in working_set)


def test_a_guess_that_does_not_fit_is_rejected_and_everything_is_as_before(world, caplog):
    def first():
        dist = world.copy("alpha")
        world.installer._index = "another index"
        return VersionConflict(dist, Requirement("alpha>=1.1"))

    def second():
        assert (world.working_set.entries, world.working_set.by_key) == ([], {})
        assert (world.installer._index, world.installer._picked_versions) == ("index", {})
        assert world.installer._env["alpha"] == []
        assert world.copy("alpha") is None, "the index decides"

    world.install(first, second)
    expected = "alpha 1.0 from the cache cannot be used with the other eggs; asking the index for alpha."
    assert [record.getMessage() for record in caplog.records] == [expected]
    assert os.listdir(str(world.path / "buildout" / "eggs")) == []


def test_offline_the_next_cached_version_is_tried(world):
    world.installer._dest = None

    def first():
        return VersionConflict(world.copy("alpha"), Requirement("alpha<1"))

    world.install(first, lambda: world.copy("alpha") and None)
    assert names(world.working_set) == ["alpha 0.9"]


def test_offline_the_first_error_is_reported_if_no_version_will_do(world):
    world.installer._dest = None
    errors = []

    def failing():
        errors.append(VersionConflict(world.copy("alpha") or ALPHA, Requirement("alpha>2")))
        return errors[-1]

    with pytest.raises(VersionConflict) as raised:
        world.install(failing, failing, failing)
    assert raised.value is errors[0] and world.tries == 3


def test_a_version_is_rejected_for_every_spelling_of_its_project(world):
    world.installer._dest = None
    copied = []

    def failing():
        copied.append(world.copy("Beta_Two"))
        return VersionConflict(copied[-1] or ALPHA, Requirement("Beta_Two>2"))

    with pytest.raises(VersionConflict):
        world.install(failing, failing)
    assert [str(dist) for dist in copied] == ["beta-two 1.0", "None"]


def test_no_egg_is_rejected_twice(world, monkeypatch):
    """Else resolving might not end."""
    world.installer._dest = None
    monkeypatch.setattr(world.chooser, "reject", lambda dist: None)

    def failing():
        return VersionConflict(world.copy("alpha"), Requirement("alpha>2"))

    with pytest.raises(VersionConflict):
        world.install(failing, failing, failing)
    assert world.tries == 2


@pytest.mark.parametrize("error", [UserError("no such egg"), UserError("bad", "==2", Requirement("gamma<2"))])
def test_a_guess_that_requires_what_cannot_be_had_is_rejected(world, error):
    def first():
        world.copy("alpha")
        world.copy("beta", requires=[Requirement("gamma<2")])
        world.installer._eggcache_wanted = Requirement("gamma<2"), world.working_set
        return error

    world.install(first, lambda: None)
    installer = Installer(newest=False)
    assert world.chooser.choose(installer, Requirement("beta"), None) is None
    assert world.chooser.choose(installer, Requirement("alpha"), None) is not None


def test_all_guesses_are_rejected_if_none_is_to_blame(world, caplog):
    def first():
        world.copy("alpha")
        world.copy("beta")
        return VersionConflict(Distribution("gamma", "1.0"), Requirement("gamma>1"))

    world.install(first, lambda: None)
    assert "alpha 1.0, beta 1.0 from the cache cannot" in caplog.text


def test_no_guess_is_rejected_if_the_buildout_itself_asks_for_what_is_missing(world):
    world.asked.append(Requirement("gamma<2"))

    def first(wanted):
        world.copy("alpha")
        lacks = Requirement(wanted), world.working_set
        world.installer._eggcache_wanted = world.installer._eggcache_lacks = lacks
        return UserError("there is none")

    with pytest.raises(UserError):
        world.install(lambda: first("gamma<2"))
    # Another project requires this.
    world.install(lambda: first("gamma<2,>1"), lambda: None)


def test_without_a_guess_an_error_is_buildouts_own(world):
    def pinned():
        return VersionConflict(world.copy("alpha==1.0"), Requirement("alpha>1"))

    with pytest.raises(VersionConflict):
        world.install(pinned)


def test_an_error_that_is_no_conflict_is_buildouts_own(world):
    def failing():
        world.copy("alpha")
        return ValueError("a bug in a recipe")

    with pytest.raises(ValueError):
        world.install(failing)


def test_after_an_error_to_which_an_offer_has_led_everything_is_as_before(world):
    world.misled = [TypeError("not iterable")]

    def first():
        world.copy("alpha==1.0")
        return world.misled[0]

    def second():
        assert (world.working_set.entries, world.working_set.by_key) == ([], {})

    world.install(first, second)
    assert world.tries == 2


def test_a_conflict_that_the_index_has_too_is_buildouts_own(world):
    def first():
        return VersionConflict(world.copy("alpha"), Requirement("alpha>1"))

    second = VersionConflict(ALPHA, Requirement("alpha>1"))
    with pytest.raises(VersionConflict) as raised:
        world.install(first, lambda: second)
    assert raised.value is second


def test_only_a_new_egg_of_this_buildout_that_no_part_uses_is_removed(world):
    kept = []

    def first():
        kept.append(world.copy("alpha", folder="shared"))
        kept.append(world.copy("beta", is_new=False))
        return VersionConflict(Distribution("gamma", "1.0"), Requirement("gamma>1"))

    world.install(first, lambda: None)
    assert all(os.path.isdir(dist.location) for dist in kept)
    env = Environment(kept)
    world.conflicts.hide(env)
    assert env["alpha"] == env["beta"] == [], "what was rejected stays hidden"


def test_a_rejected_egg_is_hidden_if_its_name_has_a_dash(world):
    def first():
        return VersionConflict(world.copy("beta-two"), Requirement("beta-two>1"))

    world.install(first, lambda: None)
    assert world.installer._env["beta-two"] == []


def test_a_guess_of_an_earlier_part_stays_in_place_for_it(world):
    dist = world.copy("alpha")
    world.used.add(dist.location)

    def later():
        world.working_set.add(dist)
        return VersionConflict(dist, Requirement("alpha>1"))

    world.install(later, lambda: None)
    assert os.path.isdir(dist.location)


def test_an_egg_that_is_accepted_again_is_not_hidden(world):
    def first():
        return VersionConflict(world.copy("alpha"), Requirement("alpha>1"))

    def second():
        offer = _chooser.Offer(egg("alpha", "1.0"), Requirement("alpha"), None, world.installer)
        location = str(world.path / "buildout" / "eggs" / offer.file_name)
        found = Distribution("alpha", "1.0", location)
        world.conflicts.copied(found, offer)
        world.installer._env.add(found)
        world.conflicts.hide(world.installer._env)
        world.working_set.add(found)

    world.install(first, second)
    assert [dist.version for dist in world.installer._env["alpha"]] == ["1.0"]
    assert os.path.isdir(world.installer._env["alpha"][0].location)
