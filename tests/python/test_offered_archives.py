"""An egg is offered only if buildout would choose the archive that it was built from."""

import logging
import types

import pytest

import fakes
from fakes import Bridge, Installer, Places, Requirement, egg

A, B = "a" * 64, "b" * 64
LINK = "https://example.org/alpha-1.0.tar.gz"
OFFLINE = dict(dest=None)


def choose(eggs, text="alpha==1.0", choice="here", bridge=None, any_archive=False, **installer):
    chooser = fakes.chooser(*eggs, bridge=bridge, places=Places(choice), any_archive=any_archive)
    offered = chooser.choose(Installer(**installer), Requirement(text), None)
    return offered and offered.eggcache.digest


def alpha(digest, sha256, *choices):
    return egg("alpha", "1.0", "alpha-%s" % digest, sha256, choices)


HERE, ELSEWHERE = alpha("here", A, "here"), alpha("elsewhere", B, "elsewhere")
UNKNOWN = alpha("unknown", "")


def test_a_pin_gets_the_egg_of_its_own_choice():
    for eggs in ([HERE, ELSEWHERE], [ELSEWHERE, HERE]):
        assert choose(eggs) == "alpha-here"


@pytest.mark.parametrize("eggs", [[ELSEWHERE], [UNKNOWN], [alpha("bare", A)]])
@pytest.mark.parametrize("installer", [{}, {"newest": False}])
@pytest.mark.parametrize("text", ["alpha==1.0", "alpha"])
def test_an_egg_of_an_unknown_choice_is_not_offered(eggs, installer, text):
    assert choose(eggs, text, **installer) is None


def test_a_choice_that_cannot_be_known_is_left_to_buildout():
    assert choose([HERE], choice=None) is None


def test_a_choice_that_led_to_two_archives_is_left_to_buildout():
    assert choose([HERE, alpha("new", B, "here")]) is None


def test_two_eggs_of_one_archive_are_no_question():
    assert choose([HERE, alpha("again", A, "here")]) == "alpha-here"


def test_unpinned_requirements_get_the_best_of_their_own_choice():
    newer = egg("alpha", "2.0", None, B, ["elsewhere"])
    assert choose([newer, HERE], "alpha", newest=False) == "alpha-here"


@pytest.mark.parametrize("egg", [HERE, ELSEWHERE, UNKNOWN])
@pytest.mark.parametrize("text", ["alpha==1.0", "alpha"])
def test_offline_the_only_archive_will_do(egg, text):
    assert choose([egg], text, **OFFLINE) == egg["digest"]


def test_offline_several_archives_need_a_known_choice(caplog):
    caplog.set_level(logging.WARNING, logger="eggcache")
    assert choose([HERE, ELSEWHERE], **OFFLINE) == "alpha-here"
    assert not caplog.messages
    chooser = fakes.chooser(HERE, ELSEWHERE, places=Places("third"))
    for _ in range(2):
        assert chooser.choose(Installer(**OFFLINE), Requirement("alpha==1.0"), None) is None
    [message] = caplog.messages
    assert message.startswith("the cache has eggs of several archives of alpha")


@pytest.mark.parametrize(
    "eggs, options, expected",
    [
        ([UNKNOWN], {}, {"alpha"}),
        ([UNKNOWN], {"any_archive": True}, set()),
        ([UNKNOWN, HERE], {}, set()),
        # Its archive is known: buildout may still choose it.
        ([alpha("bare", A)], {}, set()),
        ([ELSEWHERE], {}, set()),
    ],
)
def test_a_project_is_noted_if_only_the_unknown_archive_keeps_its_egg_from_use(eggs, options, expected):
    chooser = fakes.chooser(*eggs, places=Places("here"), **options)
    chooser.choose(Installer(), Requirement("alpha==1.0"), None)
    assert chooser.unvouched == expected


def test_unknown_archives_can_be_allowed():
    assert choose([UNKNOWN], any_archive=True) == "alpha-unknown"
    assert choose([ELSEWHERE], any_archive=True) is None
    assert choose([UNKNOWN, HERE], any_archive=True) == "alpha-here"


# -- What buildout has chosen itself


def learn(eggs, location=LINK + "#sha256=" + A, archive=None, **options):
    """Offer an egg of the archive that buildout has chosen; return its digest and what is learned."""
    bridge = Bridge(*eggs)
    chooser = fakes.chooser(bridge=bridge, places=Places("third"), **options)
    available = types.SimpleNamespace(version="1.0", location=location)
    if archive is None:
        offered = chooser.same_as(Installer(), available, Requirement("alpha==1.0"), None)
    else:
        offered = chooser.same_as_fetched(Installer(), available, archive, Requirement("alpha==1.0"))
    learned = [parameters for op, parameters in bridge.calls if op == "learn"]
    return offered and offered.eggcache.digest, learned


def test_the_choice_of_buildout_is_learned_once():
    here = alpha("here", A, "here")
    assert learn([here, ELSEWHERE]) == ("alpha-here", [{"digest": "alpha-here", "choice": "third"}])
    assert learn([here]) == ("alpha-here", [])


def test_an_egg_of_another_archive_is_built():
    assert learn([ELSEWHERE]) == (None, [])


def test_an_archive_without_a_digest_in_its_link_is_compared_after_it_is_fetched(tmp_path):
    archive = tmp_path / "alpha-1.0.tar.gz"
    archive.write_bytes(b"code")
    sha256 = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b"
    same = alpha("same", sha256)
    assert learn([same], LINK) == (None, [])
    assert learn([same], LINK, str(archive))[0] == "alpha-same"
    assert learn([ELSEWHERE], LINK, str(archive)) == (None, [])
    # `same_as` has compared it already.
    assert learn([same], LINK + "#sha256=" + sha256, str(archive)) == (None, [])


def test_a_version_that_the_index_has_chosen_may_be_of_an_unknown_archive(tmp_path):
    archive = tmp_path / "alpha-1.0.tar.gz"
    archive.write_bytes(b"code")
    here = alpha("here", A)
    assert learn([UNKNOWN]) == (None, [])
    assert learn([UNKNOWN], any_archive=True) == ("alpha-unknown", [])
    assert learn([UNKNOWN, ELSEWHERE], any_archive=True) == ("alpha-unknown", [])
    assert learn([UNKNOWN, here], any_archive=True)[0] == "alpha-here", "the archive itself comes first"
    # Only the archive shows whether the other egg was built from it.
    assert learn([UNKNOWN, ELSEWHERE], LINK, any_archive=True) == (None, [])
    assert learn([UNKNOWN, ELSEWHERE], LINK, str(archive), any_archive=True) == ("alpha-unknown", [])
    assert learn([UNKNOWN], LINK, any_archive=True) == ("alpha-unknown", [])


def test_an_unpinned_project_is_noted_if_only_the_unknown_archive_keeps_its_egg_from_use():
    for eggs, expected in [([UNKNOWN], {"alpha"}), ([UNKNOWN, alpha("here", A)], set()), ([ELSEWHERE], set())]:
        chooser = fakes.chooser(*eggs)
        available = types.SimpleNamespace(version="1.0", location=LINK + "#sha256=" + A)
        chooser.same_as(Installer(), available, Requirement("alpha"), None)
        assert chooser.unvouched == expected
