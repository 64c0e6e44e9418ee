"""A cache that fails, the summary of a run, and waiting for other builders."""

import logging
import os
import types

import pytest

import fakes
from eggcache import _bridge, _session
from eggcache._custom import CustomBuilds
from fakes import Bridge, Distribution, Installer, Places, Requirement, egg

PIN = Requirement("alpha==1.0")
ARCHIVE = "https://example.org/alpha-1.0.tar.gz#sha256=" + "a" * 64


def session(bridge, monkeypatch, tmp_path, **opened):
    """A session that uses a fake bridge."""
    bridge.answers["open"] = dict({"read_only": False, "torn": []}, **opened)
    monkeypatch.setattr(_bridge, "find_program", lambda: "eggcache")
    monkeypatch.setattr(_bridge, "Bridge", lambda program: bridge)
    monkeypatch.setattr(_session._host, "describe", lambda *args: {})
    monkeypatch.setattr(_session.Session, "_version", lambda self, project: "1.0")
    easy_install = types.SimpleNamespace(
        pkg_resources=fakes.RESOURCES,
        realpath=os.path.realpath,
        logger=logging.getLogger("zc.buildout.easy_install"),
        IncompatibleConstraintError=KeyError,
        _get_matching_dist_in_location=lambda dist, location: Distribution("alpha", "1.0", location),
    )
    options = {"directory": str(tmp_path)}
    for name in ("eggs-directory", "develop-eggs-directory"):
        options[name] = str(tmp_path / name)
    monkeypatch.setattr(_session, "Places", lambda easy_install, options: Places())
    found = _session.Session(easy_install, options, CustomBuilds(set(), "/srv/app"))
    found.open(str(tmp_path / "cache"), "")
    return found


@pytest.fixture
def begin(monkeypatch, tmp_path):
    return lambda bridge, **opened: session(bridge, monkeypatch, tmp_path, **opened)


@pytest.fixture(autouse=True)
def info(caplog):
    caplog.set_level(logging.INFO, logger="eggcache")


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


# -- Failures


def test_a_failure_is_one_warning_and_the_end_of_the_cache(begin, caplog):
    bridge = Bridge()
    run = begin(bridge)
    bridge.answers["find"] = _bridge.BridgeError("the program ended")
    for _ in range(2):
        assert run.choose(Installer(), PIN, None) is None
    assert messages(caplog) == ["the program ended; continuing without the cache."]
    assert bridge.is_killed and not run.is_active
    run.register()
    run.close()
    assert len(messages(caplog)) == 1 and bridge.ops() == ["open", "find"]


def test_a_failed_prefetch_is_one_warning(begin, caplog):
    bridge = Bridge(egg("alpha", "1.0"))
    run = begin(bridge)
    bridge.answers["find"] = [{}, _bridge.BridgeError("the program ended")]
    run.expect(Installer(), [PIN, Requirement("beta==1.0")])
    assert messages(caplog) == ["the program ended; continuing without the cache."]


def test_a_cache_that_cannot_be_opened_is_one_warning(begin, caplog):
    bridge = Bridge()
    run = begin(bridge)
    bridge.answers["open"] = ValueError()
    run.open("elsewhere", "")
    assert messages(caplog) == ["ValueError; continuing without the cache."]
    assert not run.is_active


def test_a_copied_egg_stays_in_place_after_a_later_failure(begin, caplog, monkeypatch):
    run = begin(Bridge(egg("alpha", "1.0")))
    run.bridge.answers["materialize"] = {"path": "eggs/alpha-1.0-py3.11.egg", "bytes": 10}
    offered = run.choose(Installer(), PIN, None)

    def fail(self, extras=()):
        raise ValueError("metadata")

    monkeypatch.setattr(Distribution, "requires", fail)
    assert run.materialize(offered, "eggs").location == "eggs/alpha-1.0-py3.11.egg"
    assert messages(caplog) == ["metadata; continuing without the cache."]


def test_a_forked_process_does_not_use_the_bridge(begin, monkeypatch):
    run = begin(Bridge())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    run.register()
    run.close()
    assert run.bridge.ops() == ["open"]


# -- Copying


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("unavailable", []),
        ("unusable", ["the egg is gone; building alpha 1.0."]),
        ("failure", ["the egg is gone; continuing without the cache."]),
    ],
)
def test_an_egg_that_cannot_be_copied_is_built(begin, caplog, kind, expected):
    run = begin(Bridge(egg("alpha", "1.0")))
    offered = run.choose(Installer(), PIN, None)
    run.bridge.answers["materialize"] = _bridge.Refusal("the egg is gone", kind)
    assert run.materialize(offered, "eggs") is None
    assert messages(caplog) == expected and run.is_active == (kind != "failure")


def test_an_egg_installed_by_a_parallel_buildout_is_used(begin, caplog):
    run = begin(Bridge(egg("alpha", "1.0")))
    offered = run.choose(Installer(), PIN, None)
    run.bridge.answers["materialize"] = _bridge.Refusal("it is there", "in-the-way")
    assert run.materialize(offered, "eggs").location == "eggs/alpha-1.0-py3.11.egg"
    assert not messages(caplog) and run.tally.hits == 0


def test_the_requirements_of_an_egg_are_copied_ahead(begin):
    bridge = Bridge(egg("alpha", "1.0"), egg("beta", "2.0"), egg("gamma", "1.0"))
    run = begin(bridge)
    offered = run.choose(Installer(), PIN, None)
    bridge.answers["materialize"] = {"path": "eggs/alpha-1.0-py3.11.egg", "bytes": 10}
    wanted = [Requirement("beta==2.0"), Requirement("gamma")]
    matching = lambda dist, location: Distribution("alpha", "1.0", location, requires=wanted)
    run.easy_install._get_matching_dist_in_location = matching
    run.materialize(offered, "eggs")
    # Gamma has no pin: the index decides.
    assert bridge.calls[-1] == ("prefetch", {"digests": ["beta-2.0"], "into": "eggs"})


def test_the_requirements_of_an_egg_that_buildout_has_fetched_itself_are_fetched_ahead(begin):
    run, wanted = begin(Bridge()), []
    ahead = types.SimpleNamespace(fetcher=None, want=lambda installer, it: wanted.append(it.project_name))
    run.ahead = run.copier.ahead = ahead
    alpha = Distribution("alpha", "1.0", requires=[Requirement("beta==2.0")])
    run.arrived(Installer(), PIN, [alpha])
    assert not wanted, "nothing is fetched ahead in this run"
    ahead.fetcher = object()
    run.arrived(Installer(), PIN, [alpha])
    assert wanted == ["beta"]


def test_incomplete_eggs_that_were_removed_are_named(begin, caplog):
    begin(Bridge(), torn=["alpha-1.0-py3.11.egg", "beta-1.0-py3.11.egg"])
    assert messages(caplog) == [
        "removed eggs that were left incomplete when the machine went down:"
        " alpha-1.0-py3.11.egg, beta-1.0-py3.11.egg."
    ]


# -- Storing


def build(run, tmp_path, name="alpha"):
    path = tmp_path / "eggs-directory" / (name + "-1.0-py3.11.egg")
    path.mkdir(parents=True)
    run.built(Distribution(name, "1.0", str(path)), "no-archive", str(path.parent), 1.5)


def test_a_built_egg_is_stored_and_counted(begin, caplog, tmp_path):
    run = begin(Bridge())
    run.bridge.answers.update(
        store={"outcome": "queued"},
        settle={"outcomes": [{"path": "alpha-1.0-py3.11.egg", "outcome": "stored"}]},
        close={},
    )
    build(run, tmp_path)
    run.close()
    assert (run.tally.misses, run.tally.stored) == (1, 1)
    where, line = messages(caplog)
    assert where == "alpha 1.0 (built, 1.5 s)"
    assert line.startswith("0 hits, 1 miss, 1 stored; 0.0 MiB copied, 0.0")


def test_an_egg_that_is_refused_is_named(begin, caplog, tmp_path):
    run = begin(Bridge())
    run.bridge.answers["store"] = {"outcome": "refused", "reason": "it has a symlink"}
    build(run, tmp_path)
    refused = "did not store alpha-1.0-py3.11.egg: it has a symlink."
    assert messages(caplog) == [refused, "alpha 1.0 (built, 1.5 s)"]


def test_a_cache_that_is_full_is_one_warning_and_still_serves(begin, caplog, tmp_path):
    run = begin(Bridge(egg("gamma", "1.0")))
    run.bridge.answers.update(store={"outcome": "queued"}, settle={"outcomes": [], "failure": "it is full"})
    build(run, tmp_path)
    run.storer.settle()
    build(run, tmp_path, "beta")
    run.storer.settle()
    full = "it is full; storing no more eggs in this run."
    assert messages(caplog) == ["alpha 1.0 (built, 1.5 s)", full, "beta 1.0 (built, 1.5 s)"]
    assert run.bridge.ops().count("store") == 1
    assert run.choose(Installer(), Requirement("gamma==1.0"), None)


def test_a_read_only_cache_is_one_warning_and_nothing_is_stored(begin, caplog, tmp_path):
    run = begin(Bridge(), read_only=True)
    assert messages(caplog) == [], "it may have every egg"
    run.bridge.answers["store"] = _bridge.Refusal("the cache is read-only", "failure")
    build(run, tmp_path)
    build(run, tmp_path, "beta")
    assert run.bridge.ops().count("store") == 1 and run.tally.misses == 2
    refused = "the cache is read-only; storing no more eggs in this run."
    assert messages(caplog) == [refused, "alpha 1.0 (built, 1.5 s)", "beta 1.0 (built, 1.5 s)"]


# -- Other builders


def test_a_builder_waits_for_another_one(begin, caplog, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    run = begin(Bridge(), remotes="builder")
    held, built = {"lease": "held", "wait": 2}, {"lease": "built"}
    run.bridge.answers["lease"] = [held, held, built]
    run.bridge.eggs.append(egg("alpha", "1.0", source_sha256="a" * 64))
    offered = run.await_build(Installer(), Distribution("alpha", "1.0", ARCHIVE))
    assert offered.eggcache.digest == "alpha-1.0" and slept == [2, 2]
    assert messages(caplog) == ["another builder is building alpha 1.0; waiting for it."]


@pytest.mark.parametrize("lease", ["taken", "none"])
def test_a_builder_with_the_lease_builds(begin, lease):
    run = begin(Bridge(egg("alpha", "1.0")), remotes="builder")
    run.bridge.answers["lease"] = {"lease": lease}
    assert run.await_build(Installer(), Distribution("alpha", "1.0", ARCHIVE)) is None


def test_only_an_egg_of_the_same_archive_counts(begin):
    run = begin(Bridge(egg("alpha", "1.0", source_sha256="b" * 64)), remotes="builder")
    run.bridge.answers["lease"] = {"lease": "built"}
    dist = Distribution("alpha", "1.0", "https://example.org/alpha-1.0.tar.gz#sha256=" + "a" * 64)
    assert run.await_build(Installer(), dist) is None
    dist = Distribution("alpha", "1.0", "https://example.org/alpha-1.0.tar.gz#sha256=" + "b" * 64)
    assert run.await_build(Installer(), dist).eggcache.digest == "alpha-1.0"
    asked = len(run.bridge.calls)
    dist = Distribution("alpha", "1.0", "https://example.org/alpha-1.0.tar.gz")
    assert run.await_build(Installer(), dist) is None and len(run.bridge.calls) == asked


def test_a_reader_takes_no_lease(begin):
    run = begin(Bridge(), remotes="reader")
    assert run.await_build(Installer(), Distribution("alpha", "1.0", ARCHIVE)) is None
    assert run.bridge.ops() == ["open"]


def test_offline_the_log_says_why_an_egg_is_missing_and_that_no_remote_is_asked(begin, caplog):
    bridge = Bridge()
    bridge.answers["built"] = {"why": "evicted"}
    run = begin(bridge, unasked_remotes=["team", "mirror"])
    for requirement in (PIN, PIN, Requirement("beta==1.*,<3")):
        run.lacks_offline(requirement)
    assert messages(caplog) == [
        "alpha==1.0 is not in the cache: evicted.",
        "offline, no remote is asked for it (team, mirror).",
        "beta<3,==1.* is not in the cache: evicted.",
    ]
    assert str(run.tally).startswith("0 hits, 0 misses, 2 missing, 0 stored;")
    noted = [asked for op, asked in bridge.calls if op == "built"]
    assert [(it["name"], it["missing"]) for it in noted] == [("alpha", "==1.0"), ("beta", "<3,==1.*")]
    assert {it["lack"] for it in noted} == {"offline"}


def test_what_an_online_run_lacks_is_noted_once_and_buildout_says_why(begin, caplog):
    run = begin(Bridge())
    for is_not_found in (True, False):
        run.lacks(PIN, is_not_found)
    run.lacks(Requirement("beta==1.*,<3"), False)
    run.chooser.reject(Distribution("gamma", "1.0"))
    run.lacks(Requirement("gamma"), False)
    noted = [(it["name"], it["lack"]) for op, it in run.bridge.calls if op == "built"]
    assert noted == [("alpha", "not-found"), ("beta", "not-installed")]
    assert messages(caplog) == [] and run.tally.missing == 2


# -- The summary


@pytest.mark.parametrize(
    "counts, expected",
    [
        ({}, "0 hits, 0 misses, 0 stored; 0.0 MiB copied, 0.00 s in eggcache"),
        (dict(hits=1, misses=1, stored=1), "1 hit, 1 miss, 1 stored; 0.0 MiB copied, 0.00 s in eggcache"),
        (dict(hits=2, pushed=0), "2 hits, 0 misses, 0 stored, 0 pushed; 0.0 MiB copied, 0.00 s in eggcache"),
        (
            dict(misses=20, copied_bytes=48930000, seconds=0.104),
            "0 hits, 20 misses, 0 stored; 46.7 MiB copied, 0.10 s in eggcache",
        ),
        (
            dict(misses=334, converted=330, stored=334),
            "0 hits, 334 misses: 330 converted, 4 built, 334 stored; 0.0 MiB copied, 0.00 s in eggcache",
        ),
    ],
)
def test_the_summary_counts_in_plain_english(counts, expected):
    tally = _session.Tally()
    for name, value in counts.items():
        setattr(tally, name, value)
    assert str(tally) == expected


def test_warnings_at_the_end_come_before_the_summary(begin, caplog):
    run = begin(Bridge(), remotes="builder")
    run.bridge.answers["close"] = {"pushed": 2, "warnings": ["remote team: no answer"]}
    run.close()
    warning, summary = messages(caplog)
    assert warning == "remote team: no answer." and "0 stored, 2 pushed; " in summary
    run.close()
    assert len(messages(caplog)) == 2


def test_a_run_that_has_failed_says_so_at_its_end_unless_it_succeeds_after_all(begin):
    for is_registered, expected in [(False, {"failed": True}), (True, {})]:
        run = begin(Bridge())
        run.has_failed = True
        if is_registered:
            run.register()
        bridge = run.bridge
        run.close()
        assert bridge.calls[-1] == ("close", expected)


def test_what_is_known_to_remain_falls_to_zero(begin):
    run = begin(Bridge())
    run.progress = types.SimpleNamespace(show=lambda text: None, erase=lambda: None, end=lambda: None)
    installer = Installer()
    remaining = lambda: run._progress_text().rpartition(", ")[2]  # noqa: E731
    run.expect(installer, [PIN, Requirement("beta")])
    assert remaining() == "2 remaining"
    alpha = Distribution("alpha", "1.0", requires=[Requirement("Gamma_Delta")])
    run.arrived(installer, PIN, [alpha])
    run.arrived(installer, Requirement("beta"), [Distribution("beta", "1.0")])
    assert remaining() == "1 remaining"
    run.arrived(installer, Requirement("gamma-delta"), [Distribution("gamma-delta", "1.0")])
    assert run._progress_text() == "eggcache: 0 converted, 0 remaining"
