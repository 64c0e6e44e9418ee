"""Which projects are built with options, and the variant of a build."""

import types

import pytest

from eggcache import _compat
from eggcache._custom import CustomBuilds, projects
from fakes import RESOURCES


def projects_of(**sections):
    raw = {
        name: {option.replace("_", "-").replace("macro", "<"): value for option, value in options.items()}
        for name, options in sections.items()
    }
    return projects(types.SimpleNamespace(_raw=raw), RESOURCES)


CUSTOM = "zc.recipe.egg:custom"


def test_a_part_names_its_project_in_one_of_three_ways():
    found = projects_of(
        one=dict(recipe=CUSTOM, egg="My.Alpha"),
        two=dict(recipe=CUSTOM, eggs="beta[more] >= 1"),
        gamma=dict(recipe=CUSTOM),
        other=dict(recipe="zc.recipe.egg", eggs="delta"),
    )
    assert found == {"my-alpha", "beta", "gamma"}


def test_references_and_macros_are_resolved():
    found = projects_of(
        names=dict(it="alpha", recipe=CUSTOM + "x"),
        macro=dict(recipe=CUSTOM, egg="${names:it}"),
        part=dict(macro="macro"),
        own=dict(macro="macro", egg="${:name}", name="beta"),
    )
    assert found == {"alpha", "beta"}


@pytest.mark.parametrize("egg", ["${loop:egg}", "${nowhere:egg}", "not a name!"])
def test_an_unknown_name_makes_every_project_a_custom_one(egg):
    assert projects_of(loop=dict(recipe=CUSTOM, egg=egg)) is None
    assert CustomBuilds(None, "/srv/app").includes("anything")


def test_names_are_compared_in_canonical_form():
    custom = CustomBuilds({"my-alpha"}, "/srv/app")
    assert custom.includes("My.Alpha") and custom.includes("my_alpha")
    assert not custom.includes("alpha")


def test_a_build_makes_its_project_a_custom_one():
    custom = CustomBuilds(set(), "/srv/app")
    with custom.building("My.Alpha", {}):
        pass
    assert custom.includes("my-alpha")


def test_the_variant_depends_on_options_and_environment(monkeypatch):
    custom = CustomBuilds(set(), "/srv/app")

    def variant(build_ext):
        with custom.building("alpha", build_ext):
            return custom.variant

    plain = variant({"define": "X"})
    assert len(plain) == 64 and plain == variant({"define": "X"})
    assert plain != variant({"define": "Y"})
    monkeypatch.setenv("CFLAGS_OF_THIS_TEST", "-O3")
    assert plain != variant({"define": "X"})
    assert custom.variant == ""


def test_the_archive_is_forgotten_after_the_build():
    custom = CustomBuilds(set(), "/srv/app")
    with custom.building("alpha", {}):
        custom.fetched("alpha-1.0.tar.gz")
        assert custom.archive == "alpha-1.0.tar.gz"
    assert custom.archive is None


def test_the_time_of_a_custom_build_begins_when_its_archive_is_there(monkeypatch):
    custom = CustomBuilds(set(), "/srv/app")
    now = iter([100.0, 107.5])
    monkeypatch.setattr(_compat, "monotonic", lambda: next(now))
    assert custom.build_seconds(0.5) == 0.5, "any other egg is built in the step that buildout times"
    with custom.building("alpha", {}):
        assert custom.build_seconds(0.5) == 0.5, "nothing was fetched"
        custom.fetched("alpha-1.0.tar.gz")
        assert custom.build_seconds(0.5) == 7.5
    assert custom.build_seconds(0.5) == 0.5
