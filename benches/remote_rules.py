"""What a remote is asked for, what that takes and what it costs: the rules of `src/` on paper.

Prices, times and limits are assumptions, all of them here. What is a rule of `src/` names its file,
and tests/benches/test_scale.py reads it there.
"""

import collections
import json
import math
import os

# Prices: Amazon S3 Standard and CloudFront, us-east-1, in dollars, as listed in March 2026, without
# free tiers and contracts. Traffic out has tiers: (up to so many GB a month, each GB).
PUT = 0.005 / 1000  # also POST and LIST; S3 is asked to remove something by POST
GET = 0.0004 / 1000  # also HEAD
STORED_GB_MONTH = 0.023
EGRESS_GB = [(10e3, 0.09), (50e3, 0.085), (150e3, 0.07), (math.inf, 0.05)]
CDN_GET = 0.01 / 10_000
CDN_GB = [(10e3, 0.085), (50e3, 0.08), (150e3, 0.06), (500e3, 0.04), (math.inf, 0.03)]
# One of the stores that take nothing for traffic: Cloudflare R2, as listed in August 2026.
FREE_EGRESS = {"put": 4.5e-6, "get": 0.36e-6, "stored": 0.015}

# What S3 promises for each partition of a bucket, and a new bucket is one.
PARTITION_GETS = 5500  # a second
PARTITION_PUTS = 3500

# Times. Amazon says 100 to 200 ms to the first byte of a small object.
FIRST_BYTE = 0.1  # seconds, of any request
EDGE_FIRST_BYTE = 0.02  # from a CDN that has it
BANDWIDTH = 25e6  # bytes a second of one builder: 200 Mbit/s
BUILD = 48.1 / 90  # seconds for one egg: `docs/demo/demo.py` with the web corpus, downloads included
CACHE_HIT = 0.9 / 90  # the same from the local cache

# src/remote/publish.rs
TRIES = 12
LARGE = 1 << 20
# src/remote/client/mod.rs, and its backends.rs and patience.rs
PART = 8 << 20
MAX_SMALL = 32 << 20
BACKOFF = 0.1  # seconds until a request is made again, at first
BACKOFF_BASE = 4.0
#: How often a request is made again, seconds until then at most, and for all of it.
Patience = collections.namedtuple("Patience", "retries most_between answer")
OF_BUILD = Patience(4, 0.8, 2.2)
OF_COMMAND = Patience(8, 10.0, 60.0)
# src/ops/remote/pull.rs, src/serve/fetch_worker.rs and, for lists, src/serve/session_remotes.rs
AT_A_TIME = 8
# src/serve/push_worker.rs and src/serve/announced_sets.rs
PUSHED_AT_A_TIME = 4
TOLD_DAYS = 1  # TOLD_FOR there
# src/remote/build_lease.rs
RENEWAL = 10  # seconds
LOOK = (0.25, 8)  # seconds between two looks, at first and at most
WAIT = 20 * 60  # seconds, for a builder that lives

with open(os.path.join(os.path.dirname(__file__), "corpora", "blob-bytes.json")) as file:
    #: Bytes of each blob of a corpus.
    BLOBS = json.load(file)


class Requests(collections.Counter):
    """How many of each kind, as the store counts them; `made` of them as src/remote/client/mod.rs does."""

    def times(self, factor):
        return Requests({kind: count * factor for kind, count in self.items()})

    def __add__(self, other):
        return Requests(super().__add__(other))

    @property
    def made(self):
        return self["GET"] + self["HEAD"] + self["PUT"] + self["POST"] - self["parts"]

    @property
    def billed(self):
        return sum(count for kind, count in self.items() if kind != "parts")

    def price(self):
        reads, writes = self["GET"] + self["HEAD"], self["PUT"] + self["POST"]
        return reads * GET + writes * PUT


def known(blobs):
    """A buildout of a configuration that the remote knows: the set, then the blobs that are missing. If
    none is, it asks for nothing."""
    return Requests(GET=1 + blobs if blobs else 0)


def hit():
    """An egg of a configuration that it does not know: the list of its project, and the blob."""
    return Requests(GET=2)


def miss():
    """An egg that it does not have."""
    return Requests(GET=1)


def upload(blob_bytes):
    """A blob that is large goes in parts, which the store counts one by one."""
    if blob_bytes <= PART:
        return Requests(PUT=1)
    puts = 2 + math.ceil(blob_bytes / PART)  # the first says that parts come, the last that all are there
    return Requests(PUT=puts, parts=puts - 1)


def push(blob_bytes, is_there=False):
    """An egg: are its entry and its blob there? If not, the blob and the entry; then the list of its
    project."""
    if is_there:
        return Requests(GET=2, HEAD=1)
    asked = Requests(GET=1, HEAD=int(blob_bytes >= LARGE))
    return asked + upload(blob_bytes) + Requests(PUT=1) + Requests(GET=1, PUT=1)


def push_set(is_changed=True):
    return Requests(GET=1, PUT=int(is_changed))


def finish(eggs, known, is_changed=True, has_asked=True):
    """The end of a buildout that pushes, and whose set was not told from this cache in the last day. Known
    to be there is what came from the remote in this run, what was built and pushed, and what the set has:
    one that found everything in its cache asks for that now. The rest is asked for."""
    if not has_asked and not is_changed:
        known = eggs
    looked = Requests(GET=int(not has_asked))
    return looked + push(0, is_there=True).times(eggs - known) + push_set(is_changed)


def lease(build_seconds):
    """Of who builds: it is taken, the list read once more, the lease renewed (GET, PUT), looked at once
    more and released (POST)."""
    renewals = int(build_seconds // RENEWAL)
    return Requests(PUT=1 + renewals, GET=1 + renewals + 1, POST=1)


def entry_line(name, version, source_sha256="", **provenance):
    """One line of a list or a set, with as many bytes as src/remote/entry.rs and minisign make it."""
    key = {
        "name": name,
        "version": version,
        "python": "cp311",
        "abi": "",
        "platform": "linux-x86_64",
        "libc": "",
        "generation": 5,
        "source_sha256": source_sha256,
        "variant": "",
        "environment": "",
    }
    entry = {
        "format": 1,
        "key": key,
        "file_name": "%s-%s-py3.11-linux-x86_64.egg" % (name, version),
        "egg": "0" * 64,
        "blob": "0" * 64,
        "blob_bytes": 58996,
        "provenance": {"added_at": 1795523084, "eggcache": "0.1.0", **provenance},
    }
    signature = "untrusted comment: eggcache\n%s\ntrusted comment: timestamp:1795523180\n%s\n"
    signed = {"entry": compact(entry), "signatures": [signature % ("R" * 100, "k" * 88)]}
    return compact(signed) + "\n"


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


#: Bytes of an entry that a buildout has made, in a list or a set.
ENTRY = len(
    entry_line(
        "zope.interface",
        "8.1",
        "0" * 64,
        buildout="6.0.1",
        setuptools="80.9.0",
        source="zope_interface-8.1.tar.gz",
        build_seconds=0.53,
    )
)


def set_bytes(eggs):
    return eggs * ENTRY


def wait_known(eggs, blobs, blob_bytes, first_byte=FIRST_BYTE):
    """Seconds that a buildout of so many eggs waits for its set and for blobs, some at a time."""
    if not blobs:
        return 0.0
    rounds = math.ceil(blobs / AT_A_TIME) * first_byte
    transfers = max(rounds, first_byte + blob_bytes / BANDWIDTH)
    return first_byte + set_bytes(eggs) / BANDWIDTH + transfers


def wait_build(builds=BUILD):
    """Seconds from an empty list on: the lease, the list once more, and the build."""
    return 2 * FIRST_BYTE + builds


def wait_finish(eggs, known, is_changed=True):
    """Seconds of the end of a buildout that pushes: entries and blobs, then lists, some at a time; the
    set, read and written."""
    rounds = math.ceil((eggs - known) / PUSHED_AT_A_TIME)
    return (3 * rounds + 1 + is_changed) * FIRST_BYTE


def tiered(gigabytes, tiers):
    price, below = 0.0, 0.0
    for limit, each in tiers:
        price += max(0.0, min(gigabytes, limit) - below) * each
        below = limit
    return price


def bill(requests, egress_bytes, stored_bytes, is_near=False):
    """Dollars a month. Builders in the region of the bucket pay nothing for traffic."""
    traffic = 0.0 if is_near else tiered(egress_bytes / 1e9, EGRESS_GB)
    return requests.price() + stored_bytes / 1e9 * STORED_GB_MONTH + traffic
