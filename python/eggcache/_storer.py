"""Store the eggs that buildout has built in the cache."""

import functools
import os

from eggcache import _archive, _bridge, _host, _places
from eggcache._log import logger
from eggcache._requirements import sha256_of_link


class Storer(object):
    """Passes built eggs to the program, which stores them while buildout continues."""

    def __init__(self, bridge, easy_install, chooser, custom, tally):
        self._bridge = bridge
        self._easy_install = easy_install
        self._chooser = chooser
        self._custom = custom
        self._tally = tally
        #: Whether the program has said why it stores no more eggs.
        self._is_stopped = False
        #: Locations of the eggs that were built in this run.
        self._built = set()
        #: Where fetched archives came from, by their paths: the URL, and the choice that led there.
        self._origins = {}
        #: The archive that was fetched last.
        self._fetched = None
        #: Whether the program may still be storing eggs.
        self._is_unsettled = False

    def fetched(self, archive, url, choice):
        """Note where buildout has fetched an archive from."""
        self._fetched = archive
        self._origins[archive] = _places.without_secrets(url), choice

    def built(self, dist, archive, dest, seconds, is_converted=False, not_converted=None):
        """Store the egg that buildout has put into ``dest``, built from ``archive``.

        ``not_converted`` says why the program has not made the egg of a wheel. Return why the egg was a
        miss; None if that is not known.
        """
        location = self._easy_install.realpath(dist.location)
        if os.path.dirname(location) != self._easy_install.realpath(dest):
            return None
        # Buildout 4 gets here twice for a wheel that it renames.
        if location in self._built:
            return None
        self._built.add(location)
        self._tally.misses += 1
        # A custom build installs what it has unpacked and built, not an archive.
        origin = self._origin_of(archive) or self._origin_of(self._custom.archive) or {}
        why = self._why(
            dist.project_name,
            dist.version,
            source_sha256=origin.get("source_sha256", ""),
            build_seconds=seconds,
            is_converted=is_converted,
            not_converted=not_converted,
        )
        self._store(location, build_seconds=seconds, **origin)
        return why

    def missing(self, requirement, lack):
        """Note an egg that buildout can neither install nor build; return why the cache did not have it, or None."""
        specs = ",".join(sorted(operator + version for operator, version in requirement.specs))
        return self._why(requirement.project_name, "", build_seconds=0.0, missing=specs, lack=lack)

    def _why(self, name, version, **built):
        """Note an egg that was not in the cache; return why it was not."""
        try:
            answer = self._bridge.call(
                "built",
                name=name,
                version=version,
                variant=self._custom.key_variant,
                bound_variant=self._custom.bound_variant,
                options=self._custom.build_options,
                is_withheld=not self._custom.variant and self._custom.includes(name),
                **built
            )
        except _bridge.Refusal as refusal:
            logger.debug("%s %s was not in the cache, and it is not known why: %s", name, version, refusal)
            return None
        return answer.get("why")

    def _origin_of(self, archive):
        """The fields of a ``store`` request about a file or a link; None if its SHA-256 is not known."""
        if archive is None:
            return None
        sha256 = _host.sha256_of(archive) if os.path.isfile(archive) else sha256_of_link(archive)
        if not sha256:
            return None
        url, choice = self._origins.get(self._name_when_fetched(archive, sha256), (None, None))
        return {
            "source": os.path.basename(archive.partition("#sha256=")[0]),
            "source_sha256": sha256,
            "lacks_compiler": _archive.needs_missing_compiler(archive),
            "archive_url": url,
            "choice": choice,
        }

    def _name_when_fetched(self, archive, sha256):
        """The path of an archive when it was fetched: buildout 4 installs a renamed copy of some wheels."""
        fetched = self._fetched
        if archive in self._origins or fetched is None or not os.path.isfile(fetched):
            return archive
        return fetched if _host.sha256_of(fetched) == sha256 else archive

    def store_installed(self, eggs_directory):
        """Store what buildout installed before this package was loaded: extensions and what they need."""
        directory = self._easy_install.realpath(eggs_directory)
        for dist in self._easy_install.pkg_resources.working_set:
            location = self._easy_install.realpath(dist.location)
            if os.path.dirname(location) == directory and location.endswith(".egg"):
                if not self._chooser.has(dist.project_name, dist.version):
                    self._store(location)
        self.await_listing()

    def await_listing(self):
        """Wait until the program has listed the eggs that were offered.

        A change of an egg after that does not change what is stored.
        """
        self._bridge.wait()

    def settle(self):
        """Wait until the program has stored everything, and count and log the outcomes."""
        if not self._is_unsettled:
            return
        self._is_unsettled = False
        answer = self._bridge.call("settle")
        for outcome in answer["outcomes"]:
            self._count(outcome["path"], outcome)
        if "failure" in answer:
            self.stop(answer["failure"])

    def _store(self, location, source_sha256="", **fields):
        if self._is_stopped or not location.endswith(".egg"):
            return
        self._chooser.forget()
        self._is_unsettled = True
        self._bridge.post(
            "store",
            functools.partial(self._answered, location),
            path=location,
            source_sha256=source_sha256,
            variant=self._custom.key_variant,
            bound_variant=self._custom.bound_variant,
            folders=self._custom.folders if self._custom.bound_variant else [],
            **fields
        )

    def _answered(self, location, answer, refusal):
        if refusal is not None:
            self.stop(refusal)
        else:
            self._count(location, answer)

    def _count(self, location, answer):
        if answer["outcome"] in ("stored", "replaced"):
            self._tally.stored += 1
        elif answer["outcome"] == "refused":
            logger.warning("did not store %s: %s.", os.path.basename(location), answer["reason"])

    def stop(self, why):
        """Store nothing more in this run. The cache can still serve eggs."""
        if not self._is_stopped:
            logger.warning("%s; storing no more eggs in this run.", why)
        self._is_stopped = True
