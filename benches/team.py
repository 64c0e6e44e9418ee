"""A month of a team: who needs which eggs when, what its local caches have, and what is asked for.

Projects are popular after Zipf's law, applications too. Each application has as many eggs as the web
corpus, of sizes drawn from it, and pins the newest versions once a week. Of a large team, some builders
stand for all: their local caches know nothing of each other.
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
EGGS = len(rules.BLOBS["web"])  # of an application
RELEASE_DAYS = 40  # working days between two releases of a project, on average
PIN_DAYS = 5  # working days between two updates of the pins of an application
DAYS = 20  # working days of a month, after as many in which caches fill
HOURS = 8  # of a working day
BUILDOUTS = 10  # of a builder on a working day
HABITS = (0.8, 0.15, 0.05)  # how often a builder builds its first, second and third application
SAMPLE = 150  # builders that stand for all
ROUNDS = 30  # months of one builder of which the mean is taken
SEED = 1


def zipf(count, exponent=1.0):
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))


@functools.lru_cache(maxsize=None)
def sizes_of(projects):
    """Bytes of the blob of each project, drawn from the corpus. Of all ways to go round it that
    spread the large ones, the one that makes an application as large as the corpus is."""
    sizes = sorted(rules.BLOBS["web"])
    golden = (math.sqrt(5) - 1) / 2

    def drawn(phase):
        return [sizes[int((phase + rank * golden) % 1 * len(sizes))] for rank in range(projects)]

    weights = [1 / rank for rank in range(1, projects + 1)]
    total, draws = sum(weights), EGGS
    while True:
        # How likely it is that an application has a project, which is drawn until it has enough.
        likely = [1 - (1 - weight / total) ** draws for weight in weights]
        if sum(likely) >= EGGS:
            break
        draws += 1
    phases = [phase / 200 for phase in range(200)]
    expected = [sum(map(operator.mul, likely, drawn(phase))) for phase in phases]
    return drawn(min(zip(expected, phases), key=lambda pair: abs(pair[0] - sum(sizes)))[1])


class World:
    """Applications and what they pin on which day."""

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
        """The day when the pins of that day were made."""
        return day - (day - self.offsets[application]) % PIN_DAYS

    def eggs(self, application, day):
        """(project, version, Python) of each egg that the application pins."""
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
    """What the builders of a team ask for in a month, the mean of several months of a small team.

    `is_warm`: whether a builder keeps its local cache, or is a new machine for each buildout. Whoever is
    first with new pins pushes, and all others read; `told` is what they would ask for beside that if
    they pushed as well.
    """

    def __init__(self, builders, is_warm, seed=SEED):
        self.is_warm = is_warm
        self.buildouts = builders * BUILDOUTS * DAYS
        self.sets = 0.0  # that are asked for
        self.told = Requests()
        self.blobs = 0.0  # that are fetched, or would be if they were not built
        self.blob_bytes = 0.0
        self.wait = 0.0
        self.changes = 0.0  # of the pins of applications
        self.built, self.built_bytes = 0.0, 0.0
        self.first_blobs = 0.0  # that are found in lists
        self.again = 0.0  # that are asked for at the end of a buildout that pushes
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
        """One builder, which counts for so many."""
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
        """The first buildout after the pins of an application have changed does not know the set."""
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
                    # It is one of those of `follow`, and what it asks for at its end is counted here.
                    known = EGGS if changed else 0
                    told = rules.finish(EGGS, known, is_changed=False, has_asked=bool(changed))
                    self.told.subtract(told.times(weight))
                    wait -= rules.wait_known(EGGS, len(changed), world.bytes(changed))
                    self.wait += wait * weight
                    for project, *_ in new:
                        self.pushes += rules.push(world.sizes[project]).times(weight)
        self.distinct += len(there) * weight

    def requests(self):
        # Who lacks something asks for the set. Whoever is first with new pins asks for lists beside
        # that, builds what nobody has, with a lease, and pushes it.
        fetched = max(0.0, self.blobs - self.built)
        asked = Requests(GET=self.sets + fetched + self.first_blobs + self.built)
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
        """Eggs that would be built if nobody shared anything."""
        return self.blobs

    def bill(self, is_near=False):
        return rules.bill(self.requests(), self.egress(), self.stored(), is_near)


def evict(limit, days, applications=40, held_days=0, seed=SEED):
    """Bytes that each buildout fetches on one machine that builds many applications, each time in a
    fresh folder, and evicts once a day what was used least recently beyond `limit` bytes; what was
    used in the last `held_days` days stays. Answers that, and the size of the cache."""
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
    """Share of requests that a CDN answers itself: of blobs, each of which an edge fetches once, and
    of sets, which it asks for again after `ttl` seconds."""
    fetched = max(1.0, month.blobs - month.built)
    blobs = max(0.0, 1 - edges * month.distinct / fetched)
    seconds = DAYS * HOURS * 3600
    sets = 0.0
    for count in month.of_application.values():
        rate = count / seconds / edges
        sets += count * (rate * ttl / (1 + rate * ttl))
    sets /= sum(month.of_application.values())
    return {"blobs": blobs, "sets": sets, "fetched": fetched, "asked": month.sets}
