"""The sections of `bench.py` that justify the parameters of the blob format.

Encodings are compared frame by frame on one core, packings by materializing whole corpora.
"""

import json
import os
import subprocess

import contenders
import corpora
import filesystems
import measure
import results
import sections
from measure import Contender

EXAMPLES = os.path.join(contenders.ROOT, "target", "release", "examples")
CLONING = ("btrfs", "xfs")
KIB = 1 << 10
# Frame sizes, and whether large files are stored so that the file system can clone them.
COMPRESSED = [(size * KIB, False) for size in (64, 128, 256, 512, 1024)]
CLONABLE = [(size * KIB, True) for size in (16, 32, 64, 128)] + [(256 * KIB, False)]


def encodings():
    """The compression ratio and the speed of frames."""
    for corpus, eggs in corpora.chosen().items():
        rows = json.loads(subprocess.check_output([os.path.join(EXAMPLES, "codecs"), eggs]))
        results.put("encodings", {corpus: {"rows": rows}})
        for row in rows:
            print(corpus, row, flush=True)


def packings():
    """The same eggs from caches that are packed differently."""
    for corpus, eggs in corpora.chosen().items():
        for kind in filesystems.chosen():
            with filesystems.fresh(kind) as place:
                compare(corpus, eggs, place, CLONABLE if kind in CLONING else COMPRESSED)


def compare(corpus, eggs, place, packings):
    source = contenders.copy_of(place, eggs)
    ready, disk = [], {}
    for frame_size, clonable in packings:
        name = "%d KiB, %s" % (frame_size // KIB, "clonable" if clonable else "compressed")
        cache = os.path.join(place.path, "cache-" + name.replace(", ", "-").replace(" ", "-"))
        how = name.split(", ")[1]
        measure.run([os.path.join(EXAMPLES, "pack"), source, cache, str(frame_size), how])
        measure.run([contenders.EGGCACHE, "-q", "--cache", cache, "reindex"])
        command = [contenders.EGGCACHE, "-q", "--cache", cache, "materialize", "--all", "--into"]
        ready.append(Contender(name, lambda into, command=command: command + [into], [cache]))
    os.sync()  # for file systems with delayed allocation
    for contender in ready:
        disk[contender.name] = measure.on_disk(contender.sources[0])
    left_out = {}
    rounds = sections.rounds_for(eggs, len(ready))
    figures = measure.alternate(ready, place.path, rounds, "warm", left_out)
    for name in figures:
        figures[name]["disk"] = disk[name]
    sections.put("packings", corpus, place, "warm", eggs, figures, left_out)
