"""One buildout run with a cache.

`Session` stands between buildout and the rest of this package: if anything fails there, it logs one
warning, and buildout continues as if there were no cache.
"""

import functools
import os
import sysconfig

from eggcache import _ahead, _bridge, _compat, _converter, _host, _options, _progress
from eggcache._chooser import Chooser
from eggcache._conflicts import Conflicts
from eggcache._copier import Copier, warn_of_torn_copies
from eggcache._leases import Leases
from eggcache._log import logger
from eggcache._places import Places
from eggcache._requirements import canonical
from eggcache._root import Root
from eggcache._storer import Storer


#: As float, which Python 2.7 divides by as Python 3 does.
_MIB = float(1 << 20)


class Tally(object):
    """What the cache did in a run."""

    def __init__(self):
        self.hits = self.misses = self.stored = self.copied_bytes = 0
        #: How many eggs buildout lacks: it can neither install nor build them.
        self.missing = 0
        #: How many of the misses the program has made of wheels.
        self.converted = 0
        #: Projects that are known to be needed, but not in place yet.
        self.remaining = set()
        #: How many eggs a remote did not have before; None if this cache pushes to none.
        self.pushed = None
        #: Time that buildout has spent in this package.
        self.seconds = 0.0

    def __str__(self):
        counts = [_counted(self.hits, "hit", "hits"), _counted(self.misses, "miss", "misses")]
        if self.converted:
            counts[1] += ": %d converted" % self.converted
            counts.append("%d built" % (self.misses - self.converted))
        if self.missing:
            counts.append("%d missing" % self.missing)
        counts.append("%d stored" % self.stored)
        if self.pushed is not None:
            counts.append("%d pushed" % self.pushed)
        copied = self.copied_bytes / _MIB
        return "%s; %.1f MiB copied, %.2f s in eggcache" % (", ".join(counts), copied, self.seconds)


def _counted(number, singular, plural):
    return "%d %s" % (number, singular if number == 1 else plural)


def guarded(method):
    """Time a method, and let it return None if the cache fails in it or has failed before.

    A guarded method must not call another one: it would go on after that one has failed.
    """

    @functools.wraps(method)
    def wrapper(self, *args, **kw):
        if not self.is_active:
            return None
        started = _compat.monotonic()
        try:
            return method(self, *args, **kw)
        except Exception as error:
            self.give_up(error)
            return None
        finally:
            self.tally.seconds += _compat.monotonic() - started

    return wrapper


class Session(object):
    """The cache during one buildout run.

    ``easy_install`` is the module ``zc.buildout.easy_install``, ``options`` is the ``[buildout]``
    section, and ``custom`` holds its custom builds (`_custom.CustomBuilds`).
    """

    def __init__(self, easy_install, options, custom, hashes=None):
        self.easy_install = easy_install
        self.options = options
        self.custom = custom
        #: The SHA-256 of the archives that may be installed (`_hashes.Hashes`); None if any may.
        self.hashes = hashes
        self.root = Root(easy_install, options)
        #: Whether resolving, or a part, has failed.
        self.has_failed = False
        self.tally = Tally()
        self._pid = os.getpid()
        #: None before the session is open, after it is closed, and after the cache has failed.
        self.bridge = None
        self.places = Places(easy_install, options)
        self.conflicts = Conflicts(easy_install, options["directory"], self.root.locations)
        self.chooser = self.copier = self.storer = self.leases = None
        #: None if wheels are not converted.
        self.converter = None
        #: None if nothing is fetched ahead.
        self.ahead = None
        #: None if the run is not shown on a terminal.
        self.progress = None
        #: Names of remotes that are not asked, because the run is offline. Emptied when the log has said so.
        self._unasked_remotes = []
        #: Requirements without an egg, as texts.
        self._lacking = set()

    @property
    def is_active(self):
        """Whether there is a cache to use. In a forked process there is none: it shares the bridge."""
        return self.bridge is not None and self._pid == os.getpid()

    def open(self, directory, configuration):
        """Open the cache in ``directory``. The session is active afterwards unless that failed.

        Buildouts with the same text as ``configuration`` are expected to use the same eggs.
        """
        started = _compat.monotonic()
        try:
            self.bridge = _bridge.Bridge(_bridge.find_program())
            self._open(directory, configuration)
        except Exception as error:
            self.give_up(error)
        self.tally.seconds += _compat.monotonic() - started

    def _open(self, directory, configuration):
        bridge, easy_install, options = self.bridge, self.easy_install, self.options
        environment = options.get("egg-cache-environment", "")
        answer = bridge.call(
            "open",
            cache=directory,
            host=_host.describe(easy_install, environment),
            buildout=self._version("zc.buildout"),
            setuptools=self._version("setuptools"),
            eggs_directory=options["eggs-directory"],
            configuration=configuration,
            library_folder=sysconfig.get_config_var("LIBDIR"),
            offline=options.get("offline", "false") == "true",
        )
        if "warning" in answer:
            _warn(answer["warning"])
        warn_of_torn_copies(answer)
        self._unasked_remotes = answer.get("unasked_remotes", [])
        #: ``reader``, ``builder``, or None without remotes.
        role = answer.get("remotes")
        any_archive = _options.is_changed(options, "egg-cache-unknown-archives")
        self.chooser = chooser = Chooser(
            bridge, easy_install.pkg_resources, self.custom, self.places, _warn, any_archive, self.hashes
        )
        self.leases = Leases(bridge, chooser, self.custom, role == "builder")
        self.copier = Copier(bridge, easy_install, chooser, self.custom, self.tally, role is not None)
        self.storer = Storer(bridge, easy_install, chooser, self.custom, self.tally)
        if not self.custom.key_variant:
            self.converter = _converter.converter_for(bridge, easy_install, options, self._version)
        if self.converter is not None:
            self.custom.compile_variant = self.converter.variant
            self.progress = _progress.of_run()
        self.copier.ahead = self.ahead = _ahead.ahead_for(self)
        if "full" in answer:
            self.storer.stop(answer["full"])

    def _version(self, project):
        # Found by requirement, since newer versions of setuptools spell keys differently.
        requirement = self.easy_install.pkg_resources.Requirement.parse(project)
        found = self.easy_install.pkg_resources.working_set.find(requirement)
        return found and found.version

    def give_up(self, error):
        """Log why the cache failed, and continue without it."""
        warn_of_failure(error)
        self.abandon()

    def abandon(self):
        """Continue without the cache."""
        bridge, self.bridge = self.bridge, None
        self._end_ahead()
        if bridge is not None:
            bridge.kill()
            if self.copier is not None:
                self.copier.remove_temporary_copies()

    def _end_ahead(self):
        if self._pid != os.getpid():
            # The threads are in the process that this one was forked from, and may have held a lock then.
            return
        if self.ahead is not None:
            self.ahead.stop()
        if self.progress is not None:
            self.progress.end()

    def show_progress(self):
        """Show what was fetched and converted, on a terminal."""
        if self.progress is not None:
            self.progress.show(self._progress_text)

    def erase_progress(self):
        """Something else may write to the terminal from here on."""
        if self.progress is not None:
            self.progress.erase()

    def _progress_text(self):
        ahead, tally = self.ahead, self.tally
        is_ahead = ahead is not None and ahead.fetcher is not None
        fetched = "%d fetched (%.1f MiB), " % (ahead.archives, ahead.bytes / _MIB) if is_ahead else ""
        return "eggcache: %s%d converted, %d remaining" % (fetched, tally.converted, len(tally.remaining))

    def arrived(self, installer, requirement, dists):
        """Note that buildout has what it has asked for. What that requires is needed next."""
        is_fetching = self.ahead is not None and self.ahead.fetcher is not None
        if self.progress is None and not is_fetching:
            return
        try:
            needed = [it for dist in dists for it in dist.requires(requirement.extras)]
        except Exception as error:
            # Buildout says so if it cannot do with that.
            logger.debug("not known what %s requires: %s", requirement, error)
            needed = []
        if is_fetching:
            # Of an archive that buildout itself has fetched, nobody has seen that yet.
            self.expect(installer, needed)
        if self.progress is not None:
            self._count_remaining(installer, requirement, [it.project_name for it in needed])

    def _count_remaining(self, installer, requirement, needed):
        remaining = self.tally.remaining
        remaining.discard(canonical(requirement.project_name))
        remaining.update(canonical(name) for name in needed if not installer._env[name])
        if self.tally.converted:
            self.show_progress()

    @guarded
    def choose(self, installer, requirement, source):
        """See `Chooser.choose`."""
        return self.chooser.choose(installer, requirement, source)

    @guarded
    def lacks(self, requirement, is_not_found):
        """Note an egg that buildout does not find or cannot install. Buildout itself says why."""
        if self._is_new_lack(requirement):
            self.storer.missing(requirement, "not-found" if is_not_found else "not-installed")

    def _is_new_lack(self, requirement):
        """Count a missing egg, once. If eggs of its project were rejected, what led to the conflict is missing."""
        if str(requirement) in self._lacking or self.chooser.has_rejected(requirement.project_name):
            return False
        self._lacking.add(str(requirement))
        self.tally.missing += 1
        return True

    @guarded
    def lacks_offline(self, requirement):
        """Say why an egg is missing that buildout cannot install offline, and that a remote may have it."""
        if not self._is_new_lack(requirement):
            return
        why = self.storer.missing(requirement, "offline")
        if why:
            logger.info("%s is not in the cache: %s.", requirement, why)
        if self._unasked_remotes:
            remotes = ", ".join(self._unasked_remotes)
            logger.info("offline, no remote is asked for it (%s).", remotes)
            self._unasked_remotes = []

    @guarded
    def same_as(self, installer, available, requirement, source):
        """See `Chooser.same_as`."""
        return self.chooser.same_as(installer, available, requirement, source)

    @guarded
    def same_as_fetched(self, installer, available, archive, requirement):
        """See `Chooser.same_as_fetched`."""
        return self.chooser.same_as_fetched(installer, available, archive, requirement)

    @guarded
    def fetched(self, installer, available, archive, requirement):
        """Note where an archive that buildout has fetched came from."""
        source = 1 if self.custom.variant else None
        choice = self.chooser.choice_of(installer, available, requirement, source)
        self.storer.fetched(archive, available.location, choice)
        if self.custom.variant:
            self.custom.fetched(archive)

    @guarded
    def requested(self, url):
        """See `Ahead.take`. Waiting for the network is no time that is spent on the cache."""
        spent, started = self.tally.seconds, _compat.monotonic()
        try:
            return self.ahead.take(url)
        finally:
            self.tally.seconds = spent - (_compat.monotonic() - started)

    def unless_refused(self, request):
        """See `Ahead.unless_refused`."""
        return request() if self.ahead is None else self.ahead.unless_refused(request)

    @guarded
    def await_build(self, installer, dist, source=None):
        """See `Leases.await_build`."""
        return self.leases.await_build(installer, dist, source)

    @guarded
    def expect(self, installer, requirements, working_set=()):
        """See `Copier.expect`."""
        self.copier.expect(installer, requirements, working_set)

    @guarded
    def announce(self, requirements):
        """See `Copier.announce`."""
        self.copier.announce(requirements, newest=True)

    @guarded
    def copy_ahead(self, offers, dest):
        """See `Copier.copy_ahead`."""
        self.copier.copy_ahead(offers, dest)

    @guarded
    def signature(self, state):
        """What buildout has computed of a directory in a state (`_signatures`); None if that is not known."""
        return self.bridge.call("sign", state=state).get("signature")

    @guarded
    def note_signature(self, state, signature):
        """Let `signature` return what buildout has computed."""
        self.bridge.call("sign", state=state, signature=signature)

    def materialize(self, dist, dest):
        """See `Copier.materialize`. The dependencies of the egg are copied ahead.

        Raises `_hashes.Refused` if the egg was built from an archive that must not be installed.
        """
        if self.hashes is not None and self.is_active:
            self.hashes.check_cached(dist.eggcache, dist.project_name, dist.eggcache.version)
        found = self._materialize(dist, dest)
        if found is not None:
            if dist.eggcache.is_new:
                _tell_of(found, "remote %s" % dist.eggcache.remote if dist.eggcache.remote else "cache")
            # An egg that is in place stays there, whatever fails now.
            self.conflicts.copied(found, dist.eggcache)
            self._expect_dependencies(found, dist.eggcache)
        return found

    @guarded
    def _materialize(self, dist, dest):
        return self.copier.materialize(dist, dest)

    @guarded
    def _expect_dependencies(self, found, offer):
        self.copier.expect_dependencies(found, offer)

    def convert(self, wheel, dest):
        """See `Converter.convert`. If the program fails, nothing of it is left in ``dest``."""
        was_active = self.is_active
        egg = self._convert(wheel, dest)
        if was_active and not self.is_active:
            _converter.empty(dest)
        if egg is None:
            self.erase_progress()
        else:
            self.show_progress()
        return egg

    @guarded
    def _convert(self, wheel, dest):
        egg = self.converter.convert(wheel, dest)
        if self.converter.warning:
            _warn(self.converter.warning)
        return egg

    @guarded
    def compare(self, found):
        """See `Converter.compare`."""
        warning = self.converter.compare(found)
        if warning:
            _warn(warning)

    def replace_compared(self, wheel, found):
        """See `Converter.replace`. If that fails, the egg of pip stays."""
        if not self.is_active or not self.converter.is_equal:
            return
        try:
            self.converter.replace(wheel, found, self.convert)
        except Exception as error:
            logger.debug("the egg of %s stays as pip made it: %s", wheel, error)

    @guarded
    def built(self, dist, archive, dest, seconds):
        """See `Storer.built`. The log says where the egg came from and, with -v, why it was a miss."""
        misses = self.tally.misses
        seconds = self.custom.build_seconds(seconds)
        converter = self.converter
        is_converted = converter is not None and converter.made == os.path.basename(dist.location)
        not_converted = None if converter is None else converter.take_obstacle()
        why = self.storer.built(dist, archive, dest, seconds, is_converted, not_converted)
        if self.tally.misses == misses:
            return
        self.tally.converted += is_converted
        _tell_of(dist, "converted" if is_converted else "built, %.1f s" % seconds)
        if why and not_converted:
            why += "; not converted: " + not_converted
        if why:
            logger.debug("%s was not in the cache: %s.", dist, why)

    @guarded
    def await_listing(self):
        """See `Storer.await_listing`."""
        self.storer.await_listing()

    @guarded
    def store_installed(self):
        """See `Storer.store_installed`. What is there lacks bytecode that this buildout may want."""
        if self.custom.compile_variant:
            return
        self.storer.store_installed(self.options["eggs-directory"])

    @guarded
    def register(self):
        """Register the eggs that this buildout uses, after a run that has succeeded."""
        self.storer.settle()
        self.has_failed = False
        self.root.register(self.bridge)

    def close(self):
        """End the session, and log what the cache did in one line."""
        self._end_ahead()
        if self.is_active and self.bridge.is_broken:
            # Buildout was interrupted while it waited for an answer.
            bridge, self.bridge = self.bridge, None
            bridge.leave()
        if self._close():
            self.bridge = None
            self._tell_of_unvouched(sorted(self.chooser.unvouched))
            logger.info("%s.", self.tally)

    @staticmethod
    def _tell_of_unvouched(projects):
        if projects:
            logger.info(
                "eggs that were added by hand are not used for %s, because their archives are not known; "
                "egg-cache-unknown-archives = use serves them.",
                ", ".join(projects) if len(projects) <= 3 else "%d projects" % len(projects),
            )

    @guarded
    def _close(self):
        self.storer.settle()
        answer = self.bridge.close(self.has_failed)
        for warning in answer.get("warnings", ()):
            _warn(warning)
        self.tally.pushed = answer.get("pushed")
        return True


def _tell_of(dist, origin):
    """Log where an egg came from, at the level at which buildout logs that it gets and has got it."""
    logger.info("%s (%s)", dist, origin)


def warn_of_failure(error):
    """Log the exception because of which the run continues without the cache."""
    logger.debug("the cache failed.", exc_info=True)
    logger.warning("%s; continuing without the cache.", str(error) or type(error).__name__)


def _warn(sentence):
    logger.warning("%s.", sentence)
