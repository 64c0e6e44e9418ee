"""Measure how much longer a cold buildout takes when it also fills a cache.

The same buildout runs in turn with an empty cache and without one. Both take all archives from a download
cache on the same file system, because waiting for the network would hide the difference. The difference
is then compared with the time of a cold buildout that does download.

    POPULATE="web-generation4"    corpora; `web`, which uses zc.buildout 6, takes four times as long
"""

import os
import re
import statistics
import subprocess
import sys

import buildouts
import corpora
import filesystems
import measure
import results

NAMES = os.environ.get("POPULATE", "web-generation4").split()
ROUNDS = int(os.environ.get("ROUNDS", "3"))
DOWNLOADS = 2  # rounds of the buildout that downloads
SPENT = re.compile(r"eggcache: .* (\d+) stored; .* ([0-9.]+) s in eggcache\.")


def populate():
    extra = []
    for name in NAMES:
        archives = downloaded(name)
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            figures = compared(name, archives, place.path)
        results.put("populate", {corpora.PINNED[name][0]: figures})
        print("%s %s" % (name, figures), flush=True)
        more = figures["cache"]["wall"] - figures["without"]["wall"]
        extra.append(round(100 * more / figures["downloading"]["wall"], 2))
    results.target("populating", *extra)


def compared(name, archives, folder):
    buildout, setuptools, _ = corpora.PINNED[name]
    stock = corpora.venv(buildout, setuptools)
    venvs = {"cache": buildouts.with_package(stock, buildout, setuptools), "without": stock}
    here = os.path.join(folder, "archives")
    subprocess.check_call(["cp", "-a", archives, here])
    spent = []

    def contender(who):
        def command(into):
            options = ["buildout:egg-cache=cache"] if who == "cache" else []
            return build(venvs[who], into, here, "buildout:install-from-cache=true", *options)

        def check(into):
            buildouts.installed(into)
            if who == "cache":
                spent.append(reported(into))

        begin = lambda into: buildouts.begun(name, into)  # noqa: E731
        return measure.Contender(who, command, [here], begin, check)

    left_out = {}
    both = [contender(who) for who in venvs]
    figures = measure.alternate(both, folder, ROUNDS, "warm", left_out, warm_up=False)
    index = measure.Contender(
        "downloading",
        lambda into: buildouts.within(into, os.path.join(stock, "bin", "buildout"), "-U"),
        prepare=lambda into: buildouts.begun(name, into),
        check=buildouts.installed,
    )
    figures.update(measure.alternate([index], folder, DOWNLOADS, "warm", left_out, warm_up=False))
    if left_out:
        raise SystemExit("a buildout failed: %s" % left_out)
    stored, seconds = zip(*spent)
    figures["cache"].update(stored=min(stored), spent=statistics.median(seconds))
    return figures


def reported(into):
    """The number of eggs that a buildout stored and the seconds that it spent on the cache, from its log."""
    with open(os.path.join(into, "log")) as log:
        found = SPENT.search(log.read())
    if not found or found[1] == "0":
        raise measure.Failed("nothing was stored")
    return int(found[1]), float(found[2])


def build(venv, into, archives, *options):
    """A buildout in `into` with this download cache, which it fills if it is empty."""
    program = os.path.join(venv, "bin", "buildout")
    return buildouts.within(into, program, "-U", "buildout:download-cache=" + archives, *options)


def downloaded(name):
    """The archives of a corpus, downloaded once."""
    buildout, setuptools, _ = corpora.PINNED[name]
    archives = os.path.join(corpora.BUILD, "archives", name)
    if not os.path.exists(os.path.join(archives, "complete")):
        os.makedirs(archives, exist_ok=True)
        print("downloading the archives of %s, which takes minutes" % name, file=sys.stderr, flush=True)
        with filesystems.fresh("folder") as place:
            into = os.path.join(place.path, "app")
            buildouts.begun(name, into)
            subprocess.check_call(build(corpora.venv(buildout, setuptools), into, archives))
        open(os.path.join(archives, "complete"), "w").close()
    return archives
