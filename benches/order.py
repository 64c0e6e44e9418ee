"""The order in which a buildout learns which eggs it needs, and how long it waits for lists, blobs and builds.

The eggs named by a part are known immediately, and the requirements of an egg as soon as it is there. New
names are requested from the remote together (python/eggcache/_copier.py, `expect`), except for the
requirements of an egg that is built, which are requested one by one.
"""

import json
import math
import os

import remote_rules as rules

with open(os.path.join(os.path.dirname(__file__), "corpora", "requires.json")) as file:
    #: By corpus: what its parts install, and the requirements of each of its eggs.
    CORPORA = json.load(file)


class Run:
    """A buildout with a new configuration: the `seconds` that it waits, the number of eggs that it
    requests together with others (`ahead`), and the number of `rounds` of lists."""

    def __init__(self, corpus, is_built=False, blob_bytes=0.0):
        self.requires, self.is_built = CORPORA[corpus]["requires"], is_built
        self.blob_bytes = blob_bytes  # per egg
        self.seconds = rules.FIRST_BYTE  # to learn that the set does not exist
        self.rounds, self.ahead = 0, 0
        self.listed, self.here = set(), set()
        self.arrives, self.line, self.workers = {}, 0.0, [0.0] * rules.AT_A_TIME
        for names in CORPORA[corpus]["installs"]:
            self.install(names)

    def install(self, names):
        """Like `Installer.install` of zc.buildout."""
        self.expect(names)
        for name in names:
            self.get(name)
        left, done = names[::-1], set()
        while left:
            name = left.pop(0)
            if name not in done:
                done.add(name)
                self.get(name)
                left += self.requires[name][::-1]

    def expect(self, names):
        new = [name for name in names if name not in self.listed]
        self.listed.update(new)
        self.ask(math.ceil(len(new) / rules.AT_A_TIME))
        self.ahead += len(new) if len(new) > 1 else 0
        for name in () if self.is_built else new:
            begins = max(self.seconds, self.workers.pop(0))
            self.line = max(begins + rules.FIRST_BYTE, self.line) + self.blob_bytes / rules.BANDWIDTH
            self.arrives[name] = self.line
            self.workers = sorted(self.workers + [self.line])

    def ask(self, rounds):
        self.rounds += rounds
        self.seconds += rounds * (rules.FIRST_BYTE + rules.ENTRY / rules.BANDWIDTH)

    def get(self, name):
        if name in self.here:
            return
        self.here.add(name)
        if not self.is_built:
            self.seconds = max(self.seconds, self.arrives[name])
            self.expect(self.requires[name])
            return
        if name not in self.listed:
            self.listed.add(name)
            self.ask(1)
        self.seconds += rules.wait_build()


#: Seconds until all eggs of an application are there, with unlimited bandwidth.
WHOLE = Run("web").seconds


def wait(blobs, blob_bytes, misses=0):
    """Seconds for `blobs` eggs of an application with a new configuration: at most one list and one blob
    after another."""
    asked = min(blobs * 2 * rules.FIRST_BYTE, WHOLE)
    built = misses * (rules.FIRST_BYTE + rules.wait_build())
    return rules.FIRST_BYTE + asked + blob_bytes / rules.BANDWIDTH + built
