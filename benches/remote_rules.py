"""A model of the requests to a remote, the time they take and their price, from the rules of `src/`.

All assumptions about prices, times and limits are here. A rule of `src/` names its file, where
tests/benches/test_scale.py reads it.
"""

import collections
import json
import math
import os

# Prices: Amazon S3 Standard and CloudFront, us-east-1, in dollars, as listed in March 2026, without
# free tiers and contracts. Outgoing traffic has tiers: (up to GB a month, price per GB).
PUT = 0.005 / 1000  # also POST and LIST; deletions use POST
GET = 0.0004 / 1000  # also HEAD
STORED_GB_MONTH = 0.023
EGRESS_GB = [(10e3, 0.09), (50e3, 0.085), (150e3, 0.07), (math.inf, 0.05)]
CDN_GET = 0.01 / 10_000
CDN_GB = [(10e3, 0.085), (50e3, 0.08), (150e3, 0.06), (500e3, 0.04), (math.inf, 0.03)]
# A store without fees for traffic: Cloudflare R2, as listed in August 2026.
FREE_EGRESS = {"put": 4.5e-6, "get": 0.36e-6, "stored": 0.015}

# The limits that S3 documents for each partition of a bucket; a new bucket is one partition.
PARTITION_GETS = 5500  # a second
PARTITION_PUTS = 3500

# Times. Amazon documents 100 to 200 ms to the first byte of a small object.
FIRST_BYTE = 0.1  # seconds, for any request
EDGE_FIRST_BYTE = 0.02  # from a CDN that has the object
BANDWIDTH = 25e6  # bytes a second of one builder: 200 Mbit/s
BUILD = 48.1 / 90  # seconds for one egg: `docs/demo/demo.py` with the web corpus, downloads included
CACHE_HIT = 0.9 / 90  # the same from the local cache

# src/remote/contended_write.rs
TRIES = 12
# src/remote/publish.rs
LARGE = 1 << 20
# src/remote/client/: transfer.rs, objects.rs, backends.rs and patience.rs
PART = 8 << 20
MAX_LIST = 32 << 20
BACKOFF = 0.1  # seconds before the first retry
BACKOFF_BASE = 4.0
#: The number of retries, the most seconds between two of them, and the time limit for all.
Patience = collections.namedtuple("Patience", "retries most_between answer")
OF_BUILD = Patience(4, 0.8, 2.2)
OF_COMMAND = Patience(8, 10.0, 60.0)
# src/remote/parallel.rs
AT_A_TIME = 8
PUSHED_AT_A_TIME = 4
# src/serve/announced_sets.rs
TOLD_DAYS = 1  # VALID_FOR there
# src/remote/build_lease.rs
RENEWAL = 10  # seconds
LOOK = (0.25, 8)  # seconds between two polls: at first, and at most; POLL there
WAIT = 20 * 60  # seconds to wait for a live builder

with open(os.path.join(os.path.dirname(__file__), "corpora", "blob-bytes.json")) as file:
    #: The size of each blob of a corpus, in bytes.
    BLOBS = json.load(file)


class Requests(collections.Counter):
    """Numbers of requests by kind, as the store counts them; `made` as src/remote/client/mod.rs counts."""

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
    """A buildout with a configuration known to the remote: the set, then the missing blobs. If none is
    missing, there are no requests."""
    return Requests(GET=1 + blobs if blobs else 0)


def hit():
    """An egg of a configuration unknown to the remote: the list of its project, and the blob."""
    return Requests(GET=2)


def miss():
    """An egg that the remote does not have."""
    return Requests(GET=1)


def withdrawals():
    """The list of withdrawn builds: once in each run that asks the remote for anything, or once a day."""
    return Requests(GET=1)


def upload(blob_bytes):
    """Uploading a blob. A large one is uploaded in parts, each of which is a request to the store."""
    if blob_bytes <= PART:
        return Requests(PUT=1)
    puts = 2 + math.ceil(blob_bytes / PART)  # the first announces parts, the last completes them
    return Requests(PUT=puts, parts=puts - 1)


def push(blob_bytes, is_there=False):
    """Pushing an egg: check for its entry and its blob; if missing, upload both; then update the list of
    its project."""
    if is_there:
        return Requests(GET=2, HEAD=1)
    asked = Requests(GET=1, HEAD=int(blob_bytes >= LARGE))
    return asked + upload(blob_bytes) + Requests(PUT=1) + Requests(GET=1, PUT=1)


def push_set(is_changed=True):
    return Requests(GET=1, PUT=int(is_changed))


def finish(eggs, known, is_changed=True, has_asked=True):
    """The end of a buildout that pushes and whose set this cache has not announced in the last day. Eggs
    known to be there came from the remote in this run, were built and pushed, or are in the set, which a
    buildout without any miss requests now. The others are checked one by one."""
    if not has_asked and not is_changed:
        known = eggs
    looked = Requests() if has_asked else Requests(GET=1) + withdrawals()
    return looked + push(0, is_there=True).times(eggs - known) + push_set(is_changed)


def lease(build_seconds):
    """The lease of a build: take it, read the list once more, renew it (GET, PUT), read it again and
    release it (POST)."""
    renewals = int(build_seconds // RENEWAL)
    return Requests(PUT=1 + renewals, GET=1 + renewals + 1, POST=1)


def entry_line(name, version, source_sha256="", **provenance):
    """One line of a list or a set, as long as src/remote/entry.rs and minisign make it."""
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


#: The size in bytes of an entry for a built egg, in a list or a set.
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
    """Seconds that a buildout of `eggs` eggs waits for its set and for blobs, several at a time."""
    if not blobs:
        return 0.0
    rounds = math.ceil(blobs / AT_A_TIME) * first_byte
    transfers = max(rounds, first_byte + blob_bytes / BANDWIDTH)
    return first_byte + set_bytes(eggs) / BANDWIDTH + transfers


def wait_build(builds=BUILD):
    """Seconds after an empty list: the lease, the list once more, and the build."""
    return 2 * FIRST_BYTE + builds


def wait_finish(eggs, known, is_changed=True):
    """Seconds at the end of a buildout that pushes: entries and blobs, then lists, several at a time; then
    the set, read and written."""
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
