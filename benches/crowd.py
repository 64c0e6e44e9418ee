"""Simulations of many builders at once: all want the same new version, all start at the same moment, or
all write to one list. The simulation is event by event; equal seeds give equal figures.
"""

import collections
import heapq
import math
import random

import remote_rules as rules

SEED = 1


class Store:
    """An object store that refuses requests (503) beyond its limits in each tenth of a second."""

    def __init__(self, is_limited=True):
        self.is_limited = is_limited
        self.counts = collections.Counter()
        self.refused = 0
        self.seconds = {"GET": collections.Counter(), "PUT": collections.Counter()}
        self.tenths = collections.Counter()

    def ask(self, at, kind="GET"):
        """Whether a request is answered; a removal counts as a write."""
        self.counts[kind] += 1
        group = "GET" if kind in ("GET", "HEAD") else "PUT"
        self.seconds[group][int(at)] += 1
        limit = (rules.PARTITION_GETS if group == "GET" else rules.PARTITION_PUTS) / 10
        tenth = group, int(at * 10)
        if self.is_limited and self.tenths[tenth] >= limit:
            self.refused += 1
            return False
        self.tenths[tenth] += 1
        return True

    def peak(self, group="GET"):
        return max(self.seconds[group].values(), default=0)


class Backoff:
    """Repeats a request that was refused, as object_store does (client/backoff.rs). The transfer of a blob
    starts once more where it broke off, unless its time is over."""

    def __init__(self, chance, patience, at, is_blob=False):
        self.chance, self.patience, self.rounds = chance, patience, 2 if is_blob else 1
        self.begin(at)

    def begin(self, at):
        self.left, self.next = self.patience.retries, rules.BACKOFF
        self.rounds -= 1
        self.until = at + self.patience.answer

    def again(self, at):
        """The time at which a refused request is repeated, or None; a refusal takes as long as any
        other answer."""
        at += rules.FIRST_BYTE
        if not self.left:
            if not self.rounds:
                return None
            self.begin(at)
            return at
        self.left -= 1
        pause = self.next
        longest = self.next * rules.BACKOFF_BASE
        self.next = min(self.patience.most_between, self.chance.uniform(rules.BACKOFF, longest))
        return at + pause if at + pause + rules.FIRST_BYTE <= self.until else None


class Queue:
    """Events in order of time; events at the same time in order of insertion."""

    def __init__(self):
        self.events, self.count = [], 0

    def put(self, at, *event):
        self.count += 1
        heapq.heappush(self.events, (at, self.count, event))

    def __iter__(self):
        while self.events:
            at, _, event = heapq.heappop(self.events)
            yield (at, *event)


def look_as_is(chance, looks):
    """The pause in src/remote/build_lease.rs: 0.25 s, doubled each time up to 8 s, plus 40 to 120 ms."""
    first, most = rules.LOOK
    return min(first * 2 ** min(looks, 6), most) + chance.uniform(0.04, 0.12)


Herd = collections.namedtuple("Herd", "store builds alone fetched waits")


def herd(builders, within, build, look=look_as_is, patience=rules.OF_BUILD, is_limited=True, seed=SEED):
    """All builders want one egg that nobody has built, within `within` seconds, with one new
    configuration. With `look=None`, all but the first builder only read and use no leases.

    A builder that is refused too often gives up on the remote for the rest of its run and builds alone.
    """
    chance = random.Random(seed)
    store, queue = Store(is_limited), Queue()
    arrivals = [chance.uniform(0, within) for _ in range(builders)]
    for builder, at in enumerate(arrivals):
        queue.put(at, builder, "set", 0, None)
    first, built_at, told_at = None, math.inf, math.inf
    builds, alone, fetched, waits = 0, 0, 0, []
    for at, builder, what, looks, backoff in queue:
        if what == "built":
            # Check entry, put blob and entry, update the list; check and release the lease; put the set.
            for kind in "GET PUT PUT GET PUT GET POST GET PUT".split():
                store.ask(at, kind)
            built_at = told_at = at
            continue
        if what == "renew":
            if at < built_at:
                store.ask(at, "GET")
                store.ask(at, "PUT")
                queue.put(at + rules.RENEWAL, builder, "renew", 0, None)
            continue
        if not store.ask(at, "PUT" if what in ("take", "tell") else "GET"):
            backoff = backoff or Backoff(chance, patience, at, what == "blob")
            again = backoff.again(at)
            if again is not None:
                queue.put(again, builder, what, looks, backoff)
            elif what == "once more":
                # Simplification: this builder never gives up on the remote, as nobody else builds.
                queue.put(at + 1, builder, what, looks, None)
            elif what not in ("compare", "tell"):
                alone += 1
            continue
        then = at + rules.FIRST_BYTE
        if what == "set":
            queue.put(then, builder, "list", 0, None)
        elif what == "list" and at >= built_at:
            queue.put(then, builder, "blob", looks, None)
        elif what == "list" and look is None and first is not None:
            builds += 1
        elif what == "list":
            first = builder if look is None else first
            queue.put(then, builder, "look" if looks else "take", looks, None)
        elif what == "take" and first in (None, builder):
            first = builder
            queue.put(then, builder, "once more", 0, None)
        elif what == "take":
            queue.put(then, builder, "look", looks, None)
        elif what == "once more":
            builds += 1
            queue.put(then + build, builder, "built", 0, None)
            queue.put(at + rules.RENEWAL, builder, "renew", 0, None)
        elif what == "look" and at < built_at:
            queue.put(then + look(chance, looks), builder, "look", looks + 1, None)
        elif what == "look":
            queue.put(then, builder, "list", looks + 1, None)
        elif what == "blob":
            fetched += 1
            waits.append(then - max(arrivals[builder], built_at))
            if look is not None:
                queue.put(then, builder, "compare", 0, None)
        elif what == "compare" and at < told_at:
            queue.put(then, builder, "tell", 0, None)
    return Herd(store, builds, alone, fetched, sorted(waits))


Start = collections.namedtuple("Start", "store without seconds")


def start(
    builders,
    within,
    patience=rules.OF_BUILD,
    blobs=len(rules.BLOBS["web"]),
    seed=SEED,
):
    """Builders with empty caches start within `within` seconds, each with a known set, from a store that
    refuses requests beyond its limits."""
    chance = random.Random(seed)
    store, queue = Store(), Queue()
    for builder in range(builders):
        queue.put(chance.uniform(0, within), builder, False, None)
    left = [blobs] * builders
    is_down = [False] * builders
    # A transfer shares the builder's bandwidth with the other transfers.
    mean = sum(rules.BLOBS["web"]) / len(rules.BLOBS["web"])
    transfer = rules.FIRST_BYTE + mean * rules.AT_A_TIME / rules.BANDWIDTH
    end = 0.0
    for at, builder, is_blob, backoff in queue:
        if is_down[builder]:
            continue
        if not store.ask(at):
            backoff = backoff or Backoff(chance, patience, at, is_blob)
            again = backoff.again(at)
            if again is None:
                is_down[builder] = True
            else:
                queue.put(again, builder, is_blob, backoff)
            continue
        after = transfer if is_blob else rules.FIRST_BYTE
        end = max(end, at + after)
        for _ in range(min(left[builder], 1 if is_blob else rules.AT_A_TIME)):
            left[builder] -= 1
            queue.put(at + after, builder, True, None)
    return Start(store, sum(is_down), end)


Writers = collections.namedtuple("Writers", "tries gave_up seconds requests versions")


def jitter(chance, attempt):
    """The pause in src/remote/contended_write.rs."""
    most = 20 << min(attempt, 6)
    return (most / 2 + chance.randrange(most)) / 1000


def writers(count, tries=rules.TRIES, is_same=False, seed=SEED):
    """`count` writers add to one list at the same moment: different eggs, or all the same egg."""
    chance = random.Random(seed)
    version, requests, gave_up, end = 0, 0, 0, 0.0
    used = []
    half = rules.FIRST_BYTE / 2  # one way of a request or of its answer
    queue = Queue()
    for writer in range(count):  # all start within the time of one request
        queue.put(chance.uniform(0, rules.FIRST_BYTE), "read", 0, 0)
    for at, what, attempt, seen in queue:
        requests += 1
        if what == "read" and is_same and version:
            used.append(attempt + 1)
        elif what == "read":
            queue.put(at + 2 * half, "write", attempt, version)
            continue
        elif seen == version:
            version += 1
            used.append(attempt + 1)
        elif attempt + 1 < tries:
            queue.put(at + 2 * half + jitter(chance, attempt), "read", attempt + 1, 0)
            continue
        else:
            used.append(tries)
            gave_up += 1
        end = max(end, at + half)
    return Writers(sum(used) / count, gave_up, end, requests, version)
