"""The sections of `bench.py` that measure one command against alternatives for the same work."""

import os
import sys
import time

import contenders
import corpora
import filesystems
import measure
import results
from measure import Contender, Failed

LARGE = 500 << 20  # bytes; a corpus from this size on has fewer rounds
FEW = ["eggcache", "floor", "cp", "tar", "uv"]  # for a large corpus


def materialize():
    kinds = filesystems.chosen()
    for corpus, eggs in corpora.chosen().items():
        for kind in kinds:
            large = measure.contents(eggs)[1] >= LARGE
            for state in measure.STATES:
                materialize_set(corpus, eggs, kind, state, FEW if large else None)


def materialize_set(corpus, eggs, kind, state, wanted):
    with filesystems.fresh(kind) as place:
        ready, left_out = contenders.materializing(place, eggs, wanted)
        rounds = rounds_for(eggs, len(ready))
        figures = measure.alternate(ready, place.path, rounds, state, left_out)
        for contender in ready:
            if contender.name in figures:
                done = contender.check.done
                figures[contender.name].update(files=done[0], bytes=done[1])
        put("materialize", corpus, place, state, eggs, figures, left_out)


def add():
    """Adding all eggs to a fresh cache, against archiving them."""
    for corpus, eggs in corpora.chosen().items():
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            source = contenders.copy_of(place, eggs)
            ready, left_out = [], {}
            command = [contenders.EGGCACHE, "-q", "add", source, "--cache"]
            ready.append(Contender("eggcache", lambda into: command + [into], [source]))
            pack = 'tar -C "$1" -c . | zstd -q -3 -T0 -o "$2"'
            try:
                contenders.installed("zstd")
                for name, script in (("tar | zstd", pack), ("tar | zstd, sync", pack + ' && sync "$2"')):
                    ready.append(Contender(name, shell(script, source), [source]))
            except contenders.Missing as error:
                measure.leave_out(left_out, "tar | zstd", error)
            rounds = rounds_for(eggs, len(ready))
            figures = measure.alternate(ready, place.path, rounds, "warm", left_out)
            # The size shows that the runs did their work, and how well it is compressed.
            for name in figures:
                written = os.path.join(place.path, "warm-%s-%d" % (name, rounds))
                figures[name]["bytes"] = measure.on_disk(written)
            put("add", corpus, place, "warm", eggs, figures, left_out)


def verify():
    """Verifying every byte, against hashing the loose files with the same algorithm."""
    for corpus, eggs in corpora.chosen().items():
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            source = contenders.copy_of(place, eggs)
            cache = contenders.cache_of(place.path, source)
            ready, left_out = [], {}
            command = [contenders.EGGCACHE, "-q", "--cache", cache, "verify"]
            ready.append(Contender("eggcache", lambda into: command, [cache]))
            try:
                contenders.installed("b3sum")
                # b3sum spreads large files over the cores, xargs small ones.
                each = 'find "$1" -type f -print0 | xargs -0 %s b3sum'
                spread = "-n 200 -P %d" % results.machine()["cores"]
                ready.append(Contender("b3sum", shell(each % "", source), [source]))
                ready.append(Contender("xargs -P b3sum", shell(each % spread, source), [source]))
            except contenders.Missing as error:
                measure.leave_out(left_out, "b3sum", error)
            for state in measure.STATES:
                rounds = rounds_for(eggs, 0)
                figures = measure.alternate(ready, place.path, rounds, state, left_out)
                put("verify", corpus, place, state, eggs, figures, left_out)


def gc():
    """Evicting everything, against `rm -rf` of the loose eggs."""
    for corpus, eggs in corpora.chosen().items():
        for state in measure.STATES:
            with filesystems.fresh(filesystems.chosen()[0]) as place:
                source = contenders.copy_of(place, eggs)
                cache = contenders.cache_of(place.path, source)
                rounds = rounds_for(eggs, 1)
                # Create everything before removing anything: ext4 creates slowly after deletions.
                copies = {}
                for number in range(rounds + 1):
                    for name, origin in (("eggcache", cache), ("rm", source)):
                        into = os.path.join(place.path, "%s-%s-%d" % (state, name, number))
                        copies[into] = measure.run(["cp", "-a", origin, into])
                time.sleep(2)  # --max-age counts whole seconds
                command = [contenders.EGGCACHE, "-q", "gc", "--max-age", "0s", "--cache"]
                left_out = {}
                ready = [
                    Contender("eggcache", lambda into: command + [into], check=no_blobs),
                    Contender("rm", lambda into: ["rm", "-rf", into], check=gone),
                ]
                figures = measure.alternate(ready, place.path, rounds, state, left_out)
                put("gc", corpus, place, state, eggs, figures, left_out)


def no_blobs(cache):
    if measure.contents(os.path.join(cache, "blobs"))[0]:
        raise Failed("gc left blobs")


def gone(folder):
    if os.path.exists(folder):
        raise Failed("%s still exists" % folder)


def size():
    """The size of the same eggs on disk."""
    for corpus, eggs in corpora.chosen().items():
        with filesystems.fresh(filesystems.chosen()[0]) as place:
            source = contenders.copy_of(place, eggs)
            cache = contenders.cache_of(place.path, source)
            os.sync()  # for file systems with delayed allocation
            figures = {
                "eggcache": {"disk": measure.on_disk(cache), "bytes": measure.contents(cache)[1]},
                "eggs": {"disk": measure.on_disk(source), "bytes": measure.contents(source)[1]},
            }
            put("size", corpus, place, "", eggs, figures, {})


def rounds_for(eggs, copies):
    """The number of rounds for which there is space, with `copies` copies of the eggs in each; the warm-up
    round is extra."""
    bytes_of_copy = measure.on_disk(eggs)
    rounds = int(os.environ.get("ROUNDS") or (3 if bytes_of_copy >= LARGE else 5))
    if copies:
        # In addition to the sources of the contenders, which exist already.
        most = (filesystems.free() - (1 << 30)) // (bytes_of_copy * copies) - 1
        if most < rounds:
            print("!!! space for only %d rounds" % most, file=sys.stderr, flush=True)
        if most < 1:
            sys.exit("not enough space below build/bench")
        rounds = min(rounds, most)
    return rounds


def shell(script, source):
    return lambda into: ["sh", "-c", script, "sh", source, into]


def put(section, corpus, place, state, eggs, figures, left_out):
    files, size = measure.contents(eggs)
    entry = {
        "corpus": {"name": corpus, "eggs": len(os.listdir(eggs)), "files": files, "bytes": size},
        "filesystem": place.kind,
        "medium": place.medium,
        "state": state,
        "figures": figures,
        "left_out": left_out,
    }
    where = "folder" if place.medium == "folder" else place.kind
    results.put(section, {" ".join(filter(None, (corpus, where, state))): entry})
    print("%s, %s (%s) %s" % (corpus, place.kind, place.medium, state))
    for name, taken in sorted(figures.items(), key=lambda item: item[1].get("wall", 0)):
        if "wall" in taken:
            print(
                "  %-17s %8.3f s (%.3f to %.3f), user+sys %7.3f s, %4d MiB, %d rounds"
                % (name, taken["wall"], taken["min"], taken["max"], taken["cpu"],
                   taken["memory"] >> 20, taken["rounds"])
            )
        else:
            print("  %-17s %s" % (name, taken))
    sys.stdout.flush()
