"""The figures of docs/explanation/scale.md follow from the rules of `src/`, and the simulations are consistent.
Needs only the standard library."""

import functools
import json
import os
import random
import re
import subprocess
import sys

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "benches"))

import crowd  # noqa: E402  benches/ is not a package
import order  # noqa: E402
import remote_rules as rules  # noqa: E402
import scale  # noqa: E402
import svg  # noqa: E402
import team  # noqa: E402
from remote_rules import Requests  # noqa: E402


def source(name):
    with open(os.path.join(ROOT, "src", name)) as file:
        return file.read()


def constants(name):
    """The numeric constants of a Rust file, such as `1 << 20` or `12`."""
    found = re.findall(r"const (\w+): \w+ = ([\d_]+)(?: << (\d+))?;", source(name))
    return {constant: int(number) << int(shift or 0) for constant, number, shift in found}


def seconds(text):
    """The seconds of each duration in a text, such as `Duration::from_millis(250)`."""
    factors = {"millis": 0.001, "secs": 1, "mins": 60}
    return [factors[unit] * int(n) for unit, n in re.findall(r"Duration::from_(\w+)\((\d+)\)", text)]


# The rules agree with src/.


def test_constants_are_those_of_the_program():
    assert constants("remote/contended_write.rs")["TRIES"] == rules.TRIES
    assert constants("remote/publish.rs")["LARGE"] == rules.LARGE
    assert constants("remote/client/transfer.rs")["PART"] == rules.PART
    assert constants("remote/client/lines.rs")["MAX_LIST"] == rules.MAX_LIST
    parallel = constants("remote/parallel.rs")
    assert parallel["DOWNLOADS"] == parallel["LISTS"] == rules.AT_A_TIME
    assert parallel["UPLOADS"] == rules.PUSHED_AT_A_TIME
    valid_for = constants("serve/announced_sets.rs")["VALID_FOR"]
    assert valid_for == rules.TOLD_DAYS * 24 * 60 * 60


def test_patience_is_that_of_the_program():
    text = source("remote/client/patience.rs")
    found = re.findall(r"const (?:BUILD|COMMAND): Self = Self \{(.*?)\};", text, re.DOTALL)
    assert len(found) == 2
    for patience, modelled in zip(found, (rules.OF_BUILD, rules.OF_COMMAND)):
        fields = dict(re.findall(r"(\w+): (.*),", patience))
        assert int(fields["retries"]) == modelled.retries
        assert seconds(fields["most_between"]) == [modelled.most_between]
        assert seconds(fields["answer"]) == [modelled.answer]
    backoff = re.search(r"BackoffConfig \{(.*?)\}", source("remote/client/backends.rs"), re.DOTALL)[1]
    assert seconds(backoff) == [rules.BACKOFF]
    assert float(re.search(r"base: ([\d.]+)", backoff)[1]) == rules.BACKOFF_BASE


def test_lease_polling_is_that_of_the_program():
    text = source("remote/build_lease.rs")
    found = {name: seconds(value) for name, value in re.findall(r"const (\w+): .*?= (.*);", text)}
    assert (found["RENEWAL"], found["WAIT"]) == ([rules.RENEWAL], [rules.WAIT])
    assert tuple(found["POLL"]) == rules.LOOK


def test_the_pause_after_a_lost_race_is_that_of_the_program():
    assert "let most = 20u64 << attempt.min(6);" in source("remote/contended_write.rs")
    assert "fastrand::u64(most / 2..most / 2 + most)" in source("remote/contended_write.rs")
    chance = random.Random(1)
    for attempt, most in ((0, 0.020), (3, 0.160), (6, 1.280), (11, 1.280)):
        pauses = [crowd.jitter(chance, attempt) for _ in range(200)]
        assert most / 2 <= min(pauses) and max(pauses) < 1.5 * most


# What `eggcache push --all` and `pull` reported for the eggs of benches/corpora, with a folder as remote,
# before a run read the list of withdrawn builds, which is one request more.


@pytest.mark.parametrize("corpus, made, again", [("web", 454, 270), ("scientific", 841, 480)])
def test_a_push_makes_as_many_requests_as_eggcache_did(corpus, made, again):
    blobs = rules.BLOBS[corpus]
    pushed = functools.reduce(Requests.__add__, map(rules.push, blobs))
    assert pushed.made == made
    assert rules.push(0, is_there=True).times(len(blobs)).made == again
    # Pulling them all takes two requests for each egg.
    assert rules.hit().times(len(blobs)).made == 2 * len(blobs)


def test_an_entry_is_as_long_as_a_real_one():
    line = rules.entry_line("z3c-pt", "5.2").replace("z3c-pt-5.2-py3", "z3c.pt-5.2-py3")
    assert len(line) == 804


def program():
    for kind in ("release", "debug"):
        path = os.path.join(ROOT, "target", kind, "eggcache")
        if os.path.exists(path):
            return path
    pytest.skip("the program is not built")


def test_the_program_makes_as_many_requests_as_the_model(tmp_path):
    def run(*words):
        environment = dict(os.environ, EGGCACHE_SIGNING_KEY=str(tmp_path / "key"))
        command = [program(), "--cache", str(tmp_path / "cache"), *words, "--json"]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True)
        return json.loads(ran.stdout)

    chance = random.Random(1)
    for name, length in (("small", 10), ("middle", 1000), ("large", 3 << 20)):
        info = tmp_path / "eggs" / (name + "-1.0-py3.11.egg") / "EGG-INFO"
        info.mkdir(parents=True)
        (info / "PKG-INFO").write_text("Name: %s\nVersion: 1.0\n" % name)
        (info / "data").write_bytes(bytes(chance.getrandbits(8) for _ in range(length)))
    run("add", "eggs")
    run("keygen", "key")
    run("remote", "add", "team", str(tmp_path / "remote"), "--key", "key.pub", "--push")
    pushed, again = run("push", "--all"), run("push", "--all")
    # One report, or one for each remote pushed to.
    [pushed] = pushed if isinstance(pushed, list) else pushed.get("remotes", [pushed])
    blobs = [egg["blob_bytes"] for egg in pushed["eggs"]]
    assert max(blobs) >= rules.LARGE
    once = rules.withdrawals().made
    assert pushed["requests"] == functools.reduce(Requests.__add__, map(rules.push, blobs)).made + once
    [again] = again if isinstance(again, list) else again.get("remotes", [again])
    assert again["requests"] == rules.push(0, is_there=True).times(len(blobs)).made + once


# Numbers of requests.


def test_a_buildout_requests_its_set_and_missing_blobs():
    assert rules.known(0).billed == 0 == rules.wait_known(90, 0, 0)
    assert rules.known(90).billed == 91
    assert rules.hit().billed == 2 and rules.miss().billed == 1


def test_large_blobs_are_checked_first_and_sent_in_parts():
    small, large, parts = map(rules.push, (rules.LARGE - 1, rules.LARGE, 3 * rules.PART + 1))
    assert small == {"GET": 2, "PUT": 3} and large == {"GET": 2, "PUT": 3, "HEAD": 1}
    # Begin, four parts, end.
    assert parts.billed - large.billed == 5 and parts.made == large.made


def test_a_bill_follows_its_tiers():
    assert rules.tiered(0, rules.EGRESS_GB) == 0
    assert rules.tiered(10e3, rules.EGRESS_GB) == pytest.approx(900)
    assert rules.tiered(60e3, rules.EGRESS_GB) == pytest.approx(900 + 3400 + 700)
    nothing = Requests(PUT=1000, GET=1000)
    assert rules.bill(nothing, 1e12, 1e9, is_near=True) == pytest.approx(0.005 + 0.0004 + 0.023)


# Teams.


@pytest.mark.parametrize("is_warm", [True, False])
def test_every_fetch_and_build_of_a_team_is_counted_once(is_warm):
    month = team.Month(10, is_warm)
    assert sum(month.of_application.values()) == pytest.approx(month.sets)
    asked = month.requests()
    read = month.sets + (month.blobs - month.built) + month.first_blobs + month.built
    of_leases, of_ends = 2 * month.built, 2 * month.again + month.changes
    # Each run that reads its set reads the list of withdrawn builds, too.
    of_withdrawals = month.sets
    expected = read + of_withdrawals + of_leases + month.pushes["GET"] + of_ends
    assert asked["GET"] == pytest.approx(expected)
    assert asked["PUT"] == pytest.approx(month.built + month.pushes["PUT"] + month.changes)
    assert asked["POST"] == pytest.approx(month.built)
    # In each change, every egg was found there, built, or checked at the end.
    assert month.first_blobs + month.built + month.again == pytest.approx(month.changes * team.EGGS)
    if is_warm:
        assert month.changes <= month.sets < month.buildouts
    else:
        assert month.sets == pytest.approx(month.buildouts)
        assert month.blobs == pytest.approx(month.buildouts * team.EGGS)
        assert +month.told == {"GET": pytest.approx(month.buildouts - month.changes)}


def test_more_builders_pay_more_and_kept_caches_less():
    warm, cold = [[team.Month(builders, kept) for builders in (1, 10, 100)] for kept in (True, False)]
    for months in (warm, cold):
        bills = [month.bill() for month in months]
        assert bills == sorted(bills)
        for month in months:
            assert month.bill(is_near=True) < month.bill()
    for kept, new in zip(warm, cold):
        assert kept.bill() < new.bill() and kept.wait < new.wait and kept.built == new.built


def test_equal_seeds_make_equal_months():
    assert team.Month(10, True).requests() == team.Month(10, True).requests()


def test_an_application_is_as_large_as_the_corpus():
    month = team.Month(30, False)
    mean = month.blob_bytes / month.buildouts
    assert mean == pytest.approx(sum(rules.BLOBS["web"]), rel=0.15)


def test_a_larger_cache_fetches_less_and_keeps_its_limit():
    results = [team.evict(limit, 10) for limit in (50e6, 200e6, 800e6)]
    fetched = [bytes_ for bytes_, _ in results]
    assert fetched == sorted(fetched, reverse=True) and fetched[0] > fetched[-1]
    for limit, (_, largest) in zip((50e6, 200e6, 800e6), results):
        assert largest <= limit
    assert team.evict(50e6, 10, held_days=30) == team.evict(None, 10)


# Crowds.


@pytest.mark.parametrize("look", [None, crowd.look_as_is])
@pytest.mark.parametrize("is_limited", [True, False])
def test_every_builder_of_a_herd_builds_or_fetches(look, is_limited):
    herd = crowd.herd(1500, 1, 60, look, is_limited=is_limited)
    assert herd.builds + herd.alone + herd.fetched == 1500
    assert len(herd.waits) == herd.fetched and all(wait > 0 for wait in herd.waits)
    assert herd.builds == 1 or look is None
    if not is_limited:
        assert herd.alone == herd.store.refused == 0
    counts = herd.store.counts
    assert sum(herd.store.seconds["GET"].values()) == counts["GET"] + counts["HEAD"]
    assert sum(herd.store.seconds["PUT"].values()) == counts["PUT"] + counts["POST"]


def test_without_leases_all_early_builders_build():
    assert crowd.herd(500, 100, 300, None).builds == 500
    some = crowd.herd(500, 100, 30, None)
    assert 100 < some.builds < 200 and some.builds + some.fetched == 500


def test_one_builder_makes_the_requests_of_the_rules():
    alone = crowd.herd(1, 1, 35)
    expected = rules.miss() + rules.miss() + rules.lease(35) + rules.push(1) + rules.finish(1, 1)
    assert alone.store.counts == {kind: n for kind, n in expected.items() if n}
    for blobs in (1, 7, 90):
        assert crowd.start(1, 1, blobs=blobs).store.counts == rules.known(blobs)


def test_more_patience_with_503_loses_fewer_builders():
    few = rules.Patience(1, 0.8, 2.2)
    lost = [crowd.start(300, 1, it).without for it in (few, rules.OF_BUILD, rules.OF_COMMAND)]
    assert lost == sorted(lost, reverse=True) and lost[0] > lost[-1] == 0


def test_a_refused_request_is_retried_within_its_limits():
    for patience in (rules.OF_BUILD, rules.OF_COMMAND):
        for seed in range(50):
            backoff, times = crowd.Backoff(random.Random(seed), patience, 5.0), [5.0]
            while times[-1] is not None:
                times.append(backoff.again(times[-1]))
            times.pop()
            assert times[1] == 5.0 + rules.FIRST_BYTE + rules.BACKOFF
            assert len(times) <= 1 + patience.retries
            assert times[-1] + rules.FIRST_BYTE <= 5.0 + patience.answer
            pauses = [after - before - rules.FIRST_BYTE for before, after in zip(times, times[1:])]
            assert max(pauses) <= patience.most_between + 1e-9


# The order of requests.


@pytest.mark.parametrize("corpus", order.CORPORA)
def test_a_buildout_asks_for_each_egg_once(corpus):
    requires = order.CORPORA[corpus]["requires"]
    assert len(requires) == len(rules.BLOBS[corpus])
    for is_built in (False, True):
        run = order.Run(corpus, is_built)
        assert run.here == run.listed == set(requires)
    found, built = order.Run(corpus), order.Run(corpus, is_built=True)
    assert built.rounds > found.rounds and built.ahead < found.ahead < len(requires)
    assert built.seconds > len(requires) * rules.wait_build()
    slow = order.Run(corpus, blob_bytes=rules.BANDWIDTH)
    assert len(requires) < slow.seconds < found.seconds + len(requires)


def test_known_requirements_are_requested_together(monkeypatch):
    requires = {name: [] for name in "bcdefghijk"}
    monkeypatch.setitem(order.CORPORA, "some", {"installs": [["a"]], "requires": {**requires, "a": list(requires)}})
    run = order.Run("some")
    # The set; then a; the lists of the ten others in two rounds; their blobs in two.
    assert (run.rounds, run.ahead) == (3, 10)
    assert run.seconds == pytest.approx(0.7, abs=0.01)


# Several writers of one list.


def test_every_writer_of_a_list_succeeds_or_gives_up():
    before = 0
    for count in (1, 2, 10, 100):
        it = crowd.writers(count)
        assert it.versions + it.gave_up == count
        assert it.requests == 2 * round(it.tries * count)
        assert it.tries >= before
        before = it.tries
    assert crowd.writers(1).tries == 1
    assert crowd.writers(100, is_same=True)[:2] == (1.99, 0)


# The page.


def test_the_page_shows_the_simulated_figures():
    """Checks the sections that are quick to compute."""
    with open(scale.PAGE) as file:
        page = file.read()
    for section in ("buildouts", "writers", "lists", "assumptions"):
        written = re.search("<!-- %s -->\n\n(.*?)\n<!-- end -->" % section, page, re.DOTALL)[1]
        assert written == scale.SECTIONS[section](), section
    assert re.findall("<!-- (?!end)(.*?) -->", page) == list(scale.SECTIONS)


def test_a_plot_is_the_same_each_time_and_has_all_names(tmp_path):
    file = tmp_path / "plots" / "some.svg"
    curves = [("one & two", [(1, 1), (1000, 50)]), ("three", [(1, 2), (1000, 50)])]
    texts = []
    for _ in range(2):
        svg.lines(str(file), "A < B", "x", "y", curves, log=(True, False), limit=(40, "limit"))
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    for words in ("A &lt; B", "one &amp; two", "three", "limit", "1,000"):
        assert ">%s<" % words in texts[0]
    ends = [float(y) for y in re.findall(r'x="\d+\.0" y="([\d.]+)" text-anchor="start"', texts[0])]
    assert len(set(ends)) == len(ends)
