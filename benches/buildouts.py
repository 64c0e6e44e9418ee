"""The whole buildout, from the command to the last script.

*cache* has the package and a cache with every egg; *shared* is stock buildout on a shared eggs
directory. Both begin in a fresh folder, and then run once more in such a folder, with nothing to do.
"""

import os
import shutil
import subprocess

import contenders
import corpora
import filesystems
import measure
import results

NAMES = ("web", "web-generation4")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
DIST = os.path.join(os.path.dirname(corpora.HERE), "dist")


def buildouts():
    ratios = []
    for name in NAMES:
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            for what, figures in compared(name, place.path).items():
                version = corpora.PINNED[name][0]
                results.put("buildouts", {"%s, %s" % (version, what): figures})
                ratio = figures["cache"]["wall"] / figures["shared"]["wall"]
                print("%s %s: %.2f %s" % (version, what, ratio, figures), flush=True)
                if what == "fresh folder":
                    ratios.append(round(ratio, 3))
    results.target("fresh buildout", *ratios)


def compared(name, folder):
    buildout, setuptools, place = corpora.PINNED[name]
    stock = corpora.venv(buildout, setuptools)
    cache, shared = os.path.join(folder, "cache"), os.path.join(folder, "shared")
    eggs = os.path.join(shared, *place.split("/")[1:])
    os.makedirs(os.path.dirname(eggs), exist_ok=True)
    subprocess.check_call(["cp", "-a", corpora.eggs(name), eggs])
    add = [contenders.EGGCACHE, "-q", "--cache", cache, "add", "--generation"]
    subprocess.check_call(add + [buildout[0].replace("6", "5"), eggs])
    runs = {
        "cache": (with_package(stock, buildout, setuptools), "buildout:egg-cache=" + cache),
        "shared": (stock, "buildout:eggs-directory=" + shared),
    }

    def command(who):
        venv, option = runs[who]
        words = [os.path.join(venv, "bin", "buildout"), "-U", option]
        return lambda into: ["sh", "-c", 'cd "$0" && "$@" >log 2>&1', into] + words

    def begin(into):
        os.mkdir(into)
        configuration = os.path.join(corpora.HERE, "corpora", name + ".cfg")
        shutil.copy(configuration, os.path.join(into, "buildout.cfg"))

    def begin_and_run(who):
        def prepare(into):
            begin(into)
            subprocess.check_call(command(who)(into))

        return prepare

    def check(into):
        if not os.path.exists(os.path.join(into, ".installed.cfg")):
            raise measure.Failed("buildout has installed nothing")

    def contender(who, prepare):
        return measure.Contender(who, command(who), prepare=prepare, check=check)

    found = {}
    for what, kinds in {
        "fresh folder": [contender(who, begin) for who in runs],
        "nothing to do": [contender(who, begin_and_run(who)) for who in runs],
    }.items():
        below = os.path.join(folder, what.split()[0])
        os.mkdir(below)
        left_out = {}
        found[what] = measure.alternate(kinds, below, ROUNDS, "warm", left_out)
        if left_out:
            raise SystemExit("a buildout failed: %s" % left_out)
    return found


def with_package(stock, buildout, setuptools):
    """An environment like `stock`, with the wheel of `make wheel` in it."""
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
