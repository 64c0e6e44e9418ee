"""Measure buildouts that have to build all their eggs, and the conversion of wheels alone.

*stock* is buildout without eggcache, which starts pip for each wheel. *converted* has the eggcache package
and an empty cache, and converts the wheels; its first wheel is installed by pip and compared. Both take all
archives from a download cache on the same file system.

Then `eggcache convert` makes eggs of the same wheels as `uv pip install --compile-bytecode`, whose cache has
all of them.

    COLD="web"      corpora; by default web and scientific
"""

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
import results

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
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            figures = converted(name, place.path)
        results.put("conversion", {name: figures})
        print("%s %s" % (name, figures), flush=True)
        alone.append(round(figures["eggcache"]["wall"] / figures["uv"]["wall"], 3))
    results.target("cold, wall", *walls)
    results.target("cold, processor", *cpus)
    results.target("conversion", *alone)


def compared(name, folder):
    """Whole buildouts in fresh folders."""
    buildout, setuptools, _ = corpora.PINNED[name]
    stock = corpora.venv(buildout, setuptools)
    venvs = {"stock": stock, "converted": buildouts.with_package(stock, buildout, setuptools)}
    here = os.path.join(folder, "archives")
    subprocess.check_call(["cp", "-a", populate.downloaded(name), here])
    counts = {}

    def contender(who):
        def command(into):
            options = ["buildout:install-from-cache=true"]
            options += ["buildout:egg-cache=cache"] if who == "converted" else []
            # Options of pip can change what it installs, so eggcache leaves wheels to pip.
            unset = [word for name in os.environ if name.startswith("PIP_") for word in ("-u", name)]
            return ["env"] + unset + populate.build(venvs[who], into, here, *options)

        def check(into):
            buildouts.installed(into)
            if who == "converted":
                counts.update(counted(into))

        begin = lambda into: buildouts.begun(name, into)  # noqa: E731
        return measure.Contender(who, command, [here], begin, check)

    left_out = {}
    both = [contender(who) for who in venvs]
    figures = measure.alternate(both, folder, ROUNDS, "warm", left_out, warm_up=False)
    if left_out:
        raise SystemExit("a buildout failed: %s" % left_out)
    figures["converted"].update(counts)
    return figures


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
