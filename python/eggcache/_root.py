"""The root of this buildout: which eggs it uses, so that gc does not evict them."""

import os

from eggcache import _bridge, _compat
from eggcache._log import logger


class Root(object):
    """Collects during a run what the buildout uses, and registers it at the end."""

    def __init__(self, easy_install, options):
        self._easy_install = easy_install
        self._directory = options["directory"]
        self._eggs_directory = options["eggs-directory"]
        self._develop_eggs_directory = options["develop-eggs-directory"]
        #: Locations of the distributions that buildout has resolved to.
        self.locations = set()
        #: Parts that were installed or updated in this run.
        self._parts = set()
        #: Whether these are all parts of the buildout.
        self._is_whole = False

    def add_locations(self, locations):
        """Note where the distributions are that buildout has resolved to."""
        self.locations.update(locations)

    def add_part(self, name):
        """Note that a part was installed or updated."""
        self._parts.add(name)

    def finish(self, parts):
        """Note that the run is over; ``parts`` are all parts of the buildout."""
        self._is_whole = self._parts.issuperset(parts)

    def register(self, bridge):
        """Register which eggs this buildout uses, after a run that has succeeded."""
        if not os.path.isdir(self._eggs_directory):
            return
        try:
            answer = bridge.call(
                "root",
                directory=self._directory,
                eggs_directory=self._eggs_directory,
                eggs=self._eggs(),
                whole=self._is_whole,
            )
            if "warning" in answer:
                logger.warning("%s; skipping garbage collection.", answer["warning"])
        except _bridge.Refusal as refusal:
            logger.warning("%s; gc may evict eggs that this buildout uses.", refusal)

    def _eggs(self):
        """The locations of this buildout's eggs, in its eggs and develop-eggs directories."""
        realpath = _compat.memoized(self._easy_install.realpath)
        directories = realpath(self._eggs_directory), realpath(self._develop_eggs_directory)
        # Extensions and recipes are in the working set of this Python.
        self.add_locations(dist.location for dist in self._easy_install.pkg_resources.working_set)
        return sorted(
            location
            for location in self.locations
            if location.endswith(".egg") and realpath(os.path.dirname(location)) in directories
        )
