"""Lines of the log that say where an egg came from, and why it was a miss."""

import logging
import types

import pytest

from eggcache import _bridge
from fakes import Bridge, Distribution, egg
from test_session import begin, build, messages  # noqa: F401

WHY = "evicted on 2026-11-01: the cache was over its size limit"


class Converter:
    """A converter that has made the egg of the last wheel, or says why not."""

    def __init__(self, made=None, obstacle=None):
        self.made = made
        self.obstacle = obstacle

    def take_obstacle(self):
        return self.obstacle


@pytest.fixture
def copied(begin, tmp_path):  # noqa: F811
    """Copies alpha 1.0, with this answer of the program."""

    def copied(**answer):
        run = begin(Bridge(egg("alpha", "1.0")))
        path = str(tmp_path / "eggs" / "alpha-1.0-py3.11.egg")
        run.bridge.answers["materialize"] = dict({"path": path, "outcome": "copied"}, **answer)
        installer = types.SimpleNamespace(_dest=None)
        offer = types.SimpleNamespace(
            digest="a",
            file_name="alpha-1.0-py3.11.egg",
            requirement=None,
            installer=installer,
            is_guess=False,
        )
        dist = Distribution("alpha", "1.0")
        dist.eggcache = offer
        run._expect_dependencies = lambda found, offer: None
        run.materialize(dist, str(tmp_path / "eggs"))
        return run

    return copied


def test_a_hit_says_whether_it_came_from_the_cache_or_from_a_remote(copied, caplog):
    caplog.set_level(logging.INFO, logger="eggcache")
    copied()
    copied(remote="team")
    copied(outcome="present")
    assert messages(caplog) == ["alpha 1.0 (cache)", "alpha 1.0 (remote team)"]


def test_a_miss_says_how_the_egg_was_made(begin, caplog, tmp_path):  # noqa: F811
    caplog.set_level(logging.INFO, logger="eggcache")
    run = begin(Bridge())
    run.bridge.answers.update(built={"why": WHY}, store={"outcome": "queued"})
    run.converter = Converter("alpha-1.0-py3.11.egg")
    build(run, tmp_path)
    build(run, tmp_path, "beta")
    assert messages(caplog) == ["alpha 1.0 (converted)", "beta 1.0 (built, 1.5 s)"]
    assert run.tally.converted == 1
    [alpha, beta] = [parameters for op, parameters in run.bridge.calls if op == "built"]
    assert (alpha["name"], alpha["version"], alpha["is_converted"]) == ("alpha", "1.0", True)
    assert (beta["is_converted"], beta["build_seconds"]) == (False, 1.5)


def test_with_v_one_line_says_why_an_egg_was_a_miss(begin, caplog, tmp_path):  # noqa: F811
    caplog.set_level(logging.DEBUG, logger="eggcache")
    run = begin(Bridge())
    run.bridge.answers.update(built={"why": WHY}, store={"outcome": "queued"})
    build(run, tmp_path)
    run.converter = Converter(obstacle="PIP_PREFIX may change what pip installs")
    build(run, tmp_path, "beta")
    assert [line for line in messages(caplog) if "was not in the cache" in line] == [
        "alpha 1.0 was not in the cache: %s." % WHY,
        "beta 1.0 was not in the cache: %s; not converted: PIP_PREFIX may change what pip installs." % WHY,
    ]


def test_a_miss_that_is_not_explained_fails_nothing(begin, caplog, tmp_path):  # noqa: F811
    caplog.set_level(logging.INFO, logger="eggcache")
    run = begin(Bridge())
    run.bridge.answers.update(
        built=_bridge.Refusal("the index is damaged", "failure"), store={"outcome": "queued"}
    )
    build(run, tmp_path)
    assert messages(caplog) == ["alpha 1.0 (built, 1.5 s)"]
    assert run.is_active and run.bridge.ops()[-1] == "store"
