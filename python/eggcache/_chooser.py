"""Choose which cached egg to offer to buildout.

The cache never makes buildout choose another version than it would choose without the cache:

1. If an installed egg or a develop egg satisfies the requirement, the cache offers nothing.
2. For a pin, it offers the egg of exactly that version.
3. With ``newest = false`` or offline, it offers the best cached version. If that leads to a conflict, it
   offers it no more (`_conflicts`).
4. Otherwise buildout asks its index and links first. The cache then offers only the egg of the version
   that they have, and only if that egg was built from the same archive.

Nor does it make buildout use another archive: rules 2 and 3 offer only eggs of the archive that
buildout would choose among its own places (`_places`). Where that is not known, rule 4 holds, and the
cache learns what buildout has chosen.
"""

import contextlib

from eggcache import _compat
from eggcache._log import logger
from eggcache._requirements import (
    canonical,
    egg_of_link,
    finds_by_file_name,
    pinned_version,
    same_version,
    sha256_of_link,
)

#: How long to remember that the cache has no egg of a project, in seconds.
MISSED_FOR = 0.5


class Offer(object):
    """A cached egg that is offered to buildout; its distribution carries it as ``.eggcache``."""

    def __init__(self, egg, requirement, source, installer, is_guess=False):
        self.digest = egg["digest"]
        self.file_name = egg["file_name"]
        self.version = egg["version"]
        self.source_sha256 = egg["source_sha256"]
        self.requirement = requirement
        self.source = source
        self.installer = installer
        #: Whether it is the best cached version, whatever the index has (rule 3).
        self.is_guess = is_guess
        #: The distribution in the eggs directory, as soon as the egg is there.
        self.arrived = None
        #: Whether the egg was not in the eggs directory before.
        self.is_new = False
        #: The name of the remote that the egg came from in this run, or None.
        self.remote = None


class Chooser(object):
    """Decides which cached egg buildout is offered, and remembers what the cache has.

    ``custom`` holds the custom builds of this buildout (`_custom.CustomBuilds`), and ``places``
    computes choices (`_places.Places`). ``warn`` is called with each warning about remotes. With
    ``any_archive``, an egg whose archive is not known counts as what buildout would choose. ``hashes`` has
    the SHA-256 of the archives that may be installed (`_hashes.Hashes`); None if any may.

    In all methods, ``installer`` is buildout's ``Installer``, and ``source`` is true if buildout
    wants a source distribution, as it does for a custom build.
    """

    def __init__(self, bridge, pkg_resources, custom, places, warn, any_archive=False, hashes=None):
        self._bridge = bridge
        self._pkg_resources = pkg_resources
        self._custom = custom
        self._places = places
        self._any_archive = any_archive
        self._hashes = hashes
        self._warn = warn
        #: Eggs by project, variant and version, until something changes.
        self._found = {}
        #: Projects and versions of which the log has said that the archive is not known.
        self._unknown = set()
        #: Projects whose eggs are not offered, because their archives are not known (rules 2 and 4).
        self.unvouched = set()
        #: Cached builds of which the log has said why they are not offered.
        self._explained = set()
        #: The last question to which the cache had no egg, and when it was asked.
        self._missed = None, 0.0
        self.is_paused = False
        #: Whether anything was offered in this run.
        self.has_offered = False
        #: Versions of projects that led to a conflict (`_conflicts`), by canonical name.
        self._rejected = {}
        #: Digests of eggs whose projects are not found by their file names.
        self._unfit = set()

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
            choice = self._places.choice(installer, requirement, pin, source)
            eggs = self._eggs_of_version(requirement, pin, choice=choice)
            eggs = self._chosen(eggs, choice, installer._dest is None, requirement)
        elif self._may_guess(installer, requirement):
            eggs = self._best_chosen(installer, requirement, source)
        else:
            return None
        return self._offer(eggs, requirement, source, installer, is_guess=pin is None)

    def has_rejected(self, project):
        """Whether an egg of a project is not offered again, because of a conflict."""
        return canonical(project) in self._rejected

    def reject(self, dist):
        """Do not offer this version of a project any more unless the index has it, too."""
        self._rejected.setdefault(canonical(dist.project_name), set()).add(dist.version)

    def _may_guess(self, installer, requirement):
        """Whether rule 3 holds. Where there is an index, it decides on a project of which a guess was wrong."""
        if installer._dest is None:
            return True
        return not installer._newest and not self.has_rejected(requirement.project_name)

    def same_as(self, installer, available, requirement, source):
        """The offer of the egg that was built from the archive that buildout has chosen (rule 4).

        With ``any_archive``, that may be an egg of this version whose archive is not known. ``available`` is
        the distribution that buildout would fetch.
        """
        if not self._may_offer(requirement, source):
            return None
        return self._of_archive(installer, available, requirement, source, None)

    def of_link(self, installer, available, requirement):
        """As `same_as`, for what buildout will probably choose: nothing is learned from it."""
        sha256 = sha256_of_link(available.location)
        eggs = self._eggs_of_version(requirement, available.version, sha256=sha256)
        eggs = [egg for egg in eggs if sha256 and egg["source_sha256"] == sha256]
        return self._offer(eggs, requirement, None, installer)

    def same_as_fetched(self, installer, available, archive, requirement):
        """As `same_as`, after buildout has fetched the archive, if its link did not have the SHA-256."""
        if not self._may_offer(requirement, None) or sha256_of_link(available.location):
            return None
        return self._of_archive(installer, available, requirement, None, archive)

    def choice_of(self, installer, available, requirement, source):
        """The choice by which buildout has come to an archive.

        None if it cannot be known, or if it may lead to another archive tomorrow.
        """
        if egg_of_link(available.location):
            return None
        return self._places.choice(installer, requirement, available.version, source)

    def _of_archive(self, installer, available, requirement, source, archive):
        """The offer of an egg that was built from this archive, or of an archive that is not known."""
        eggs = self._eggs_of_version(requirement, available.version)
        if any(egg["source_sha256"] for egg in eggs):
            sha256 = sha256_of_link(archive or available.location)
            if not sha256:
                return None
            eggs = self._eggs_of_version(requirement, available.version, sha256=sha256)
            same = [egg for egg in eggs if egg["source_sha256"] == sha256]
            if same:
                self._learn(same[0], self.choice_of(installer, available, requirement, source))
                return self._offer(same, requirement, source, installer)
        return self._offer(self._vouched(eggs, requirement), requirement, source, installer)

    def _vouched(self, eggs, requirement):
        """Those eggs of unknown archives that the user vouches for."""
        eggs = [egg for egg in eggs if is_unvouched(egg)]
        if eggs and not self._any_archive:
            self.unvouched.add(requirement.key)
            return []
        if self._hashes is not None:
            eggs = self._hashes.usable(eggs, requirement.project_name, is_offline=False)
        return eggs

    def _learn(self, egg, choice):
        if choice is not None and choice not in egg["choices"]:
            egg["choices"].append(choice)
            self._bridge.call("learn", digest=egg["digest"], choice=choice)

    def _chosen(self, eggs, choice, is_offline, requirement):
        """Those eggs of one version that were built from the archive that buildout would choose."""
        if self._hashes is not None:
            eggs = self._hashes.usable(eggs, requirement.project_name, is_offline)
        chosen = [egg for egg in eggs if choice is not None and choice in egg["choices"]]
        if not chosen and self._any_archive:
            chosen = [egg for egg in eggs if not egg["choices"]]
        if not chosen and not is_offline and any(is_unvouched(egg) for egg in eggs):
            self.unvouched.add(requirement.key)
        if not chosen and is_offline:
            # Buildout asks nobody: the only known archive is what it has to accept.
            chosen = eggs
        if len({egg["source_sha256"] for egg in chosen}) <= 1:
            return chosen
        if is_offline and str(requirement) not in self._unknown:
            self._unknown.add(str(requirement))
            logger.warning(
                "the cache has eggs of several archives of %s; which of them this buildout would choose "
                "is not known offline.",
                requirement,
            )
        return []

    def _best_chosen(self, installer, requirement, source):
        """The eggs of the newest version of which one was built from the archive that buildout would choose."""
        rejected = self._rejected.get(canonical(requirement.project_name), ())
        eggs = [egg for egg in self._eggs_of(requirement) if egg["version"] not in rejected]
        chosen = []
        for version in {egg["version"] for egg in eggs}:
            choice = self._places.choice(installer, requirement, version, source)
            of_version = [egg for egg in eggs if egg["version"] == version]
            chosen += self._chosen(of_version, choice, installer._dest is None, requirement)
        chosen = [egg for egg in eggs if egg in chosen]
        return self._best(chosen, requirement, installer._prefer_final)

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

    def _eggs_of_version(self, requirement, version, **archive):
        """The eggs of a version. Remotes are asked if the cache has none of the ``archive``.

        That is a ``choice`` or a ``sha256``.
        """
        eggs = self._eggs_of(requirement, version, **archive)
        return self._of_version(eggs, version)

    def _of_version(self, eggs, version):
        return [egg for egg in eggs if self._same_version(egg["version"], version)]

    def _eggs_of(self, requirement, version=None, choice=None, sha256=None):
        question = requirement.key, self._custom.key_variant, version, choice, sha256
        now = _compat.monotonic()
        eggs = self._found.get(question)
        # A miss counts only briefly, since another buildout may store that egg at any time. It counts
        # at all because buildout asks twice in a row. A version of which there is no egg has none of any
        # archive either.
        missed = question[:3]
        if eggs is None and (self._missed[0] != missed or now > self._missed[1] + MISSED_FOR):
            eggs = self._find(requirement.project_name, version, choice, sha256)
            if eggs if version is None else self._of_version(eggs, version):
                self._found[question] = eggs
            else:
                self._missed = missed, now
        return eggs or []

    def _find(self, name, version, choice=None, sha256=None):
        """The eggs of a project that work here, and that this buildout finds by their file names."""
        while True:
            answer = self._bridge.call(
                "find",
                name=name,
                variant=self._custom.key_variant,
                bound_variant=self._custom.bound_variant,
                version=version,
                choice=choice,
                source_sha256=sha256,
            )
            for warning in answer.get("warnings", ()):
                self._warn(warning)
            if self._custom.variant:
                self._explain(answer.get("rejected", ()))
            eggs = answer["eggs"]
            unfit = {
                egg["digest"]
                for egg in eggs
                if not finds_by_file_name(self._pkg_resources, name, egg["file_name"])
            }
            if not unfit - self._unfit:
                return [egg for egg in eggs if egg["digest"] not in unfit]
            # Remotes may have others, and this buildout may build one of the same key.
            self._bridge.call("reject", digests=sorted(unfit - self._unfit))
            self._unfit |= unfit

    def _explain(self, rejected):
        """Say once for each cached build why it is not offered."""
        for egg in rejected:
            why = egg["file_name"], egg["reason"]
            if why not in self._explained:
                self._explained.add(why)
                logger.info("the cached %s is not used: %s.", *why)

    def _same_version(self, left, right):
        """Whether two spellings mean one version: ``1.0`` and ``1.0.0`` do."""
        return same_version(self._pkg_resources.parse_version, left, right)

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
        newest = max(version for version, _ in versions) if versions else None
        return [egg for version, egg in versions if version == newest]

    def _offer(self, eggs, requirement, source, installer, is_guess=False):
        """The distribution that offers the first of the eggs, which was stored first; None without eggs."""
        if not eggs:
            return None
        dist = self._pkg_resources.Distribution.from_filename(
            eggs[0]["file_name"], precedence=self._pkg_resources.EGG_DIST
        )
        dist.eggcache = Offer(eggs[0], requirement, source, installer, is_guess)
        self.has_offered = True
        return dist


def is_unvouched(egg):
    """Whether nothing is known of the archive of an egg: it was added by hand."""
    return not egg["source_sha256"] and not egg["choices"]
