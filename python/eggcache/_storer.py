"""Store the eggs that buildout has built in the cache."""

import functools
import os

from eggcache import _host
from eggcache._log import logger


class Storer:
    """Passes built eggs to the program, which stores them while buildout continues."""

    def __init__(self, bridge, easy_install, chooser, custom, tally, read_only):
        self._bridge = bridge
        self._easy_install = easy_install
        self._chooser = chooser
        self._custom = custom
        self._tally = tally
        self._read_only = read_only
        #: Locations of the eggs that were built in this run.
        self._built = set()
        #: Whether the program may still be storing eggs.
        self._is_unsettled = False

    def built(self, dist, archive, dest, seconds):
        """Store the egg that buildout has put into ``dest``, built from ``archive``."""
        location = self._easy_install.realpath(dist.location)
        if os.path.dirname(location) != self._easy_install.realpath(dest):
            return
        # Buildout 4 gets here twice for a wheel that it renames.
        if location in self._built:
            return
        self._built.add(location)
        self._tally.misses += 1
        source_sha256 = source = None
        if os.path.isfile(archive):
            source, source_sha256 = os.path.basename(archive), _host.sha256_of(archive)
        elif self._custom.source:
            source, source_sha256 = self._custom.source
        self._store(location, source_sha256, source, seconds)

    def store_installed(self, eggs_directory):
        """Store what buildout installed before this package was loaded: extensions and what they need."""
        directory = self._easy_install.realpath(eggs_directory)
        for dist in self._easy_install.pkg_resources.working_set:
            location = self._easy_install.realpath(dist.location)
            if os.path.dirname(location) == directory and location.endswith(".egg"):
                if not self._chooser.has(dist.project_name, dist.version):
                    self._store(location, None, None, None)

    def settle(self):
        """Wait until the program has stored everything, and count and log the outcomes."""
        if not self._is_unsettled:
            return
        self._is_unsettled = False
        answer = self._bridge.call("settle")
        for outcome in answer["outcomes"]:
            self._count(outcome["path"], outcome)
        if "failure" in answer:
            self._stop(answer["failure"])

    def _store(self, location, source_sha256, source, seconds):
        if self._read_only or not location.endswith(".egg"):
            return
        self._chooser.forget()
        self._is_unsettled = True
        self._bridge.post(
            "store",
            functools.partial(self._answered, location),
            path=location,
            source_sha256=source_sha256 or "",
            variant=self._custom.variant,
            source=source,
            build_seconds=seconds,
        )

    def _answered(self, location, answer, refusal):
        if refusal is not None:
            self._stop(refusal)
        else:
            self._count(location, answer)

    def _count(self, location, answer):
        if answer["outcome"] in ("stored", "replaced"):
            self._tally.stored += 1
        elif answer["outcome"] == "refused":
            logger.warning("did not store %s: %s.", os.path.basename(location), answer["reason"])

    def _stop(self, why):
        """Store nothing more in this run. The cache can still serve eggs."""
        if not self._read_only:
            logger.warning("%s; storing no more eggs in this run.", why)
        self._read_only = True
