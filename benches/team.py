"""A simulated month of a team: which builder needs which eggs when, the content of local caches, and the
requests to the remote.

The popularity of projects and of applications follows Zipf's law. Each application has as many eggs as
the web corpus, with sizes drawn from it, and pins the newest versions once a week. In a large team, a
sample of builders represents all: their local caches are independent.
"""

import bisect
import functools
import itertools
import math
import operator
import random

import order
import remote_rules as rules
from remote_rules import Requests

PROJECTS = 2000
EGGS = len(rules.BLOBS["web"])  # per application
RELEASE_DAYS = 40  # working days between two releases of a project, on average
PIN_DAYS = 5  # working days between two updates of the pins of an application
DAYS = 20  # working days of a month, after as many days in which the caches fill
HOURS = 8  # per working day
BUILDOUTS = 10  # per builder and working day
HABITS = (0.8, 0.15, 0.05)  # shares of a builder's first, second and third application
SAMPLE = 150  # builders that represent all
ROUNDS = 30  # months of a single builder to average over
SEED = 1


def zipf(count, exponent=1.0):
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))


@functools.lru_cache(maxsize=None)
def sizes_of(projects):
    """The blob size of each project, drawn from the corpus. Of all rotations of an even spread of its
    sizes, this is the one that makes an application as large as the corpus."""
    sizes = sorted(rules.BLOBS["web"])
    golden = (math.sqrt(5) - 1) / 2

    def drawn(phase):
        return [sizes[int((phase + rank * golden) % 1 * len(sizes))] for rank in range(projects)]

    weights = [1 / rank for rank in range(1, projects + 1)]
    total, draws = sum(weights), EGGS
    while True:
        # The probability that an application has a project; projects are drawn until it has enough.
        likely = [1 - (1 - weight / total) ** draws for weight in weights]
        if sum(likely) >= EGGS:
            break
        draws += 1
    phases = [phase / 200 for phase in range(200)]
    expected = [sum(map(operator.mul, likely, drawn(phase))) for phase in phases]
    return drawn(min(zip(expected, phases), key=lambda pair: abs(pair[0] - sum(sizes)))[1])


class World:
    """Applications and their pins on each day."""

    def __init__(self, builders, seed=SEED):
        self.random = random.Random(seed)
        self.builders = builders
        self.applications = max(1, round(builders ** (2 / 3)))
        self.pythons = 1 + round(math.log10(builders) / 2)
        self.sizes = sizes_of(PROJECTS)
        self.popularity = zipf(self.applications)
        self.releases = [self.times() for _ in range(PROJECTS)]
        projects = zipf(PROJECTS)
        self.needs = []
        for _ in range(self.applications):
            needs = set()
            while len(needs) < EGGS:
                needs.update(self.random.choices(range(PROJECTS), cum_weights=projects))
            self.needs.append((sorted(needs), self.random.randrange(self.pythons)))
        self.offsets = [self.random.randrange(PIN_DAYS) for _ in range(self.applications)]
        self.pinned = {}

    def times(self):
        day, times = 0.0, []
        while day < 2 * DAYS:
            day += self.random.expovariate(1 / RELEASE_DAYS)
            times.append(day)
        return times

    def update(self, application, day):
        """The day on which the pins of that day were made."""
        return day - (day - self.offsets[application]) % PIN_DAYS

    def eggs(self, application, day):
        """(project, version, Python) of each pinned egg of an application."""
        made = self.update(application, day)
        if (application, made) not in self.pinned:
            needs, python = self.needs[application]
            self.pinned[application, made] = frozenset(
                (project, bisect.bisect(self.releases[project], made), python) for project in needs
            )
        return self.pinned[application, made]

    def bytes(self, eggs):
        return sum(self.sizes[project] for project, *_ in eggs)

    def application(self):
        (chosen,) = self.random.choices(range(self.applications), cum_weights=self.popularity)
        return chosen


class Month:
    """The requests of the builders of a team in a month; for a small team, the mean of several months.

    `is_warm`: whether a builder keeps its local cache; otherwise each buildout runs on a new machine. The
    first builder with new pins pushes, and all others only read; `told` counts the additional requests
    if they pushed as well.
    """

    def __init__(self, builders, is_warm, seed=SEED):
        self.is_warm = is_warm
        self.buildouts = builders * BUILDOUTS * DAYS
        self.sets = 0.0  # requested
        self.told = Requests()
        self.blobs = 0.0  # downloaded, or built instead
        self.blob_bytes = 0.0
        self.wait = 0.0
        self.changes = 0.0  # of the pins of applications
        self.built, self.built_bytes = 0.0, 0.0
        self.first_blobs = 0.0  # found in lists
        self.again = 0.0  # checked at the end of a buildout that pushes
        self.pushes = Requests()
        self.distinct, self.stored_bytes = 0.0, 0.0
        self.of_application = {}
        rounds = max(1, ROUNDS // builders)
        sample = min(builders, SAMPLE)
        for number in range(rounds):
            world = World(builders, seed + number)
            for _ in range(sample):
                self.follow(world, builders / sample / rounds)
            self.first_builds(world, 1 / rounds)
        self.applications = world.applications

    def follow(self, world, weight):
        """Simulate one builder, with this weight."""
        habits = [world.application() for _ in HABITS]
        local, told = set(), {}
        for day in range(2 * DAYS):
            for application in world.random.choices(habits, HABITS, k=BUILDOUTS):
                wanted = world.eggs(application, day)
                missing = wanted - local if self.is_warm else wanted
                is_told = self.is_warm and day - told.get(wanted, -math.inf) < rules.TOLD_DAYS
                if self.is_warm:
                    local |= missing
                if not is_told:
                    told[wanted] = day
                if day >= DAYS:
                    size = world.bytes(missing)
                    self.blobs += len(missing) * weight
                    self.blob_bytes += size * weight
                    self.wait += rules.wait_known(EGGS, len(missing), size) * weight
                    if not is_told:
                        known = EGGS if missing else 0
                        asked = rules.finish(EGGS, known, is_changed=False, has_asked=bool(missing))
                        self.told += asked.times(weight)
                    if missing:
                        self.sets += weight
                        count = self.of_application.get(application, 0)
                        self.of_application[application] = count + weight

    def first_builds(self, world, weight):
        """Simulate the first buildout after each change of pins, when the set does not exist yet."""
        there = set()
        for day in range(2 * DAYS):
            for application in range(world.applications):
                if day and world.update(application, day) != day:
                    continue
                wanted = world.eggs(application, day)
                before = world.eggs(application, day - PIN_DAYS) if day else frozenset()
                new = wanted - there
                there |= wanted
                self.stored_bytes += world.bytes(new) * weight
                if day >= DAYS and wanted != before:
                    changed = wanted - before if self.is_warm else wanted
                    self.changes += weight
                    self.built += len(new) * weight
                    self.built_bytes += world.bytes(new) * weight
                    found = changed - new
                    self.first_blobs += len(found) * weight
                    self.again += (EGGS - len(changed)) * weight
                    wait = order.wait(len(found), world.bytes(found), misses=len(new))
                    wait += rules.wait_finish(EGGS, len(changed))
                    # `follow` has this buildout too, but the requests at its end are counted here.
                    known = EGGS if changed else 0
                    told = rules.finish(EGGS, known, is_changed=False, has_asked=bool(changed))
                    self.told.subtract(told.times(weight))
                    wait -= rules.wait_known(EGGS, len(changed), world.bytes(changed))
                    self.wait += wait * weight
                    for project, *_ in new:
                        self.pushes += rules.push(world.sizes[project]).times(weight)
        self.distinct += len(there) * weight

    def requests(self):
        # A buildout with a miss requests the set and the list of withdrawn builds. The first one with new
        # pins also requests lists, builds missing eggs under a lease, and pushes them.
        fetched = max(0.0, self.blobs - self.built)
        asked = Requests(GET=2 * self.sets + fetched + self.first_blobs + self.built)
        leases = rules.lease(rules.BUILD).times(self.built)
        ends = rules.push(0, is_there=True).times(self.again) + rules.push_set().times(self.changes)
        return asked + leases + self.pushes + ends

    def egress(self):
        """Blobs, sets, entries, and lists of few versions."""
        lists = (self.first_blobs + 3 * self.built + self.again) * 3 * rules.ENTRY
        fetched = max(0.0, self.blob_bytes - self.built_bytes)
        sets = self.sets * rules.set_bytes(EGGS)
        return fetched + sets + lists + self.again * rules.ENTRY

    def stored(self):
        return self.stored_bytes + self.distinct * 2 * rules.ENTRY

    def builds_without(self):
        """Eggs that would be built without any sharing."""
        return self.blobs

    def bill(self, is_near=False):
        return rules.bill(self.requests(), self.egress(), self.stored(), is_near)


def evict(limit, days, applications=40, held_days=0, seed=SEED):
    """The bytes that each buildout downloads on a machine that builds many applications, each time in a
    fresh folder, and evicts the least recently used eggs beyond `limit` bytes once a day, but none
    used in the last `held_days` days. Returns these bytes and the size of the cache."""
    world = World(1000, seed)
    used, fetched, buildouts, size = {}, 0, 0, 0
    popularity = zipf(applications)
    largest = 0
    for day in range(days):
        for _ in range(4 * BUILDOUTS):
            (application,) = world.random.choices(range(applications), cum_weights=popularity)
            wanted = world.eggs(application, day)
            missing = wanted - used.keys()
            size += world.bytes(missing)
            if day >= days // 2:
                fetched += world.bytes(missing)
                buildouts += 1
            for egg in wanted:
                used.pop(egg, None)
                used[egg] = day
        if limit is not None:
            for egg, last in list(used.items()):
                if size <= limit or last > day - held_days:
                    break
                del used[egg]
                size -= world.bytes([egg])
        largest = max(largest, size)
    return fetched / buildouts, largest


def cdn(month, edges=4, ttl=60):
    """The share of requests that a CDN answers itself: for blobs, which each edge downloads once, and for
    sets, which it requests again after `ttl` seconds."""
    fetched = max(1.0, month.blobs - month.built)
    blobs = max(0.0, 1 - edges * month.distinct / fetched)
    seconds = DAYS * HOURS * 3600
    sets = 0.0
    for count in month.of_application.values():
        rate = count / seconds / edges
        sets += count * (rate * ttl / (1 + rate * ttl))
    sets /= sum(month.of_application.values())
    return {"blobs": blobs, "sets": sets, "fetched": fetched, "asked": month.sets}
