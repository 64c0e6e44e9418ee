"""Measure buildouts that have to build all their eggs, and the conversion of wheels alone.

*stock* is buildout without eggcache, which starts pip for each wheel. *converted* has the eggcache package
and an empty cache, and converts the wheels; its first wheel is installed by pip and compared. Both take all
archives from a download cache on the same file system. For the corpora in `OTHERS`, *uv* is zc.buildout 5.3 with
`installer = uv`, whose cache has all archives, and the compiling of all modules. It has links into that cache.
These corpora are also built from the network.

Then `eggcache convert` makes eggs of the same wheels as `uv pip install --compile-bytecode`, whose cache has
all of them.

The section *memory* runs *converted* once more, and adds up the memory of all processes.

    COLD="web"      corpora; by default web and scientific
"""

import functools
import os
import re
import subprocess
import sys

import buildouts
import contenders
import corpora
import filesystems
import measure
import populate
import processes
import results

#: Corpora that are also built in other ways, and the zc.buildout and setuptools that can install with uv.
OTHERS = ("web",)
WITH_UV = "5.3.0a2", "80.9.0"
INSTALL_WITH_UV = """
cd "$0" && PATH=$1:$2:$PATH UV_CACHE_DIR=$3 buildout -U buildout:installer=uv $4 >log 2>&1 || exit
# Some packages have templates of modules, which are no Python.
python3 -m compileall -q -j 0 eggs >>log 2>&1 || true
"""
NAMES = os.environ.get("COLD", "web scientific").split()
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CONVERTED = re.compile(r"^eggcache: .* (\d+) misses: (\d+) converted, (\d+) built", re.M)


def cold():
    walls, cpus, alone = [], [], []
    for name in NAMES:
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            figures = compared(name, place.path)
        results.put("cold", {name: figures})
        print("%s %s" % (name, figures), flush=True)
        ours, stock = figures["converted"], figures["stock"]
        walls.append(round(ours["wall"] / stock["wall"], 3))
        cpus.append(round(ours["cpu"] / stock["cpu"], 3))
        if name in OTHERS:
            results.target("cold, uv", round(ours["wall"] / figures["uv"]["wall"], 3))
            with filesystems.fresh(filesystems.chosen()[0]) as place:
                figures = compared(name, place.path, has_archives=False)
            results.put("cold", {name + ", from the network": figures})
            print("%s from the network %s" % (name, figures), flush=True)
            ratio = figures["converted"]["wall"] / figures["stock"]["wall"]
            results.target("cold, network", round(ratio, 3))
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            figures = converted(name, place.path)
        results.put("conversion", {name: figures})
        print("%s %s" % (name, figures), flush=True)
        alone.append(round(figures["eggcache"]["wall"] / figures["uv"]["wall"], 3))
    results.target("cold, wall", *walls)
    results.target("cold, processor", *cpus)
    results.target("conversion", *alone)


def compared(name, folder, has_archives=True):
    """Whole buildouts in fresh folders, with all archives at hand or from the network."""
    archives = at_hand(name, folder) if has_archives else []
    counts = {}
    all_of_them = [contender(who, name, archives, counts) for who in ("stock", "converted")]
    if has_archives and name in OTHERS:
        all_of_them.append(with_uv(folder, functools.partial(buildouts.begun, name)))
    left_out = {}
    figures = measure.alternate(all_of_them, folder, ROUNDS, "warm", left_out, warm_up=False)
    if left_out:
        raise SystemExit("a buildout failed: %s" % left_out)
    figures["converted"].update(counts)
    return figures


def at_hand(name, folder):
    """The folder of all archives, in a list."""
    archives = os.path.join(folder, "archives")
    subprocess.check_call(["cp", "-a", populate.downloaded(name), archives])
    return [archives]


def contender(who, name, archives, counts):
    """A buildout that is `stock` or `converted`. Of the latter, `counts` gets how many eggs it made."""
    buildout, setuptools, _ = corpora.PINNED[name]
    venv = corpora.venv(buildout, setuptools)
    if who == "converted":
        venv = buildouts.with_package(venv, buildout, setuptools)
    options = ["buildout:download-cache=" + it for it in archives]
    options += ["buildout:install-from-cache=true"] if archives else []
    options += ["buildout:egg-cache=cache"] if who == "converted" else []

    def command(into):
        program = os.path.join(venv, "bin", "buildout")
        return buildouts.without_pip_options(buildouts.within(into, program, "-U", *options))

    def check(into):
        buildouts.installed(into)
        if who == "converted":
            counts.update(counted(into))

    return measure.Contender(who, command, archives, functools.partial(buildouts.begun, name), check)


def memory():
    """The most memory of eggcache's processes together, in runs that are not timed: to look takes time."""
    peaks = []
    for name in NAMES:
        for has_archives in (True, False) if name in OTHERS else (True,):
            with filesystems.fresh(filesystems.chosen()[0]) as place:
                archives = at_hand(name, place.path) if has_archives else []
                figures = {}
                buildout = contender("converted", name, archives, figures)
                into = os.path.join(place.path, "app")
                buildout.prepare(into)
                with processes.Peaks("eggcache") as found:
                    measure.run(buildout.command(into))
                buildout.check(into)
            figures.update(ours=found.of_program, all=found.of_all, most=found.processes)
            run = name if has_archives else name + ", from the network"
            results.put("memory", {run: {"converted": figures}})
            print("%s %s" % (run, figures), flush=True)
            peaks.append(round(found.of_program / (1 << 20), 2))
    results.target("cold, memory", *peaks)


def with_uv(folder, begun):
    """A buildout that installs with uv, whose cache is filled here."""
    places = [os.path.join(corpora.venv(*WITH_UV), "bin"), os.path.dirname(contenders.uv_program())]
    cache = os.path.join(folder, "uv-cache")

    def command(into, option="buildout:install-from-cache=true"):
        return ["sh", "-c", INSTALL_WITH_UV, into] + places + [cache, option]

    into = os.path.join(folder, "fills-the-cache-of-uv")
    begun(into)
    subprocess.check_call(command(into, ""))
    return measure.Contender("uv", command, [cache], begun, buildouts.installed)


def counted(into):
    """How many eggs a buildout converted and built, from its log."""
    with open(os.path.join(into, "log")) as log:
        found = CONVERTED.search(log.read())
    if not found:
        raise measure.Failed("no wheel was converted")
    return {"eggs": int(found[1]), "built": int(found[3])}


def converted(name, folder):
    """`eggcache convert` and uv, with the same wheels."""
    uv = contenders.uv(folder, None, corpora.eggs(name))
    wheels = os.path.join(folder, "wheels")
    names = sorted(os.path.join(wheels, it) for it in os.listdir(wheels))

    def convert(into):
        command = [contenders.EGGCACHE, "-q", "convert", "--python", sys.executable, "--into", into]
        return command + names

    def compile_too(into):
        command = uv.command(into)
        return command[:-2] + ["--compile-bytecode"] + command[-2:]

    both = [
        measure.Contender("eggcache", convert, [wheels], check=made),
        measure.Contender("uv", compile_too, [wheels] + uv.sources, check=made),
    ]
    left_out = {}
    figures = measure.alternate(both, folder, ROUNDS, "warm", left_out)
    if left_out:
        raise SystemExit("a conversion failed: %s" % left_out)
    return figures


def made(into):
    if measure.contents(into)[0] == 0:
        raise measure.Failed("no file was made")
