"""One buildout run with a cache: which cached egg may be chosen, and what happens to it.

Any failure ends in one warning, and in a buildout that goes on as if there were no cache.
"""

import contextlib
import fcntl
import functools
import glob
import logging
import os
import shutil
import time
import urllib.request

from eggcache import _bridge, _host

logger = logging.getLogger("eggcache")

#: For how long the cache is believed to have nothing of a project, in seconds.
MISSED_FOR = 0.5


class Offer:
    """A cached egg that is offered to buildout; carried by its distribution as ``.eggcache``."""

    def __init__(self, egg, requirement, source, installer):
        self.digest = egg["digest"]
        self.file_name = egg["file_name"]
        self.requirement = requirement
        self.source = source
        self.installer = installer
        #: The distribution in the eggs directory, once it is there.
        self.arrived = None


def guarded(method):
    """Make a method answer None, once and for all, when the cache fails."""

    @functools.wraps(method)
    def wrapper(self, *args, **kw):
        if self.bridge is None:
            return None
        started, was_timed, self.is_timed = time.monotonic(), self.is_timed, True
        try:
            return method(self, *args, **kw)
        except Exception as error:
            self.give_up(error)
            return None
        finally:
            self.is_timed = was_timed
            # One guarded method may call another.
            if not was_timed:
                self.seconds += time.monotonic() - started

    return wrapper


class Session:
    """State of one run.

    ``easy_install`` is the module ``zc.buildout.easy_install``, ``options`` is buildout's own
    section, ``custom`` the canonical names of projects that a part builds with options, and
    ``configuration`` what tells buildouts that want the same eggs from others.
    """

    def __init__(self, easy_install, options, directory, generation, custom, configuration):
        self.easy_install = easy_install
        self.pkg_resources = easy_install.pkg_resources
        self.directory = options["directory"]
        self.eggs_directory = options["eggs-directory"]
        self.develop_eggs_directory = options["develop-eggs-directory"]
        self.fetch_archives = options.get("egg-cache-fetch-archives", "false") == "true"
        #: None where that cannot be told: then no plain egg is served.
        self.custom = custom
        self.pid = os.getpid()
        self.environ = dict(os.environ)
        self.variant = ""
        self.custom_source = None
        #: Distributions that were put into an eggs directory since its last rescan.
        self.just_added = []
        self.built_locations = set()
        #: Where the distributions are that buildout has resolved to.
        self.locations = set()
        #: Parts that were installed or updated, and whether these are all.
        self.parts = set()
        self.whole = False
        #: Eggs of each project and variant, as the cache has told; for as long as that holds.
        self.found = {}
        #: What the cache had nothing of when it was last asked, and when that was.
        self.missed = None, 0.0
        #: Projects whose eggs were prefetched, or need not be.
        self.expected = set()
        #: Eggs directories that hold temporary copies until the program ends.
        self.prefetched_into = set()
        #: Whether there may be eggs of which it is not known whether they are stored.
        self.unsettled = False
        self.hits = self.misses = self.stored = self.copied_bytes = 0
        #: Eggs that are new on a remote; None if none is pushed to.
        self.pushed = None
        self.role = None
        self.seconds = 0.0
        #: Whether buildout is to build, whatever the cache has.
        self.offers_nothing = False
        #: Whether a method is at work whose time counts.
        self.is_timed = False
        self.bridge = None
        started = time.monotonic()
        try:
            self.bridge = _bridge.Bridge(_bridge.find_program())
            answer = self.bridge.call(
                "open",
                cache=directory,
                host=_host.describe(
                    self.pkg_resources, generation, options.get("egg-cache-environment", "")
                ),
                buildout=self._version("zc.buildout"),
                setuptools=self._version("setuptools"),
                eggs_directory=self.eggs_directory,
                configuration=configuration,
                offline=options.get("offline", "false") == "true",
            )
            self.read_only = answer["read_only"]
            #: ``reader``, ``builder``, or None without remotes.
            self.role = answer.get("remotes")
            if "warning" in answer:
                logger.warning("%s.", answer["warning"])
            self._tell_torn(answer["torn"])
        except Exception as error:
            self.give_up(error)
        self.seconds += time.monotonic() - started

    def _tell_torn(self, names):
        if names:
            logger.warning(
                "the machine went down while it copied; incomplete and removed: %s.",
                ", ".join(names),
            )

    def _version(self, project):
        # By its requirement: keys are spelled otherwise by newer versions of setuptools.
        requirement = self.pkg_resources.Requirement.parse(project)
        found = self.pkg_resources.working_set.find(requirement)
        return found and found.version

    def give_up(self, error):
        logger.warning("%s; going on without the cache.", error or type(error).__name__)
        self.abandon()

    def abandon(self):
        """From here on there is no cache."""
        bridge, self.bridge = self.bridge, None
        if bridge is not None:
            bridge.kill()
            for directory in self.prefetched_into:
                _sweep(directory)

    # -- Which version may be chosen

    @guarded
    def choose(self, installer, requirement, source):
        """The offer that spares buildout a look at the index; None where it must look.

        An egg that is installed and satisfies is buildout's own affair. A pin is served. What is
        not pinned is served only where buildout is not to look for newer versions.
        """
        if any(dist in requirement for dist in installer._env[requirement.project_name]):
            return None
        # That all archives are in the download cache is for buildout to find out.
        if self.offers_nothing or installer._install_from_cache:
            return None
        if self._is_custom(requirement) and not source:
            return None
        pinned = _pinned_version(requirement)
        if pinned is not None:
            eggs = self._eggs_of(requirement, pinned)
            eggs = [egg for egg in eggs if self._same_version(egg["version"], pinned)]
        elif installer._dest is None or not installer._newest:
            eggs = self._best(self._eggs_of(requirement), requirement, installer._prefer_final)
        else:
            return None
        return self._offer(eggs[0], requirement, source, installer) if eggs else None

    @guarded
    def same_as(self, installer, available, requirement, source):
        """The offer that equals what the index has: of that version, built from that archive."""
        if self.offers_nothing:
            return None
        if self._is_custom(requirement) and not source:
            return None
        eggs = [
            egg
            for egg in self._eggs_of(requirement, available.version)
            if egg["source_sha256"] and self._same_version(egg["version"], available.version)
        ]
        sha256 = eggs and _sha256_of_link(available.location)
        eggs = [egg for egg in eggs if egg["source_sha256"] == sha256]
        return eggs and self._offer(eggs[0], requirement, source, installer)

    @contextlib.contextmanager
    def offering_nothing(self):
        self.offers_nothing = True
        try:
            yield
        finally:
            self.offers_nothing = False

    def _eggs_of(self, requirement, version=None):
        asked, now = (requirement.key, self.variant, version), time.monotonic()
        eggs = self.found.get(asked)
        # Another buildout may store the first at any time, but buildout asks twice at once.
        if eggs is None and (self.missed[0] != asked or now > self.missed[1] + MISSED_FOR):
            eggs = self._find(requirement.project_name, version)
            if eggs:
                self.found[asked] = eggs
            else:
                self.missed = asked, now
        return eggs or []

    def _find(self, name, version):
        answer = self.bridge.call("find", name=name, variant=self.variant, version=version)
        self._warn(answer)
        return answer["eggs"]

    def _warn(self, answer):
        """Tell what is wrong with remotes; each is told once."""
        for warning in answer.get("warnings", ()):
            logger.warning("%s.", warning)

    def _same_version(self, left, right):
        parse = self.pkg_resources.parse_version
        try:
            return parse(left) == parse(right)
        except ValueError:
            return left == right

    def _best(self, eggs, requirement, prefer_final):
        """The newest, as `Installer._satisfied` would take it; the first stored on a tie. A local version
        is for those alone that name it."""
        versions = []
        for egg in eggs:
            try:
                version = self.pkg_resources.parse_version(egg["version"])
                if egg["version"] in requirement and not getattr(version, "local", None):
                    versions.append((version, egg))
            except ValueError:
                pass  # a version of before PEP 440, which this setuptools does not compare
        if prefer_final:
            finals = [found for found in versions if not found[0].is_prerelease]
            versions = finals or versions
        newest = max((version for version, _ in versions), default=None)
        return [egg for version, egg in versions if version == newest]

    def _offer(self, egg, requirement, source, installer):
        dist = self.pkg_resources.Distribution.from_filename(
            egg["file_name"], precedence=self.pkg_resources.EGG_DIST
        )
        dist.eggcache = Offer(egg, requirement, source, installer)
        return dist

    def _is_custom(self, requirement):
        return self.custom is None or canonical(requirement.project_name) in self.custom

    # -- From the cache

    @guarded
    def expect(self, installer, requirements, working_set=()):
        """Let the program copy what ``requirements`` will ask for, while buildout does other work. Their
        markers hold.

        What is copied ahead is not yet in the eggs directory: only `materialize` puts it there.
        """
        if installer._dest is None or self.variant:
            return
        wanted = []
        for requirement in requirements:
            if requirement.key in self.expected:
                continue
            self.expected.add(requirement.key)
            if (
                requirement.key in working_set
                or installer._env[requirement.project_name]
            ):
                continue
            wanted += self._constrained(installer, requirement)
        self._look(wanted, installer._newest)
        digests = []
        for requirement in wanted:
            offered = self.choose(installer, requirement, None)
            if offered:
                digests.append(offered.eggcache.digest)
        if digests:
            self.prefetched_into.add(installer._dest)
            self._tell_torn(
                self.bridge.call("prefetch", digests=digests, into=installer._dest).get("torn")
            )

    def _constrained(self, installer, requirement):
        """The requirement with its constraint; none if they conflict, of which buildout will complain."""
        log = self.easy_install.logger
        before, log.disabled = log.disabled, True
        try:
            return [installer._constrain(requirement)]
        except self.easy_install.IncompatibleConstraintError:
            return []
        finally:
            log.disabled = before

    def _look(self, requirements, newest):
        """Let the program ask remotes of all these at a time."""
        if self.role is None:
            return
        pins = [(it.project_name, _pinned_version(it)) for it in requirements]
        wanted = [{"name": name, "version": pin} for name, pin in pins if pin or not newest]
        if len(wanted) > 1:
            self.bridge.call("look", wanted=wanted)

    @guarded
    def await_build(self, installer, dist, wanted, source=None):
        """The offer of what another builder has built while this one waited for it.

        None where this one is to build it. What is waited for is one version of a project; if ``wanted``,
        the requirement, pins none, it is built from the archive that the index has.
        """
        if self.role != "builder" or self.offers_nothing:
            return None
        source_sha256 = ""
        if _pinned_version(wanted) is None or installer._install_from_cache:
            source_sha256 = _sha256_of_link(dist.location)
            if not source_sha256:
                return None
        has_told = False
        requirement = dist.as_requirement()
        while True:
            answer = self.bridge.call(
                "lease",
                name=dist.project_name,
                variant=self.variant,
                version=dist.version,
                source_sha256=source_sha256,
            )
            if answer["lease"] == "held":
                if not has_told and answer["wait"]:
                    logger.info("%s is being built elsewhere; waiting for it.", dist)
                    has_told = True
                time.sleep(answer["wait"])
                continue
            if answer["lease"] != "built":
                return None
            self.found.clear()
            self.missed = None, 0.0
            eggs = [
                egg
                for egg in self._eggs_of(requirement, dist.version)
                if self._same_version(egg["version"], dist.version)
                and source_sha256 in ("", egg["source_sha256"])
            ]
            return self._offer(eggs[0], requirement, source, installer) if eggs else None

    @guarded
    def materialize(self, dist, dest):
        """Copy an offered egg into ``dest``; answer its distribution there, or None."""
        offer = dist.eggcache
        self.prefetched_into.add(dest)
        try:
            answer = self.bridge.call("materialize", digest=offer.digest, into=dest)
        except _bridge.Refusal as refusal:
            self.found.clear()
            if refusal.kind == "unavailable":
                # What is wrong with its remote is told once, and not for each egg.
                return None
            if refusal.kind == "unusable":
                logger.warning("%s; building %s.", refusal, dist)
                return None
            if refusal.kind == "in-the-way":
                # Buildout's own rule for a buildout that runs in parallel: take what it has made.
                found = self._at(dist, os.path.join(dest, offer.file_name))
                if found is not None:
                    return found
            raise
        self._tell_torn(answer.get("torn"))
        found = self._at(dist, answer["path"])
        if found is None:
            raise _bridge.BridgeError("%s is not %s" % (answer["path"], dist))
        self.hits += 1
        self.copied_bytes += answer.get("bytes", 0)
        # What buildout reads next; the distribution keeps it.
        self.expect(offer.installer, found.requires(_extras_of(found, offer.requirement)))
        return found

    def _at(self, dist, location):
        found = self.easy_install._get_matching_dist_in_location(dist, location)
        if found is not None:
            found.precedence = self.pkg_resources.EGG_DIST
            self.just_added.append(found)
        return found

    # -- Into the cache

    @guarded
    def fetched_for_custom(self, archive):
        """The archive of the custom build that is going on."""
        if os.path.isfile(archive):
            self.custom_source = os.path.basename(archive), _host.sha256_of(archive)

    @guarded
    def built(self, dist, archive, dest, seconds):
        """An egg was put into ``dest`` by buildout itself."""
        location = self.easy_install.realpath(dist.location)
        if os.path.dirname(location) != self.easy_install.realpath(dest):
            return
        self.just_added.append(dist)
        if location in self.built_locations:
            return  # buildout 4 goes through here twice for a wheel that it renames
        self.built_locations.add(location)
        self.misses += 1
        source_sha256 = source = None
        if os.path.isfile(archive):
            source, source_sha256 = os.path.basename(archive), _host.sha256_of(archive)
        elif self.custom_source:
            source, source_sha256 = self.custom_source
        self._store(location, source_sha256, source, seconds)

    @guarded
    def store_installed(self):
        """Keep what buildout installed before this was loaded: extensions and what they need."""
        directory = self.easy_install.realpath(self.eggs_directory)
        for dist in self.pkg_resources.working_set:
            location = self.easy_install.realpath(dist.location)
            if os.path.dirname(location) == directory and location.endswith(".egg"):
                eggs = self._find(dist.project_name, dist.version)
                if not any(self._same_version(egg["version"], dist.version) for egg in eggs):
                    self._store(location, None, None, None)

    @guarded
    def _store(self, location, source_sha256, source, seconds):
        if self.read_only or not location.endswith(".egg"):
            return
        self.found.clear()
        self.missed = None, 0.0
        self.unsettled = True
        self.bridge.post(
            "store",
            functools.partial(self._answered, location),
            path=location,
            source_sha256=source_sha256 or "",
            variant=self.variant,
            source=source,
            build_seconds=seconds,
        )

    def _answered(self, location, answer, refusal):
        if refusal is not None:
            self._stores_no_more(refusal)
        else:
            self._tell(location, answer)

    def _tell(self, location, answer):
        if answer["outcome"] in ("stored", "replaced"):
            self.stored += 1
        elif answer["outcome"] == "refused":
            logger.warning("not stored: %s: %s.", os.path.basename(location), answer["reason"])

    def _stores_no_more(self, why):
        # What can be read can still be served.
        if not self.read_only:
            logger.warning("%s; nothing more is stored.", why)
        self.read_only = True

    def settle(self):
        """Wait until all eggs are stored that the program was given, and tell how that went."""
        if not self.unsettled:
            return
        self.unsettled = False
        answer = self.bridge.call("settle")
        for told in answer["outcomes"]:
            self._tell(told["path"], told)
        if "failure" in answer:
            self._stores_no_more(answer["failure"])

    # -- The end

    def ended_up_with(self, locations):
        """What buildout has resolved to in one call."""
        self.locations.update(locations)

    def finished_parts(self, parts):
        """The run is over, and these are the parts of the buildout."""
        self.whole = self.parts.issuperset(parts)

    @guarded
    def register(self):
        """Tell the cache which eggs this buildout uses. The run has succeeded."""
        self.settle()
        if not os.path.isdir(self.eggs_directory):
            return
        realpath = functools.lru_cache(None)(self.easy_install.realpath)
        folders = realpath(self.eggs_directory), realpath(self.develop_eggs_directory)
        # Extensions and recipes are part of this Python's own working set.
        self.ended_up_with(dist.location for dist in self.pkg_resources.working_set)
        eggs = [
            location
            for location in self.locations
            if location.endswith(".egg") and realpath(os.path.dirname(location)) in folders
        ]
        try:
            answer = self.bridge.call(
                "root",
                directory=self.directory,
                eggs_directory=self.eggs_directory,
                eggs=sorted(eggs),
                whole=self.whole,
            )
            if "warning" in answer:
                logger.warning("%s; garbage is not collected.", answer["warning"])
        except _bridge.Refusal as refusal:
            logger.warning("%s; what this buildout uses may be evicted.", refusal)

    @guarded
    def _close(self):
        self.settle()
        answer = self.bridge.close()
        self._warn(answer)
        self.pushed = answer.get("pushed")

    def close(self):
        """Say what the cache did, in one line."""
        if self.bridge is not None and self.bridge.is_broken:
            # Buildout was interrupted while it waited for an answer.
            self.bridge, bridge = None, self.bridge
            bridge.leave()
        if self.bridge is None:
            return
        self._close()
        if self.bridge is None:
            return
        self.bridge = None
        pushed = "" if self.pushed is None else ", %d pushed" % self.pushed
        logger.info(
            "%d hits, %d misses, %d stored%s; %.1f MB copied, %.2f s spent.",
            self.hits,
            self.misses,
            self.stored,
            pushed,
            self.copied_bytes / 1e6,
            self.seconds,
        )


def canonical(name):
    """PEP 503."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _sweep(directory):
    """Remove what a program that was killed had copied ahead; a living one holds a lock on it."""
    for path in glob.glob(os.path.join(glob.escape(directory), ".eggcache-*")):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(handle)


def _pinned_version(requirement):
    """The version of a requirement for exactly one, as buildout tells it; else None."""
    specs = requirement.specs
    if len(specs) == 1 and specs[0][0] in ("==", "===") and not specs[0][1].endswith(".*"):
        return specs[0][1]
    return None


def _extras_of(dist, requirement):
    """The extras of a requirement that the distribution has; to complain is buildout's affair."""
    return [extra for extra in requirement.extras if extra in dist.extras]


def _sha256_of_link(location):
    """The SHA-256 of an archive that buildout would fetch: as the index states it, or its own."""
    location, _, fragment = location.partition("#")
    for item in fragment.split("&"):
        name, _, value = item.partition("=")
        if name == "sha256":
            return value.lower()
    path = location
    if location.startswith("file://"):
        path = urllib.request.url2pathname(location[len("file://") :])
    if os.path.isfile(path):
        return _host.sha256_of(path)
    return None
