"""The page of figures says what the results say. Needs only the standard library."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "benches"))

import measure  # noqa: E402  benches/ is not a package
import report  # noqa: E402


def figures(**walls):
    return {
        name: dict(wall=wall, min=wall, max=wall, cpu=wall, memory=40 << 20, files=7, bytes=9, rounds=5)
        for name, wall in walls.items()
    }


def entry(corpus, filesystem, state, left_out=(), **walls):
    return {
        "corpus": {"name": corpus, "eggs": 2, "files": 7, "bytes": 9 + len(corpus)},
        "filesystem": filesystem,
        "medium": "loop device",
        "state": state,
        "figures": figures(**walls),
        "left_out": dict(left_out),
    }


def results(**sections):
    machine = {"cores": 2, "memory_gib": 24, "system": "Linux", "kernel": "6.1"}
    return {
        name: {"machine": machine, "versions": {"uv": "0.13.9"}, "entries": entries}
        for name, entries in sections.items()
    }


class Plots(report.NoPlots):
    def __init__(self):
        self.made = []

    def bars(self, file, rows):
        self.made.append((os.path.basename(file), rows))

    def lines(self, file, title, across, up, series):
        self.made.append((os.path.basename(file), series))


def test_a_table_has_the_ratio_of_eggcache_to_each_contender():
    entries = {
        "a": entry("web", "xfs", "warm", eggcache=1.0, cp=4.0),
        "b": entry("web", "ext4", "warm", eggcache=1.0, cp=2.0, uv=3.0),
    }
    text = report.materialize(entries, report.NoPlots())
    assert "|  | ext4, warm | XFS, warm |" in text
    assert "| cp -a | 2.00 s (0.50) | 4.00 s (0.25) |" in text
    assert "| uv, copy mode | 3.00 s (0.33) |  |" in text


def test_contenders_left_out_are_on_the_page():
    missing = {"ostree": "ostree is not installed"}
    entries = {"a": entry("web", "ext4", "warm", missing, eggcache=1.0)}
    line = "Without ostree checkout on web, ext4, warm: ostree is not installed."
    assert line in report.materialize(entries, report.NoPlots())


def test_only_the_parts_between_markers_are_renewed():
    text = "Before\n<!-- gc -->\nof last year\n<!-- end -->\nbetween\n<!-- add -->\nstays\n<!-- end -->\nafter\n"
    measured = results(gc={"a": entry("web", "ext4", "cold", eggcache=1.0, rm=2.0)})
    plots = Plots()
    renewed = report.page(text, measured, plots)
    assert "of last year" not in renewed and "rm -rf | 2.00 s (0.50)" in renewed
    assert "<!-- end -->\nbetween\n<!-- add -->\nstays\n<!-- end -->\nafter\n" in renewed
    assert report.page(renewed, measured, plots) == renewed
    assert [name for name, _ in plots.made] == ["gc.svg"] * 2


def test_the_targets_table_shows_which_are_reached():
    def walls(corpus, **others):
        return entry(corpus, "ext4", "warm", eggcache=1.0, **others)

    measured = results(
        materialize={
            "a": walls("web", floor=0.9, cp=2.0, uv=1.9),
            "b": walls("scientific", floor=0.8, cp=1.0, uv=2.0),
        },
        remote={"a": walls("web", aws=2.0)},
        growth={"100000": {"look-up": {"wall": 0.0002}}},
    )
    rows = {row.split(" | ")[0]: row for row in report.targets(measured, None).splitlines()}
    assert rows["| materialize, warm, against the floor: web / scientific"].endswith(
        "| 1.30 / 1.60 | 1.15 / 1.40 | 1.11 / 1.25 | yes, stretch too |"
    )
    assert rows["| against `cp -a`, warm: web / scientific"].endswith("| 0.50 / 1 | **no** |")
    assert rows["| against uv's copy mode, warm: web / scientific"].endswith("| **no** |")
    pull = "| pull from a store on the loopback against `aws s3 sync` of the blobs, web"
    assert rows[pull].endswith("| 0.70 | 0.50 | 0.50 | yes, stretch too |")
    assert rows["| look-up of one egg in 100,000, inside the process"].endswith(
        "| 1 ms | 0.10 ms | 0.20 ms | yes |"
    )
    assert rows["| cache size against the eggs directory on disk: web / scientific"].endswith(
        "| not measured |  |"
    )


def test_buildouts_are_compared_with_stock():
    def taken(**walls):
        return {who: {"wall": wall, "cpu": wall} for who, wall in walls.items()}

    text = report.buildouts(
        {
            "scientific, 6.0.1, fresh folder": taken(cache=1.5, shared=2.0),
            "web, 6.0.1, nothing to do": taken(cache=0.3, shared=0.4, idle=0.404),
        },
        report.NoPlots(),
    )
    rows = text.splitlines()[2:]
    assert rows[0].startswith("| web, zc.buildout 6.0.1, nothing to do | ")
    assert rows[0].endswith(" | 0.75 | 1.01 |")
    assert rows[1].startswith("| scientific, zc.buildout 6.0.1, fresh folder | ")
    assert rows[1].endswith(" |  | 0.75 |  |")


def test_a_profile_has_every_second_once():
    def run(**seconds):
        parts = {part.replace("_", ": "): taken for part, taken in seconds.items()}
        return {"seconds": parts, "counts": {"bridge: find": 90}, "rounds": 3}

    ours, theirs = run(imports=0.2, bridge_find=0.01, new=0.03), run(imports=0.2)
    text = report.profile({"6.0.1": {"cache": ours, "shared": theirs}}, report.NoPlots())
    assert "|  | 6.0.1, from the cache | 6.0.1, on shared eggs |" in text
    assert "| imports of zc.buildout, setuptools and pkg_resources | 200 ms | 200 ms |" in text
    assert "| waiting: `find`, 90 times | 10 ms |  |" in text
    assert "| the rest | 30 ms |  |" in text
    assert "| all | 240 ms | 200 ms |" in text


def test_filling_the_cache_is_compared_with_a_plain_buildout():
    taken = figures(cache=10.2, without=10.0, downloading=20.0)
    taken["cache"].update(stored=90, spent=0.15)
    text = report.populate({"4.2.0": taken}, report.NoPlots())
    row = "| 10.0 s (10.0 s) | 10.2 s (10.2 s) | 1.020 (1.020) | 0.15 s | 20.0 s | 1.0% |"
    assert "| zc.buildout 4.2.0, 90 eggs " + row in text


def test_memory_of_all_processes_has_a_target():
    taken = {"ours": 150 << 20, "all": 250 << 20, "most": 3, "eggs": 90, "built": 1}
    text = report.page("<!-- memory -->\n<!-- end -->\n", results(memory={"web": {"converted": taken}}), None)
    assert "| web, 90 eggs, 1 built by pip | 150 MiB, 3 processes | 250 MiB |" in text
    rows = report.targets(results(targets={"cold, memory": [150, 100, 300]}), None).splitlines()
    [row] = [row for row in rows if row.startswith("| peak memory of all of eggcache's processes")]
    assert row.endswith("| 256 MiB | 128 MiB | 150 / 100 / 300 MiB | **no** |")


def test_a_pull_is_compared_with_another_program():
    pulled = entry("web", "ext4", "warm", eggcache=1.0, aws=2.0)
    pulled["figures"]["eggcache"]["requests"] = 180
    pulled["figures"]["aws"]["requests"] = 91
    text = report.remote({"web": pulled}, report.NoPlots())
    assert "| web, ext4, warm |  | least to most | user + system | peak memory | requests |" in text
    assert "| eggcache | **1.00 s** | 1.00 s to 1.00 s | 1.00 s | 40 MiB | 180 |" in text
    assert "| aws s3 sync | 2.00 s (0.50) | 2.00 s to 2.00 s | 2.00 s | 40 MiB | 91 |" in text


def test_a_bill_of_materials_is_compared_with_a_plain_bundle():
    walls = {"sbom": 0.25, "sbom --format spdx": 0.5, "bundle": 2.0, "bundle --sbom --provenance": 2.25}
    measured = entry("synthetic", "ext4", "warm", **walls)
    text = report.sbom({"a": measured}, report.NoPlots())
    assert "| `sbom` | 0.25 s | 0.25 s to 0.25 s | 0.25 s | 40 MiB |  |" in text
    assert "| `bundle --sbom --provenance` | 2.25 s | 2.25 s to 2.25 s | 2.25 s | 40 MiB | 0.25 s |" in text
    target = "| bill of materials of 334 eggs: CycloneDX / SPDX | 1 s | 0.50 s | "
    assert target + "not measured" in report.targets(results(sbom={"a": measured}), None)
    measured["corpus"]["eggs"] = 334
    assert target + "0.25 / 0.50 s | yes, stretch too |" in report.targets(results(sbom={"a": measured}), None)


def test_growth_has_the_time_per_egg():
    def grown(eggs, wall):
        names = [name for name, _ in report.OF_ONE_EGG + report.OF_ALL_EGGS]
        taken = {name: {"wall": wall, "memory": 40 << 20, "rounds": 3} for name in names}
        made = {"eggs": eggs, "entries": 100 * eggs, "bytes": 1, "stored": 8 << 20}
        return {**taken, "gc, a tenth": {**taken["gc, a tenth"], "eggs": eggs // 10}, "made": made}

    measured = results(growth={"10000": grown(10000, 2.0), "1000": grown(1000, 0.2)})
    plots = Plots()
    text = report.page("<!-- growth -->\n<!-- end -->\n", measured, plots)
    assert "|  | 1,000 eggs | 10,000 eggs |" in text
    assert "| `verify` | 200 ms (200 µs) | 2.00 s (200 µs) |" in text
    assert "| `gc` of a tenth of the eggs | 200 ms (2.00 ms) | 2.00 s (2.00 ms) |" in text
    assert "| verify, per MiB of blobs | 25.0 ms | 250 ms |" in text
    assert "| `verify` | 40 MiB | 40 MiB |" in text
    assert "Medians of 3 rounds. 2 cores" in text
    [(file, curves)] = plots.made
    assert file == "growth.svg" and ("verify", [(1000, 0.2), (10000, 2.0)]) in curves


def test_contenders_alternate_and_one_that_fails_has_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: None)
    ran = []

    def contender(name, command):
        def words(into):
            ran.append((name, os.path.basename(into)))
            return command

        return measure.Contender(name, words)

    left_out = {}
    both = [contender("good", ["true"]), contender("bad", ["false"])]
    taken = measure.alternate(both, str(tmp_path), 2, "warm", left_out)
    assert sorted(taken) == ["good"] and taken["good"]["rounds"] == 2
    assert sorted(left_out) == ["bad"]
    assert [into for name, into in ran if name == "good"] == ["warm-good-%d" % n for n in range(3)]


def test_a_target_for_several_corpora_is_not_reached_with_one():
    one, both = ({"targets": {"entries": {"cold, wall": values}}} for values in ([0.1], [0.1, 0.2]))
    measured = report.told("cold, wall", 2)
    assert measured(one) == [] and measured(both) == [0.1, 0.2]
    assert report.told("cold, wall")(one) == [0.1] and report.told("other")(one) == []
