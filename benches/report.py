"""Write the tables and plots of docs/explanation/performance.md from docs/explanation/performance/results.json.

    python3 benches/report.py

Each section is one function here: it gets the entries of its section and a plotter, and returns the
Markdown between `<!-- SECTION -->` and `<!-- end -->`. Without matplotlib the plots stay unchanged.
"""

import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "explanation", "performance.md")
FOLDER = os.path.join(ROOT, "docs", "explanation", "performance")

NAMES = {
    "eggcache": "eggcache",
    "floor": "the floor",
    "cp": "cp -a",
    "rsync": "rsync -a",
    "tar": "tar x",
    "uv": "uv, copy mode",
    "ostree": "ostree checkout",
    "rm": "rm -rf",
    "aws": "aws s3 sync",
}
FILESYSTEMS = {"ext4": "ext4", "btrfs": "Btrfs", "xfs": "XFS"}
STATES = {"warm": "warm", "cold": "cold page cache", "": ""}


def main():
    with open(os.path.join(FOLDER, "results.json")) as file:
        results = json.load(file)
    try:
        import plots
    except ImportError:
        print("!!! matplotlib is missing: the plots stay unchanged", file=sys.stderr)
        plots = NoPlots()
    with open(PAGE) as file:
        text = file.read()
    text = page(text, results, plots)
    with open(PAGE, "w") as file:
        file.write(text)


class NoPlots:
    def bars(self, *_):
        pass

    lines = bars


def page(text, results, plots):
    """The page with the parts of all measured sections renewed."""
    for section, write in SECTIONS.items():
        entries = results if section == "targets" else results.get(section, {}).get("entries")
        if not entries:
            continue
        marked = re.compile("(<!-- %s -->\n).*?(<!-- end -->)" % re.escape(section), re.DOTALL)
        if not marked.search(text):
            print("!!! %s has no markers for %s" % (os.path.basename(PAGE), section), file=sys.stderr)
            continue
        written = write(entries, plots)
        if section != "targets":
            written += "\n" + measured_with(results[section], written)
        text = marked.sub(lambda match: match[1] + "\n" + written + "\n" + match[2], text)
    return text


# The sections.


def materialize(entries, plots):
    parts = []
    for corpus, sets in by_corpus(entries):
        parts.append(describe(corpus) + "\n")
        names = order(sets)
        rows = []
        for name in names:
            row = [shown(name)]
            for entry in sets:
                figures = entry["figures"]
                if name not in figures:
                    row.append("")
                elif name == "eggcache":
                    row.append("**%s**" % seconds(figures[name]["wall"]))
                else:
                    row.append("%s (%s)" % (seconds(figures[name]["wall"]), ratio(figures, name)))
            rows.append(row)
        parts.append(table([""] + [where(entry) for entry in sets], rows))
        parts.append("On %s in more detail:\n" % where(sets[0]))
        rows = [
            [
                shown(name),
                "%s to %s" % (seconds(taken["min"]), seconds(taken["max"])),
                seconds(taken["cpu"]),
                mebibytes(taken["memory"]),
                "{:,}".format(taken["files"]),
                mebibytes(taken["bytes"]),
            ]
            for name, taken in sets[0]["figures"].items()
            if name in names
        ]
        rows.sort(key=lambda row: [shown(name) for name in names].index(row[0]))
        head = ["", "least to most", "user + system", "peak memory", "files written", "bytes"]
        parts.append(table(head, rows))
        parts.append("![%s](performance/materialize-%s.svg)\n" % (corpus["name"], slug(corpus)))
        plots.bars(
            os.path.join(FOLDER, "materialize-%s.svg" % slug(corpus)),
            [
                [panel(entry) for entry in sets if (entry["filesystem"], entry["medium"]) == kind]
                for kind in unique((entry["filesystem"], entry["medium"]) for entry in sets)
            ],
        )
    return "\n".join(parts + left_out(entries))


def add(entries, plots):
    parts = [compared(entries)]
    rows = []
    for corpus, sets in by_corpus(entries):
        for name in order(sets):
            kept = sets[0]["figures"][name].get("bytes")
            if kept and "sync" not in name:
                rows.append([corpus["name"], shown(name), mebibytes(kept)])
    parts.append("Written to disk:\n")
    parts.append(table(["", "", "on disk"], rows))
    parts.append(pictured("add", entries, plots))
    return "\n".join(parts + left_out(entries))


def verify(entries, plots):
    return "\n".join(
        [compared(entries), pictured("verify", entries, plots)] + left_out(entries)
    )


def gc(entries, plots):
    return "\n".join([compared(entries), pictured("gc", entries, plots)] + left_out(entries))


def size(entries, plots):
    rows = []
    for corpus, sets in by_corpus(entries):
        for entry in sets:
            cache, eggs = entry["figures"]["eggcache"]["disk"], entry["figures"]["eggs"]["disk"]
            row = [corpus["name"], where(entry), mebibytes(eggs), mebibytes(cache)]
            rows.append(row + ["%.2f" % (cache / eggs)])
    return table(["", "", "eggs directory", "cache", "cache / eggs directory"], rows)


def encodings(entries, plots):
    parts = []
    for corpus, entry in sorted(entries.items(), reverse=True):
        parts.append("**%s**\n" % corpus)
        lines = []
        for row in entry["rows"]:
            megabytes = row["bytes"] / 1e6
            lines.append(
                [
                    "%d KiB, %s" % (row["frame_size"] >> 10, encoding(row)),
                    "%.3f" % (row["stored"] / row["bytes"]),
                    "" if row["codec"] == "raw" else "%.0f MB/s" % (megabytes / row["encode_seconds"]),
                    "" if row["codec"] == "raw" else "%.0f MB/s" % (megabytes / row["decode_seconds"]),
                    "%.1f%%" % (100 * row["raw_frames"] / row["frames"]),
                ]
            )
        head = ["frames", "stored / content", "encode, one core", "decode, one core", "raw frames"]
        parts.append(table(head, lines))
    return "\n".join(parts)


def encoding(row):
    if row["codec"] != "zstd":
        return row["codec"]
    name = "zstd %d" % row["level"]
    if row["raw_from"] < 1:
        name += ", raw from %d%%" % round(100 * row["raw_from"])
    return name


def packings(entries, plots):
    parts = []
    for corpus, sets in by_corpus(entries):
        for entry in sets:
            head = ["%s, %s" % (corpus["name"], where(entry)), "materialize", "user + system", "cache"]
            rows = [
                [name, seconds(taken["wall"]), seconds(taken["cpu"]), mebibytes(taken["disk"])]
                for name, taken in entry["figures"].items()
            ]
            rows.sort(key=lambda row: ("clonable" not in row[0], int(row[0].split()[0])))
            parts.append(table(head, rows))
    return "\n".join(parts + left_out(entries))


def buildouts(entries, plots):
    rows = []
    for name in sorted(entries, key=lambda name: (CORPORA_OF_BUILDOUTS.index(name.split(",")[0]), name)):
        figures = entries[name]
        corpus, version, what = name.split(", ")
        theirs = figures["shared"]
        cells = ["%s, zc.buildout %s, %s" % (corpus, version, what)]
        for who in ("cache", "shared", "idle"):
            taken = figures.get(who)
            cells.append("%s (%s)" % (seconds(taken["wall"]), seconds(taken["cpu"])) if taken else "")
        for who in ("cache", "idle"):
            cells.append("%.2f" % (figures[who]["wall"] / theirs["wall"]) if who in figures else "")
        rows.append(cells)
    heads = ["from the cache", "on shared eggs", "the same, idle", "cache / shared", "idle / shared"]
    return table([""] + heads, rows)


def profile(entries, plots):
    versions = sorted(entries, reverse=True)
    runs = [entries[version][who] for version in versions for who in ("cache", "shared")]
    known = [part for part, _ in PARTS]
    rows = []
    for part, shown_as in PARTS + [(None, "the rest")]:
        parts = [part] if part else [it for run in runs for it in run["seconds"] if it not in known]
        sums = [sum(run["seconds"].get(it, 0) for it in unique(parts)) for run in runs]
        times = max(run["counts"].get(part, 0) for run in runs)
        often = ", %d times" % times if (part or "").startswith("bridge") and times > 1 else ""
        rows.append([shown_as + often] + ["%.0f ms" % (1000 * taken) if taken else "" for taken in sums])
    rows.append(["all"] + ["%.0f ms" % (1000 * sum(run["seconds"].values())) for run in runs])
    heads = [", from the cache", ", on shared eggs"]
    return table([""] + [version + head for version in versions for head in heads], rows)


# The order of the rows of `buildouts`.
CORPORA_OF_BUILDOUTS = ("web", "web-generation4", "plone", "scientific")

# The parts that timed_buildout.py measures, and their names in the table.
PARTS = [
    ("process", "start and end of the interpreter"),
    ("imports", "imports of zc.buildout, setuptools and pkg_resources"),
    ("configuration", "reading the configuration"),
    ("environments", "scanning eggs directories"),
    ("metadata", "reading the metadata of eggs"),
    ("resolving", "resolving, and the rest of installing eggs"),
    ("signatures", "digest of the recipe's dependencies"),
    ("scripts", "writing scripts"),
    ("eggcache", "the Python package of eggcache"),
    ("bridge: start", "waiting for the program: start"),
    ("bridge: open", "waiting: `open`"),
    ("bridge: find", "waiting: `find`"),
    ("bridge: prefetch", "waiting: `prefetch`"),
    ("bridge: materialize", "waiting: `materialize`"),
    ("bridge: sign", "waiting: `sign`"),
    ("bridge: root", "waiting: `root`"),
    ("bridge: close", "waiting: `close`"),
]


def populate(entries, plots):
    rows = []
    for version, figures in sorted(entries.items()):
        ours, without = figures["cache"], figures["without"]
        row = ["zc.buildout %s, %d eggs" % (version, ours["stored"])]
        row += ["%s (%s)" % (seconds(of["wall"]), seconds(of["cpu"])) for of in (without, ours)]
        ratios = ours["wall"] / without["wall"], ours["cpu"] / without["cpu"]
        row += ["%.3f (%.3f)" % ratios, seconds(ours["spent"]), seconds(figures["downloading"]["wall"])]
        more = (ours["wall"] - without["wall"]) / figures["downloading"]["wall"]
        rows.append(row + ["%.1f%%" % (100 * more)])
    head = ["", "without", "with an empty cache", "ratio", "time reported by eggcache"]
    return table(head + ["without, downloading", "added to that"], rows)


def cold(entries, plots):
    rows = []
    for name, figures in sorted(entries.items(), reverse=True):
        stock, ours = figures["stock"], figures["converted"]
        row = ["%s, %d eggs, %d built by pip" % (name, ours["eggs"], ours["built"])]
        row += ["%s (%s)" % (seconds(of["wall"]), seconds(of["cpu"])) for of in (stock, ours)]
        ratios = ours["wall"] / stock["wall"], ours["cpu"] / stock["cpu"]
        row += ["%.3f (%.3f)" % ratios, mebibytes(ours["memory"])]
        if "uv" in figures:
            uv = figures["uv"]
            times = seconds(uv["wall"]), seconds(uv["cpu"]), ours["wall"] / uv["wall"]
            row.append("%s (%s), %.2f" % times)
        rows.append(row + [""] * (6 - len(row)))
    head = ["", "stock", "converted", "ratio", "peak memory of one process", "5.3 with uv, and the ratio to it"]
    return table(head, rows)


def memory(entries, plots):
    rows = []
    for name, figures in sorted(entries.items(), reverse=True):
        ours = figures["converted"]
        row = ["%s, %d eggs, %d built by pip" % (name, ours["eggs"], ours["built"])]
        row += ["%s, %d processes" % (mebibytes(ours["ours"]), ours["most"])]
        rows.append(row + [mebibytes(ours["all"])])
    return table(["", "eggcache's processes", "all processes, with buildout and pip"], rows)


def conversion(entries, plots):
    rows = []
    for name, figures in sorted(entries.items(), reverse=True):
        both = figures["uv"], figures["eggcache"]
        row = [name] + ["%s (%s)" % (seconds(of["wall"]), seconds(of["cpu"])) for of in both]
        uv, ours = both
        rows.append(row + ["%.3f (%.3f)" % (ours["wall"] / uv["wall"], ours["cpu"] / uv["cpu"])])
    return table(["", "uv", "eggcache convert", "ratio"], rows)


def remote(entries, plots):
    parts = []
    for corpus, sets in by_corpus(entries):
        for entry in sets:
            figures = entry["figures"]
            head = ["%s, %s" % (corpus["name"], where(entry)), "", "least to most", "user + system"]
            rows = []
            for name in order([entry]):
                taken = figures[name]
                cell = seconds(taken["wall"])
                ours = name == "eggcache"
                cell = "**%s**" % cell if ours else "%s (%s)" % (cell, ratio(figures, name))
                spread = "%s to %s" % (seconds(taken["min"]), seconds(taken["max"]))
                row = [shown(name), cell, spread, seconds(taken["cpu"]), mebibytes(taken["memory"])]
                rows.append(row + [str(taken.get("requests", ""))])
            parts.append(table(head + ["peak memory", "requests"], rows))
    parts.append("The store is SeaweedFS.\n")
    return "\n".join(parts + left_out(entries))


def unreachable(entries, plots):
    [(version, figures)] = entries.items()
    without = figures["no remote"]["wall"]
    rows = []
    for way in sorted(figures, key=lambda way: way != "no remote"):
        taken = figures[way]
        spread = "%s to %s" % (seconds(taken["min"]), seconds(taken["max"]))
        more = "" if way == "no remote" else seconds(taken["wall"] - without)
        rows.append([way, seconds(taken["wall"]), spread, more])
    head = ["zc.buildout %s, its remote" % version, "", "least to most", "added"]
    return table(head, rows)


def sbom(entries, plots):
    parts = []
    for corpus, [entry] in by_corpus(entries):
        figures = entry["figures"]
        rows = []
        for name in [name for name in BILLS + BUNDLES if name in figures]:
            taken = figures[name]
            spread = "%s to %s" % (seconds(taken["min"]), seconds(taken["max"]))
            row = ["`%s`" % name, seconds(taken["wall"]), spread, seconds(taken["cpu"]), mebibytes(taken["memory"])]
            compared = name == BUNDLES[1] and BUNDLES[0] in figures
            rows.append(row + [seconds(taken["wall"] - figures[BUNDLES[0]]["wall"]) if compared else ""])
        head = [where(entry), "", "least to most", "user + system", "peak memory", "added to `bundle`"]
        parts += [describe(corpus) + "\n", table(head, rows)]
    return "\n".join(parts + left_out(entries))


# The commands that sbom.py measures: for the two formats, and without and with files beside an archive.
BILLS = ("sbom", "sbom --format spdx")
BUNDLES = ("bundle", "bundle --sbom --provenance")


def growth(entries, plots):
    sizes = sorted(entries, key=int)
    head = [""] + ["{:,} eggs".format(int(size)) for size in sizes]

    def rows(names, cell):
        return [[shown_as] + [cell(entries[size], what) for size in sizes] for what, shown_as in names]

    def per_egg(entry, what):
        taken, eggs = entry[what], entry[what].get("eggs", entry["made"]["eggs"])
        return "%s (%s)" % (short(taken["wall"]), short(taken["wall"] / eggs))

    def of_verify(entry, _):
        return short(entry["verify"]["wall"] / entry["made"]["stored"] * (1 << 20))

    def memory(entry, what):
        return mebibytes(entry[what]["memory"])

    def made(entry, _):
        told = "{:,} entries, %s of blobs".format(entry["made"]["entries"])
        return told % mebibytes(entry["made"]["stored"])

    parts = [
        table(head, rows(OF_ONE_EGG, lambda entry, what: short(entry[what]["wall"]))),
        "Commands that look at every egg. In parentheses: time per egg; for gc, per evicted egg.\n",
        table(
            head,
            rows([("made", "")], made)
            + rows(OF_ALL_EGGS, per_egg)
            + rows([("verify", "verify, per MiB of blobs")], of_verify),
        ),
        "Peak memory; values below about 15 MiB cannot be measured:\n",
        table(head, rows(OF_ALL_EGGS, memory)),
    ]
    if len(sizes) > 1:
        curves = [
            (shown_as.replace("`", ""), [(int(size), entries[size][what]["wall"]) for size in sizes])
            for what, shown_as in OF_ONE_EGG + OF_ALL_EGGS
            if what in PLOTTED
        ]
        file = os.path.join(FOLDER, "growth.svg")
        title = "Growth; dotted: constant time per egg"
        plots.lines(file, title, "eggs in the cache", "seconds", curves)
        parts.append("![growth](performance/growth.svg)\n")
    return "\n".join(parts)


# The operations that growth.py measures, and their names in the tables.
OF_ONE_EGG = [
    ("find", "`find`, one project, through the pipe"),
    ("look-up", "look-up of one egg, inside the process"),
    ("--version", "`--version`"),
    ("list, one version", "`list NAME==VERSION`"),
    ("add", "`add`, 32 new eggs"),
]
OF_ALL_EGGS = [
    ("list, one project", "`list NAME`"),
    ("list", "`list`"),
    ("gc --dry-run", "`gc --dry-run`"),
    ("gc, a tenth", "`gc` of a tenth of the eggs"),
    ("gc, all", "`gc` of the remaining eggs"),
    ("verify", "`verify`"),
    ("reindex", "`reindex`, without an index"),
]
PLOTTED = ("find", "add", "list", "gc --dry-run", "gc, a tenth", "gc, all", "verify", "reindex")


def targets(results, plots):
    rows = []
    for text, unit, most, stretch, measured in TARGETS:
        values = measured(results)
        row = [text, several(most, unit), several(stretch, unit)]
        if not values:
            rows.append(row + ["not measured", ""])
            continue
        told = "yes, stretch too" if within(values, stretch) else "yes"
        row += [several(values, unit), told if within(values, most) else "**no**"]
        rows.append(row)
    return table(["", "at most", "stretch", "measured", "reached"], rows)


SECTIONS = {
    "targets": targets,
    "materialize": materialize,
    "add": add,
    "verify": verify,
    "gc": gc,
    "size": size,
    "encodings": encodings,
    "packings": packings,
    "buildouts": buildouts,
    "profile": profile,
    "populate": populate,
    "cold": cold,
    "memory": memory,
    "conversion": conversion,
    "growth": growth,
    "remote": remote,
    "push": remote,
    "unreachable": unreachable,
    "sbom": sbom,
}


# The targets: text, unit, limit, stretch goal, and a function that returns the measured values. A row
# with one limit and several values applies it to each of them; the values are for web and scientific.

CORPORA = ("web", "scientific")


def against(section, state, others):
    """The ratio of eggcache to the fastest of the given contenders, on the main file system."""

    def measured(results):
        entries = results.get(section, {}).get("entries", {})
        values = []
        for corpus in CORPORA:
            entry = main_one(entries, corpus, state)
            figures = entry["figures"] if entry else {}
            walls = [figures[name]["wall"] for name in others if name in figures]
            if walls and "eggcache" in figures:
                values.append(figures["eggcache"]["wall"] / min(walls))
        return values if len(values) == len(CORPORA) else []

    return measured


def on_disk(results):
    entries = results.get("size", {}).get("entries", {})
    found = [main_one(entries, corpus, "") for corpus in CORPORA]
    return [
        entry["figures"]["eggcache"]["disk"] / entry["figures"]["eggs"]["disk"]
        for entry in found
        if entry
    ]


def peak(results):
    entries = results.get("materialize", {}).get("entries", {}).values()
    peaks = [e["figures"]["eggcache"]["memory"] for e in entries if "eggcache" in e["figures"]]
    return [max(peaks) / (1 << 20)] if peaks else []


def pull(results):
    entry = main_one(results.get("remote", {}).get("entries", {}), "web", "warm")
    figures = entry["figures"] if entry else {}
    if not {"eggcache", "aws"} <= set(figures):
        return []
    return [figures["eggcache"]["wall"] / figures["aws"]["wall"]]


def transferring(results):
    """The peak memory of push and pull, in MiB, for each corpus."""
    sections = [results.get(name, {}).get("entries", {}) for name in ("remote", "push")]
    found = [[main_one(entries, corpus, "warm") for entries in sections] for corpus in CORPORA]
    if not all(all(both) for both in found):
        return []
    return [
        max(entry["figures"]["eggcache"]["memory"] for entry in both) / (1 << 20) for both in found
    ]


def billed(results):
    """Seconds for a bill of materials of 334 eggs: CycloneDX and SPDX."""
    entry = main_one(results.get("sbom", {}).get("entries", {}), "synthetic", "warm")
    if not entry or entry["corpus"]["eggs"] != 334:
        return []
    return [entry["figures"][name]["wall"] for name in BILLS if name in entry["figures"]]


def told(name, count=1):
    """The values that another section has stored with `results.target`, if it has measured so many."""

    def measured(results):
        values = results.get("targets", {}).get("entries", {}).get(name, [])
        return values if len(values) >= count else []

    return measured


def looked_up(results):
    """Milliseconds to find one egg among 100,000."""
    grown = results.get("growth", {}).get("entries", {}).get("100000")
    return [round(1000 * grown["look-up"]["wall"], 3)] if grown else []


TARGETS = [
    ("materialize, warm, against the floor: web / scientific", "", (1.3, 1.6), (1.15, 1.4),
     against("materialize", "warm", ["floor"])),
    ("against `cp -a`, warm: web / scientific", "", (0.55, 0.9), (0.45, 0.6),
     against("materialize", "warm", ["cp"])),
    ("against `cp -a`, cold page cache: web / scientific", "", (0.25,), (0.15,),
     against("materialize", "cold", ["cp"])),
    ("against uv's copy mode, warm: web / scientific", "", (0.45, 0.5), (0.4,),
     against("materialize", "warm", ["uv"])),
    ("against uv's copy mode, cold: web / scientific", "", (0.3,), (0.2,),
     against("materialize", "cold", ["uv"])),
    ("fresh buildout from the cache against one on shared eggs: web, 6.0.1 / web, 4.2.0 / plone / scientific", "",
     (1.0, 1.0, 0.75, 0.75), (0.8, 0.8, 0.5, 0.5), told("fresh buildout")),
    ("nothing to do, with the cache against stock: the same", "", (0.9, 0.9, 0.7, 0.7), (0.7, 0.7, 0.5, 0.5),
     told("nothing to do")),
    ("nothing to do, without `egg-cache`, with the package against stock: the same", "", (1.01,), (1.0,),
     told("nothing to do, idle")),
    ("first buildout, archives at hand, against stock: web / scientific", "", (0.167, 0.333),
     (0.1, 0.167), told("cold, wall", len(CORPORA))),
    ("the same, processor time of all processes: web", "", (0.167,), (0.125,),
     lambda results: told("cold, processor")(results)[:1]),
    ("first buildout of web, from the network, against stock", "", (0.333,), (0.167,), told("cold, network")),
    ("first buildout of web, archives at hand, against zc.buildout 5.3 with `installer = uv`, compiled", "",
     (1.2,), (0.9,), told("cold, uv")),
    ("peak memory of all of eggcache's processes in a first buildout: web / from the network / scientific",
     " MiB", (256,), (128,), told("cold, memory", 3)),
    ("convert against `uv pip install --compile-bytecode`, warm: web / scientific", "", (1.2,), (0.8,),
     told("conversion", len(CORPORA))),
    ("extra time of a cold buildout for filling the cache", "%", (2,), (1,), told("populating")),
    ("add against `tar \\| zstd -3 -T0`: web / scientific", "", (1.3,), (1.0,),
     against("add", "warm", ["tar | zstd"])),
    ("verify against `b3sum` of the loose eggs, cold: web / scientific", "", (0.5,), (0.3,),
     against("verify", "cold", ["b3sum", "xargs -P b3sum"])),
    ("cache size against the eggs directory on disk: web / scientific", "", (0.35,), (0.28,),
     on_disk),
    ("peak memory of materialize, any corpus", " MiB", (128,), (48,), peak),
    ("pull from a store on the loopback against `aws s3 sync` of the blobs, web", "", (0.7,), (0.5,),
     pull),
    ("peak memory of push and pull: web / scientific", " MiB", (96,), (48,), transferring),
    ("extra time of a buildout when the remote is unreachable", " s", (3,), (2,), told("unreachable")),
    ("bill of materials of 334 eggs: CycloneDX / SPDX", " s", (1,), (0.5,), billed),
    ("look-up of one egg in 100,000, inside the process", " ms", (1,), (0.1,), looked_up),
]


def within(values, limits):
    # Compare rounded values, as the table shows them, so that no row contradicts itself.
    limits = list(limits) * (len(values) if len(limits) == 1 else 1)
    return all(round(value, 2) <= limit for value, limit in zip(values, limits))


def several(values, unit):
    return " / ".join(re.sub(r"^(\d+)\.00$", r"\1", "%.2f" % value) for value in values) + unit


# Building blocks of the sections.


def table(head, rows):
    """A Markdown table; all columns but the first are right-aligned."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + rows
    return "".join("| %s |\n" % " | ".join(line) for line in lines)


def compared(entries):
    """A table of contenders and sets, with the ratio of eggcache to each other contender."""
    names = order(list(entries.values()))
    sets = [entry for _, some in by_corpus(entries) for entry in some]
    rows = []
    for name in names:
        row = [shown(name)]
        for entry in sets:
            figures = entry["figures"]
            if name not in figures:
                row.append("")
                continue
            cell = seconds(figures[name]["wall"])
            row.append("**%s**" % cell if name == "eggcache" else "%s (%s)" % (cell, ratio(figures, name)))
        rows.append(row)
    rows.append(
        ["eggcache, user + system"]
        + [seconds(e["figures"]["eggcache"]["cpu"]) if "eggcache" in e["figures"] else "" for e in sets]
    )
    head = ["%s, %s" % (entry["corpus"]["name"], STATES[entry["state"]]) for entry in sets]
    return table([""] + head, rows)


def pictured(section, entries, plots):
    """Make a plot of all sets of a section, and return the Markdown that shows it."""
    plots.bars(
        os.path.join(FOLDER, section + ".svg"),
        [
            [panel(entry, corpus["name"]) for entry in sets]
            for corpus, sets in by_corpus(entries)
        ],
    )
    return "![%s](performance/%s.svg)\n" % (section, section)


def panel(entry, corpus=None):
    figures = entry["figures"]
    bars = [
        (shown(name), figures[name]["wall"], figures[name]["min"], figures[name]["max"])
        for name in order([entry])
    ]
    return ", ".join(filter(None, (corpus, where(entry)))), bars


def by_corpus(entries):
    """Corpora by size with their sets; ext4 comes first, and warm before cold."""
    sets = sorted(
        entries.values(),
        key=lambda entry: (
            entry["corpus"]["bytes"],
            entry["medium"] == "folder",
            (list(FILESYSTEMS) + [entry["filesystem"]]).index(entry["filesystem"]),
            list(STATES).index(entry["state"]),
        ),
    )
    names = unique(entry["corpus"]["name"] for entry in sets)
    grouped = [[entry for entry in sets if entry["corpus"]["name"] == name] for name in names]
    return [(some[0]["corpus"], some) for some in grouped]


def main_one(entries, corpus, state):
    """The set of a corpus on the main file system."""
    for name, sets in by_corpus(entries):
        for entry in sets:
            if name["name"] == corpus and entry["state"] == state:
                return entry
    return None


def order(sets):
    """The contenders of some sets: eggcache, the floor, then the others from fastest to slowest."""
    names = unique(name for entry in sets for name in entry["figures"])

    def key(name):
        first = next(entry["figures"][name] for entry in sets if name in entry["figures"])
        return ({"eggcache": 0, "floor": 1}.get(name, 2), first["wall"])

    return sorted(names, key=key)


def left_out(entries):
    """A sentence for each contender that could not run."""
    reasons = unique(
        "Without %s on %s, %s: %s.\n" % (shown(name), entry["corpus"]["name"], where(entry), reason)
        for _, sets in by_corpus(entries)
        for entry in sets
        for name, reason in entry["left_out"].items()
    )
    return list(reasons)


def measured_with(section, text):
    """The machine, and the versions of the programs named in the text."""
    machine = section["machine"]
    versions = [
        "%s %s" % (name, version)
        for name, version in sorted(section["versions"].items())
        if name != "python" and re.search(r"\b%s\b" % name, text)
    ]
    rounds = {
        taken["rounds"]
        for entry in section["entries"].values()
        for taken in entry.get("figures", entry).values()
        if "rounds" in taken
    }
    few_to_most = " to ".join(map(str, sorted({min(rounds), max(rounds)}))) if rounds else ""
    told = "%s%d cores, %d GiB of memory, %s %s" % (
        "Medians of %s rounds. " % few_to_most if rounds else "",
        machine["cores"],
        machine["memory_gib"],
        machine["system"],
        machine["kernel"],
    )
    return "; ".join(filter(None, (told, ", ".join(versions)))) + ".\n"


def describe(corpus):
    told = "**%s**: %d eggs, %s files, %s"
    files = "{:,}".format(corpus["files"])
    return told % (corpus["name"], corpus["eggs"], files, mebibytes(corpus["bytes"]))


def where(entry):
    kind = FILESYSTEMS.get(entry["filesystem"], entry["filesystem"])
    folder = "a folder on " if entry["medium"] == "folder" else ""
    return ", ".join(filter(None, (folder + kind, STATES[entry["state"]])))


def ratio(figures, name):
    if "eggcache" not in figures:
        return "-"
    return "%.2f" % (figures["eggcache"]["wall"] / figures[name]["wall"])


def shown(name):
    return NAMES.get(name, name).replace("|", "\\|")


def seconds(value):
    return "%.2f s" % value if value < 10 else "%.1f s" % value


def short(value):
    """A time with three digits, in a suitable unit."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return "%s %s" % (digits(value * factor), unit)
    return "%s µs" % digits(value * 1e6)


def digits(value):
    return "%.*f" % (2 if value < 10 else 1 if value < 100 else 0, value)


def mebibytes(value):
    return "{:,.0f} MiB".format(value / (1 << 20))


def slug(corpus):
    return re.sub(r"[^a-z0-9]+", "-", corpus["name"].lower())


def unique(values):
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    main()
