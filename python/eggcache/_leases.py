"""Leases: of several builders that share a remote, one builds an egg and the others wait for it."""

import time

from eggcache import _compat
from eggcache._log import logger
from eggcache._requirements import sha256_of_link

#: How long to wait between two requests and for one egg at most, in seconds, whatever the program answers.
LONGEST_PAUSE = 60
LONGEST_WAIT = 1800


class Leases(object):
    """Takes a lease before an egg is built, if this buildout builds for others (``is_builder``)."""

    def __init__(self, bridge, chooser, custom, is_builder):
        self._bridge = bridge
        self._chooser = chooser
        self._custom = custom
        self._is_builder = is_builder

    def await_build(self, installer, dist, source=None):
        """Take the lease on ``dist``, or wait while another builder holds it.

        Return the offer of the egg that the other one has built, or None if this buildout is to
        build it. Only an egg counts that was built from the archive that buildout has chosen.
        """
        if not self._is_builder or self._chooser.is_paused:
            return None
        source_sha256 = sha256_of_link(dist.location)
        if not source_sha256:
            return None
        if not self._is_built_elsewhere(dist, source_sha256):
            return None
        return self._chooser.built_elsewhere(installer, dist, source_sha256, source)

    def _is_built_elsewhere(self, dist, source_sha256):
        """Wait while another builder holds the lease; False if this buildout is to build."""
        is_announced = False
        begun = _compat.monotonic()
        while _compat.monotonic() - begun < LONGEST_WAIT:
            answer = self._bridge.call(
                "lease",
                name=dist.project_name,
                variant=self._custom.key_variant,
                bound_variant=self._custom.bound_variant,
                version=dist.version,
                source_sha256=source_sha256,
            )
            if answer["lease"] != "held":
                return answer["lease"] == "built"
            if answer["wait"] and not is_announced:
                logger.info("another builder is building %s; waiting for it.", dist)
                is_announced = True
            time.sleep(min(answer["wait"], LONGEST_PAUSE))
        return False
