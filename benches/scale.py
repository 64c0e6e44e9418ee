"""Compute docs/explanation/scale.md: the load and cost of remotes for teams of all sizes, by simulation.

    python3 benches/scale.py

Needs only the standard library, gives the same result every time, and takes less than a minute. Each
section is one function here, which returns the Markdown between `<!-- SECTION -->` and `<!-- end -->`.
Prices, times and limits are in remote_rules.py, the order of requests of a buildout in order.py, the
model of a team in team.py, and that of crowds in crowd.py.
"""

import functools
import os
import re
import sys
from statistics import mean

import crowd
import order
import remote_rules as rules
import svg
import team
from remote_rules import BLOBS, ENTRY, Requests
from report import table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "explanation", "scale.md")
FOLDER = os.path.join(ROOT, "docs", "explanation", "scale")

TEAMS = (1, 100, 10_000)
HERD = 10_000
HERD_BUILD = 300  # seconds to build the new egg that all want
AHEAD = order.Run("web")
SITES = 10  # of a large team, each with a mirror
CHANGED = round(team.EGGS * team.PIN_DAYS / team.RELEASE_DAYS)  # eggs of an application per week


def main():
    with open(PAGE) as file:
        text = file.read()
    for section, write in SECTIONS.items():
        marked = re.compile("(<!-- %s -->\n).*?(<!-- end -->)" % section, re.DOTALL)
        if not marked.search(text):
            sys.exit("%s has no markers for %s" % (os.path.basename(PAGE), section))
        written = write()
        text = marked.sub(lambda match: match[1] + "\n" + written + "\n" + match[2], text)
    with open(PAGE, "w") as file:
        file.write(text)


@functools.lru_cache(maxsize=None)
def month(builders, is_warm):
    return team.Month(builders, is_warm)


@functools.lru_cache(maxsize=None)
def start(builders, within, patience):
    return crowd.start(builders, within, patience)


# The sections.


def of_teams():
    months = {warm: [month(builders, warm) for builders in TEAMS] for warm in (True, False)}
    rows = [
        ["applications"] + [count(it.applications) for it in months[True]],
        ["buildouts a month"] + [count(it.buildouts) for it in months[True]],
        ["new eggs a month"] + [count(it.built) for it in months[True]],
        ["stored after two months"] + [size(it.stored()) for it in months[True]],
    ]
    for warm, heading in ((True, "**each builder keeps its cache**"), (False, "**each buildout on a new machine**")):
        here = months[warm]
        rows.append([heading] + [""] * len(TEAMS))
        rows += [
            ["requests per buildout"] + ["%.1f" % (it.requests().billed / it.buildouts) for it in here],
            ["the same where all push"]
            + ["%.1f" % ((it.requests() + it.told).billed / it.buildouts) for it in here],
            ["bytes per buildout"] + [size(it.egress() / it.buildouts) for it in here],
            ["wait per buildout, including builds of new eggs"] + [seconds(it.wait / it.buildouts) for it in here],
            ["the same without the remote"]
            + [seconds(it.blobs / it.buildouts * rules.BUILD) for it in here],
            ["hours of building a month"] + [hours(it.built * rules.BUILD) for it in here],
            ["the same without the remote"] + [hours(it.blobs * rules.BUILD) for it in here],
            ["bill a month, in the bucket's region"] + [dollars(it.bill(is_near=True)) for it in here],
            ["bill a month, over the Internet"]
            + ["**%s**" % dollars(it.bill()) if not warm else dollars(it.bill()) for it in here],
        ]
    head = [""] + ["1 builder" if it == 1 else "%s builders" % count(it) for it in TEAMS]
    plot_bills()
    return table(head, rows)


def plot_bills():
    sizes = (1, 10, 100, 1000, 10_000)
    series = [
        (name, [(builders, max(0.01, month(builders, warm).bill(near))) for builders in sizes])
        for name, warm, near in (
            ("new machines, Internet", False, False),
            ("new machines, in region", False, True),
            ("kept caches, Internet", True, False),
            ("kept caches, in region", True, True),
        )
    ]
    svg.lines(
        os.path.join(FOLDER, "bill.svg"),
        "What a team pays for its remote",
        "builders",
        "dollars a month",
        series,
        log=(True, True),
        shown=lambda value: "≤ $0.01" if value <= 0.01 else "$%s" % ("0.10" if value < 1 else count(value)),
        dots=True,
    )


def of_buildouts():
    rows = []
    for name, blobs in BLOBS.items():
        for case in buildouts_of(name, blobs):
            what, requests, read, wait, built = case
            row = ["%s: %s" % (name, what), count(requests.billed), size(read), seconds(wait)]
            rows.append(row + [seconds(built * rules.BUILD) if built else ""])
    return table(["", "requests", "bytes read", "wait", "build time instead"], rows)


def buildouts_of(name, blobs):
    """Cases of buildouts that need eggs with these blobs: (description, requests, bytes read, seconds,
    eggs built without the remote)."""
    eggs, whole = len(blobs), sum(blobs)
    lines = rules.set_bytes(eggs)
    yield "nothing is missing", rules.known(0), 0, rules.wait_known(eggs, 0, 0), 0
    part = whole * CHANGED / eggs
    asked, read, wait = rules.known(CHANGED) + rules.withdrawals(), part + lines, rules.wait_known(eggs, CHANGED, part)
    yield "%d eggs are missing" % CHANGED, asked, read, wait, CHANGED
    # Reads the set once more, which already has everything.
    asked += rules.finish(eggs, eggs, is_changed=False)
    read += lines
    wait += rules.wait_finish(eggs, eggs, is_changed=False)
    yield "the same, and it pushes", asked, read, wait, CHANGED
    wait = rules.wait_known(eggs, eggs, whole)
    yield "empty cache", rules.known(eggs) + rules.withdrawals(), whole + lines, wait, eggs
    # The set does not exist. Lists have one entry each.
    found = rules.withdrawals() + rules.miss() + rules.hit().times(eggs)
    wait = order.Run(name, blob_bytes=whole / eggs).seconds
    yield "empty cache, new configuration", found, whole + lines, wait, eggs
    found += rules.finish(eggs, eggs)
    wait += rules.wait_finish(eggs, eggs)
    yield "the same, and it pushes", found, whole + lines, wait, eggs
    built = rules.withdrawals() + rules.miss() + (rules.miss() + rules.lease(rules.BUILD)).times(eggs)
    pushed = functools.reduce(Requests.__add__, map(rules.push, blobs)) + rules.finish(eggs, eggs)
    wait = order.Run(name, is_built=True).seconds + rules.wait_finish(eggs, eggs)
    yield "empty cache, empty remote, and it pushes", built + pushed, 4 * lines, wait, eggs


def of_eviction():
    days = 30
    limits = (25, 50, 100, 200, 400, 600, 800, 1000)
    rows, points = [], []
    for limit in limits:
        fetched, _ = team.evict(limit * 1e6, days)
        points.append((limit, fetched / 1e6))
        rows.append(["%d MB" % limit, size(fetched), "%.1f s" % (fetched / rules.BANDWIDTH)])
    fetched, largest = team.evict(25e6, days, held_days=30)
    rows.append(["any, with the 30 days of `grace`", size(fetched), "%.1f s" % (fetched / rules.BANDWIDTH)])
    rows[-1][0] += " (then it is %s)" % size(largest)
    svg.lines(
        os.path.join(FOLDER, "eviction.svg"),
        "What a small cache fetches again",
        "max-size of the local cache, MB",
        "MB fetched for each buildout",
        [("grace = 0", points)],
        dots=True,
    )
    return table(["`max-size`", "fetched for each buildout", "transfer"], rows)


HERDS = [
    ("only one may push", 300, None),
    ("all may push", 300, crowd.look_as_is),
    ("all may push", 10, crowd.look_as_is),
    ("all may push", 1, crowd.look_as_is),
]


def of_herd():
    rows, curves = [], []
    for name, within, look in HERDS:
        herd = crowd.herd(HERD, within, HERD_BUILD, look)
        builds = herd.builds + herd.alone
        requests = sum(herd.store.counts.values())
        price = Requests(herd.store.counts).price()
        rows.append(
            [
                "%s; all come within %s" % (name, "5 min" if within == 300 else "%d s" % within),
                count(builds),
                hours(builds * HERD_BUILD),
                count(requests),
                count(herd.store.peak()),
                "%.1f s (%.0f s)" % (mean(herd.waits), herd.waits[-1]) if herd.waits else "",
                dollars(price),
            ]
        )
        if within == 300:
            asked = herd.store.seconds["GET"]
            curves.append((name, [(second, asked[second]) for second in range(0, HERD_BUILD + 30)]))
    svg.lines(
        os.path.join(FOLDER, "herd.svg"),
        "10,000 builders want a new egg within 5 minutes; it takes 5 minutes to build",
        "seconds",
        "GET a second",
        curves,
        limit=(rules.PARTITION_GETS, "S3, one partition"),
    )
    head = ["", "builds", "hours of building", "requests", "most GET/s", "wait after the build: mean (most)", "price"]
    return table(head, rows)


STARTS = [(100, 1), (200, 1), (1000, 1), (1000, 60), (10_000, 60), (10_000, 180), (10_000, 300)]


def of_starts():
    rows = []
    for builders, within in STARTS:
        row = ["%s within %d s" % (count(builders), within)]
        it = start(builders, within, rules.OF_BUILD)
        row += [count(it.without), count(it.store.peak()), "%.0f s" % it.seconds]
        # Not computed otherwise: millions of requests, and nothing to learn from them.
        is_computed = builders / within <= 150 or builders <= 1000
        row.append(count(start(builders, within, rules.OF_COMMAND).without) if is_computed else "not computed")
        rows.append(row)
    head = ["", "continue without the remote", "most GET/s", "until the last is done", "the same, with the limits of a command"]
    return table(head, rows)


def of_writers():
    rows = []
    for writers in (1, 2, 5, 10, 20, 50, 100, 1000):
        rounds = [crowd.writers(writers, seed=seed) for seed in range(20 if writers <= 100 else 2)]
        rows.append(
            [
                count(writers),
                "%.1f" % mean(it.tries for it in rounds),
                "%.1f%%" % (100 * mean(it.gave_up for it in rounds) / writers),
                "%.1f s" % mean(it.seconds for it in rounds),
                count(round(mean(it.requests for it in rounds))),
            ]
        )
    same = crowd.writers(1000, is_same=True)
    rows.append(["1,000, of the same egg", "%.1f" % same.tries, "0.0%", "%.1f s" % same.seconds, count(same.requests)])
    return table(["writers of one list", "tries, mean", "give up", "until the last is done", "requests"], rows)


def of_lists():
    rows = []
    for versions in (1, 10, 100, 1000, 10_000, rules.MAX_LIST // ENTRY):
        length = versions * ENTRY
        rows.append(
            [
                count(versions),
                size(length),
                seconds(length / rules.BANDWIDTH),
                seconds(length / 1e6),
                size(team.EGGS * length),
            ]
        )
    head = ["entries of a project", "its list", "to read, 200 Mbit/s", "8 Mbit/s", "%d such lists" % team.EGGS]
    return table(head, rows)


def of_cdn():
    rows = []
    for builders, warm in ((100, False), (10_000, False), (10_000, True)):
        it = month(builders, warm)
        cached = team.cdn(it)
        asked = cached["asked"] + cached["fetched"]
        hits = cached["blobs"] * cached["fetched"] + cached["sets"] * cached["asked"]
        writes = Requests(it.requests())
        writes["GET"] -= asked
        edge = asked * rules.CDN_GET + rules.tiered(it.egress() / 1e9, rules.CDN_GB)
        stored = it.stored() / 1e9 * rules.STORED_GB_MONTH
        through = edge + (asked - hits) * rules.GET + writes.price() + stored
        free = (
            (it.requests()["PUT"] + it.requests()["POST"]) * rules.FREE_EGRESS["put"]
            + (it.requests()["GET"] + it.requests()["HEAD"]) * rules.FREE_EGRESS["get"]
            + it.stored() / 1e9 * rules.FREE_EGRESS["stored"]
        )
        sets = it.sets * rules.set_bytes(team.EGGS)
        # Each site downloads a blob once, and requests each set anew.
        fetched = min(it.egress() - sets, SITES * (it.stored_bytes / 2))
        mirrored = Requests(it.requests())
        mirrored["GET"] -= cached["fetched"] - min(cached["fetched"], SITES * it.distinct)
        rows.append(
            [
                "%s builders, %s" % (count(builders), "kept caches" if warm else "new machines"),
                "%.1f%%" % (100 * cached["blobs"]),
                "%.1f%%" % (100 * cached["sets"]),
                dollars(it.bill()),
                dollars(through),
                dollars(free),
                dollars(rules.bill(mirrored, fetched + sets, it.stored())),
                dollars(it.bill(is_near=True)),
            ]
        )
    head = [
        "",
        "hits: blobs",
        "sets",
        "S3, Internet",
        "S3 behind CloudFront",
        "store with free traffic",
        "S3, a mirror at each of %d sites" % SITES,
        "S3, all in its region",
    ]
    return table(head, rows)


def of_assumptions():
    egress = ", then ".join(
        "$%g" % each + (" up to %g TB" % (limit / 1e3) if limit < 1e9 else "") for limit, each in rules.EGRESS_GB
    )
    rows = [
        ["1,000 PUT, POST or LIST", "$%g" % (rules.PUT * 1000)],
        ["1,000 GET or HEAD", "$%g" % (rules.GET * 1000)],
        ["a GB for a month", "$%g" % rules.STORED_GB_MONTH],
        ["a GB to the Internet", egress],
        ["10,000 requests of the CDN", "$%g" % (rules.CDN_GET * 10_000)],
        ["a GB of the CDN", "$%g up to 10 TB" % rules.CDN_GB[0][1]],
        ["first byte of an answer", "%d ms" % (rules.FIRST_BYTE * 1000)],
        ["bandwidth of a builder", "%d Mbit/s" % (rules.BANDWIDTH * 8 / 1e6)],
        ["one partition of S3", "%s GET and %s PUT a second" % (count(rules.PARTITION_GETS), count(rules.PARTITION_PUTS))],
        ["building an egg", "%.2f s" % rules.BUILD],
        ["an application", "%d eggs, sizes of the web corpus" % team.EGGS],
        ["lists of it that are requested together with others", "%.0f%%" % (100 * AHEAD.ahead / team.EGGS)],
        ["rounds of requests for its lists, one after the other", count(AHEAD.rounds)],
        ["projects, by Zipf's law", count(team.PROJECTS)],
        ["a project releases every", "%d working days" % team.RELEASE_DAYS],
        ["pins change every", "%d working days" % team.PIN_DAYS],
        ["buildouts of a builder", "%d on each of %d days" % (team.BUILDOUTS, team.DAYS)],
        ["an entry in a list or a set", "%d bytes" % ENTRY],
    ]
    return table(["", ""], rows)


SECTIONS = {
    "teams": of_teams,
    "buildouts": of_buildouts,
    "starts": of_starts,
    "herd": of_herd,
    "writers": of_writers,
    "lists": of_lists,
    "eviction": of_eviction,
    "cdn": of_cdn,
    "assumptions": of_assumptions,
}


# Formatting of figures.


def count(number):
    return "{:,.0f}".format(number)


def dollars(amount):
    if amount < 0.01:
        return "under $0.01"
    return "${:,.2f}".format(amount) if amount < 100 else "${:,.0f}".format(amount)


def hours(amount):
    amount /= 3600
    return "{:,.0f}".format(amount) if amount >= 10 else "%.1f" % amount if amount >= 0.05 else "under 0.1"


def seconds(amount):
    return "%.2f s" % amount if amount < 10 else "{:,.0f} s".format(amount)


def size(amount):
    if not amount:
        return "none"
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= 0.9995 * factor:
            return "%s %s" % (("%.1f" if amount < 99.95 * factor else "%.0f") % (amount / factor), unit)
    return "%d bytes" % amount


if __name__ == "__main__":
    main()
