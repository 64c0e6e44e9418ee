"""Choose which cached egg to offer to buildout.

The cache never makes buildout choose another version than it would choose without the cache:

1. If an installed egg or a develop egg satisfies the requirement, the cache offers nothing.
2. For a pin, it offers the egg of exactly that version.
3. With ``newest = false`` or offline, it offers the best cached version.
4. Otherwise buildout asks the index first. The cache then offers only the egg of the version that
   the index has, and only if that egg was built from the same archive.
"""

import contextlib
import time

from eggcache._requirements import pinned_version, sha256_of_link

#: How long to remember that the cache has no egg of a project, in seconds.
MISSED_FOR = 0.5


class Offer:
    """A cached egg that is offered to buildout; its distribution carries it as ``.eggcache``."""

    def __init__(self, egg, requirement, source, installer):
        self.digest = egg["digest"]
        self.file_name = egg["file_name"]
        self.requirement = requirement
        self.source = source
        self.installer = installer
        #: The distribution in the eggs directory, as soon as the egg is there.
        self.arrived = None


class Chooser:
    """Decides which cached egg buildout is offered, and remembers what the cache has.

    ``custom`` holds the custom builds of this buildout (`_custom.CustomBuilds`); ``warn`` is called
    with each warning about remotes.

    In all methods, ``installer`` is buildout's ``Installer``, and ``source`` is true if buildout
    wants a source distribution, as it does for a custom build.
    """

    def __init__(self, bridge, pkg_resources, custom, warn):
        self._bridge = bridge
        self._pkg_resources = pkg_resources
        self._custom = custom
        self._warn = warn
        #: Eggs by project, variant and version, until something changes.
        self._found = {}
        #: The last question to which the cache had no egg, and when it was asked.
        self._missed = None, 0.0
        self.is_paused = False

    @contextlib.contextmanager
    def paused(self):
        """Offer nothing meanwhile: buildout is to build, whatever the cache has."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False

    def choose(self, installer, requirement, source):
        """The offer for a requirement, without a look at the index (rules 1 to 3); else None."""
        if any(dist in requirement for dist in installer._env[requirement.project_name]):
            return None
        # With `install-from-cache`, buildout itself must find out that an archive is missing.
        if installer._install_from_cache or not self._may_offer(requirement, source):
            return None
        pin = pinned_version(requirement)
        if pin is not None:
            eggs = self._eggs_of_version(requirement, pin)
        elif installer._dest is None or not installer._newest:
            eggs = self._best(self._eggs_of(requirement), requirement, installer._prefer_final)
        else:
            return None
        return self._offer(eggs, requirement, source, installer)

    def same_as(self, installer, available, requirement, source):
        """The offer of the egg that was built from the archive that the index has (rule 4)."""
        if not self._may_offer(requirement, source):
            return None
        eggs = self._eggs_of_version(requirement, available.version)
        eggs = [egg for egg in eggs if egg["source_sha256"]]
        if not eggs:
            return None
        sha256 = sha256_of_link(available.location)
        eggs = [egg for egg in eggs if egg["source_sha256"] == sha256]
        return self._offer(eggs, requirement, source, installer)

    def built_elsewhere(self, installer, dist, source_sha256, source):
        """The offer of an egg that another builder has just built, from that archive if one is given."""
        self.forget()
        requirement = dist.as_requirement()
        eggs = self._eggs_of_version(requirement, dist.version)
        eggs = [egg for egg in eggs if source_sha256 in ("", egg["source_sha256"])]
        return self._offer(eggs, requirement, source, installer)

    def forget(self):
        """Ask the cache again from here on: its eggs have changed."""
        self._found.clear()
        self._missed = None, 0.0

    def has(self, name, version):
        """Whether the cache has an egg of this version of a project."""
        return any(self._same_version(egg["version"], version) for egg in self._find(name, version))

    def _may_offer(self, requirement, source):
        """False for the plain egg of a project that a part builds with options."""
        return not self.is_paused and (source or not self._custom.includes(requirement.project_name))

    def _eggs_of_version(self, requirement, version):
        eggs = self._eggs_of(requirement, version)
        return [egg for egg in eggs if self._same_version(egg["version"], version)]

    def _eggs_of(self, requirement, version=None):
        question, now = (requirement.key, self._custom.variant, version), time.monotonic()
        eggs = self._found.get(question)
        # A miss counts only briefly, since another buildout may store that egg at any time. It counts
        # at all because buildout asks twice in a row.
        if eggs is None and (self._missed[0] != question or now > self._missed[1] + MISSED_FOR):
            eggs = self._find(requirement.project_name, version)
            if eggs:
                self._found[question] = eggs
            else:
                self._missed = question, now
        return eggs or []

    def _find(self, name, version):
        answer = self._bridge.call("find", name=name, variant=self._custom.variant, version=version)
        for warning in answer.get("warnings", ()):
            self._warn(warning)
        return answer["eggs"]

    def _same_version(self, left, right):
        """Whether two spellings mean one version: ``1.0`` and ``1.0.0`` do."""
        parse = self._pkg_resources.parse_version
        try:
            return parse(left) == parse(right)
        except ValueError:
            return left == right

    def _best(self, eggs, requirement, prefer_final):
        """The eggs of the newest version, chosen as ``Installer._satisfied`` chooses installed eggs.

        A local version (``1.0+abc``) is served only to a requirement that pins it.
        """
        versions = []
        for egg in eggs:
            try:
                version = self._pkg_resources.parse_version(egg["version"])
                if egg["version"] in requirement and not getattr(version, "local", None):
                    versions.append((version, egg))
            except ValueError:
                pass  # a version from before PEP 440; this setuptools cannot compare it
        if prefer_final:
            finals = [(version, egg) for version, egg in versions if not version.is_prerelease]
            versions = finals or versions
        newest = max((version for version, _ in versions), default=None)
        return [egg for version, egg in versions if version == newest]

    def _offer(self, eggs, requirement, source, installer):
        """The distribution that offers the first of the eggs, which was stored first; None without eggs."""
        if not eggs:
            return None
        dist = self._pkg_resources.Distribution.from_filename(
            eggs[0]["file_name"], precedence=self._pkg_resources.EGG_DIST
        )
        dist.eggcache = Offer(eggs[0], requirement, source, installer)
        return dist
