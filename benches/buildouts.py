"""Whole buildout runs, from the command to the last script.

*cache* has the eggcache package and a cache with every egg; *shared* is stock buildout with a shared eggs
directory. Each runs in fresh folders, and in a finished one, where nothing is left to do. So does *idle*, which
has the package and a shared eggs directory, but not the option `egg-cache`. Finally cache and shared run in
fresh folders again, with instrumentation (benches/timed_buildout.py).
"""

import json
import os
import shutil
import statistics
import subprocess

import contenders
import corpora
import filesystems
import measure
import results

NAMES = ("web", "web-generation4", "plone", "scientific")
#: Of these, the parts of the work are measured, too.
PROFILED = ("web", "web-generation4")
FRESH = "fresh folder"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
#: Of runs in finished folders: they are short, and some differ by less than single runs vary.
ROUNDS_FINISHED = 3 * ROUNDS
DIST = os.path.join(os.path.dirname(corpora.HERE), "dist")
TIMED = os.path.join(corpora.HERE, "timed_buildout.py")


def buildouts():
    fresh, nothing, idle = [], [], []
    for name in NAMES:
        version = corpora.PINNED[name][0]
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            runs = made_ready(name, place.path)
            for what, figures in compared(name, runs, place.path).items():
                results.put("buildouts", {"%s, %s, %s" % (name, version, what): figures})
                print("%s %s: %s" % (name, what, figures), flush=True)
                (fresh if what == FRESH else nothing).append(ratio(figures, "cache"))
                if "idle" in figures:
                    idle.append(ratio(figures, "idle"))
            if name in PROFILED:
                figures = profiled(name, runs, place.path)
                results.put("profile", {version: figures})
                print("%s %s" % (version, figures), flush=True)
    results.target("fresh buildout", *fresh)
    results.target("nothing to do", *nothing)
    results.target("nothing to do, idle", *idle)


def ratio(figures, who):
    return round(figures[who]["wall"] / figures["shared"]["wall"], 3)


def made_ready(name, folder):
    """For each contender, its environment and the options of `[buildout]` that select its eggs.

    The cached eggs were added by hand.
    """
    buildout, setuptools, place = corpora.PINNED[name]
    stock = corpora.venv(buildout, setuptools)
    cache, shared = os.path.join(folder, "cache"), os.path.join(folder, "shared")
    eggs = os.path.join(shared, *place.split("/")[1:])
    os.makedirs(os.path.dirname(eggs), exist_ok=True)
    subprocess.check_call(["cp", "-a", corpora.eggs(name), eggs])
    add = [contenders.EGGCACHE, "-q", "--cache", cache, "add", "--generation"]
    subprocess.check_call(add + [buildout[0].replace("6", "5"), eggs])
    ours, on_shared = with_package(stock, buildout, setuptools), ["buildout:eggs-directory=" + shared]
    return {
        "cache": (ours, ["buildout:egg-cache=" + cache, "buildout:egg-cache-unknown-archives=use"]),
        "shared": (stock, on_shared),
        "idle": (ours, on_shared),
    }


def begun(name, into):
    """Create a fresh folder with the configuration."""
    os.mkdir(into)
    configuration = os.path.join(corpora.HERE, "corpora", name + ".cfg")
    shutil.copy(configuration, os.path.join(into, "buildout.cfg"))


def within(into, *words):
    """A command that runs in a folder and writes its output to `log` there."""
    return ["sh", "-c", 'cd "$0" && "$@" >log 2>&1', into, *words]


def without_pip_options(command):
    """The same command without variables that set options of pip, with which eggcache leaves wheels to it."""
    return ["env"] + [word for name in os.environ if name.startswith("PIP_") for word in ("-u", name)] + command


def installed(into):
    if not os.path.exists(os.path.join(into, ".installed.cfg")):
        raise measure.Failed("buildout installed nothing")
    with open(os.path.join(into, "log")) as log:
        if "without the cache" in log.read():
            raise measure.Failed("buildout continued without the cache")


def compared(name, runs, folder):
    def command(who):
        venv, options = runs[who]
        return lambda into: within(into, os.path.join(venv, "bin", "buildout"), "-U", *options)

    def fresh(who):
        return measure.Contender(who, command(who), prepare=lambda into: begun(name, into), check=installed)

    def finished(who):
        """A run in a folder in which buildout has run, whichever folder it is given."""
        done = os.path.join(folder, "finished-" + who)
        begun(name, done)
        subprocess.check_call(command(who)(done))
        return measure.Contender(who, lambda into: command(who)(done), check=lambda into: installed(done))

    found = {}
    for what, kinds, rounds in (
        (FRESH, [fresh(who) for who in ("cache", "shared")], ROUNDS),
        ("nothing to do", [finished(who) for who in runs], ROUNDS_FINISHED),
    ):
        below = os.path.join(folder, what.split()[0])
        os.mkdir(below)
        left_out = {}
        found[what] = measure.alternate(kinds, below, rounds, "warm", left_out)
        if left_out:
            raise SystemExit("a buildout failed: %s" % left_out)
    return found


def profiled(name, runs, folder):
    """Median seconds of each part of the work, and how often it was entered."""
    taken = {who: [] for who in ("cache", "shared")}
    for number in range(ROUNDS):
        for who in taken:
            venv, options = runs[who]
            into = os.path.join(folder, "profiled-%s-%d" % (who, number))
            begun(name, into)
            os.sync()
            python = os.path.join(venv, "bin", "python")
            wall, _, _ = measure.run(within(into, python, TIMED, "times", "-U", *options))
            installed(into)
            with open(os.path.join(into, "times")) as file:
                times = json.load(file)
            times["seconds"]["process"] = wall - sum(times["seconds"].values())
            taken[who].append(times)
    return {who: median_of_each(times) for who, times in taken.items()}


def median_of_each(times):
    parts = sorted({part for run in times for part in run["seconds"]})
    middle = {part: [run["seconds"].get(part, 0) for run in times] for part in parts}
    return {
        "seconds": {part: round(statistics.median(some), 5) for part, some in middle.items()},
        "counts": times[0]["counts"],
        "rounds": len(times),
    }


def with_package(stock, buildout, setuptools):
    """An environment like `stock` that also has the wheel of `make wheel`."""
    folder = stock + "-eggcache"
    pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "-q"]
    pip.append("--disable-pip-version-check")
    if not os.path.exists(os.path.join(folder, "bin", "buildout")):
        subprocess.check_call(["python3", "-m", "venv", "--clear", folder])
        pins = ["zc.buildout==" + buildout, "setuptools==" + setuptools, "wheel==0.48.0"]
        subprocess.check_call(pip + pins)
    [wheel] = [name for name in os.listdir(DIST) if name.endswith(".whl")]
    subprocess.check_call(pip + ["--force-reinstall", "--no-deps", os.path.join(DIST, wheel)])
    return folder
