"""Copy cached eggs into eggs directories, and have them copied ahead."""

import fcntl
import fnmatch
import os
import shutil

from eggcache import _bridge
from eggcache._log import logger
from eggcache._requirements import canonical, extras_of, pinned_version


class Copier(object):
    """Copies the eggs that buildout has accepted into its eggs directory."""

    def __init__(self, bridge, easy_install, chooser, custom, tally, has_remotes):
        self._bridge = bridge
        self._easy_install = easy_install
        self._chooser = chooser
        self._custom = custom
        self._tally = tally
        self._has_remotes = has_remotes
        #: What fetches ahead, if anything does (`_ahead.Ahead`).
        self.ahead = None
        #: Canonical names of the projects for which `expect` has done its work.
        self._expected = set()
        #: Eggs directories that may hold temporary copies until the program ends.
        self._directories = set()

    def materialize(self, dist, dest):
        """Copy an offered egg into ``dest``; return its distribution there, or None."""
        self._directories.add(dest)
        try:
            answer = self._bridge.call("materialize", digest=dist.eggcache.digest, into=dest)
        except _bridge.Refusal as refusal:
            return self._refused(refusal, dist, dest)
        warn_of_torn_copies(answer)
        found = self._distribution_at(dist, answer["path"])
        if found is None:
            raise _bridge.BridgeError("%s does not contain %s" % (answer["path"], dist))
        dist.eggcache.is_new = answer.get("outcome") == "copied"
        dist.eggcache.remote = answer.get("remote")
        self._tally.hits += 1
        self._tally.copied_bytes += answer.get("bytes", 0)
        return found

    def _refused(self, refusal, dist, dest):
        """Handle an egg that was not copied. None means that buildout is to build it."""
        self._chooser.forget()
        if refusal.kind == "unavailable":
            # Its remote failed. The program warns of that once, not for each egg.
            return None
        if refusal.kind == "unusable":
            logger.warning("%s; building %s.", refusal, dist)
            return None
        if refusal.kind == "in-the-way":
            # A buildout that runs in parallel has installed it. Like buildout itself, accept that.
            found = self._distribution_at(dist, os.path.join(dest, dist.eggcache.file_name))
            if found is not None:
                return found
        raise refusal

    def _distribution_at(self, dist, location):
        found = self._easy_install._get_matching_dist_in_location(dist, location)
        if found is not None:
            found.precedence = self._easy_install.pkg_resources.EGG_DIST
        return found

    def expect(self, installer, requirements, working_set=()):
        """Have the program copy the eggs of ``requirements`` ahead, while buildout does other work.

        The copies get temporary names; only `materialize` gives an egg its name. Requirements whose
        markers do not hold must not be passed.
        """
        if installer._dest is None or self._custom.variant:
            return
        wanted = []
        for requirement in requirements:
            name = canonical(requirement.project_name)
            if name in self._expected:
                continue
            self._expected.add(name)
            if requirement.key not in working_set and not installer._env[requirement.project_name]:
                wanted += self.constrained(installer, requirement)
        self._tally.remaining.update(canonical(requirement.project_name) for requirement in wanted)
        self.announce(wanted, installer._newest)
        offers = [self._chooser.choose(installer, requirement, None) for requirement in wanted]
        self.copy_ahead([offered for offered in offers if offered], installer._dest)
        for requirement, offered in zip(wanted, offers):
            if self.ahead is not None and not offered:
                self.ahead.want(installer, requirement)

    def copy_ahead(self, offers, dest):
        """Have the program copy offered eggs to temporary names in ``dest``."""
        digests = [offered.eggcache.digest for offered in offers]
        if digests:
            self._directories.add(dest)
            answer = self._bridge.call("prefetch", digests=digests, into=dest)
            warn_of_torn_copies(answer)

    def expect_dependencies(self, found, offer):
        """Have the eggs copied ahead that a copied egg requires: buildout asks for them next."""
        self.expect(offer.installer, found.requires(extras_of(found, offer.requirement)))

    def constrained(self, installer, requirement):
        """The requirement with the constraint of ``[versions]``, in a list.

        The list is empty if the two conflict; buildout reports that itself.
        """
        log = self._easy_install.logger
        before, log.disabled = log.disabled, True
        try:
            return [installer._constrain(requirement)]
        except self._easy_install.IncompatibleConstraintError:
            return []
        finally:
            log.disabled = before

    def announce(self, requirements, newest):
        """Have the program ask remotes for all these eggs at once."""
        if not self._has_remotes:
            return
        pins = [(it.project_name, pinned_version(it)) for it in requirements]
        wanted = [{"name": name, "version": pin} for name, pin in pins if pin or not newest]
        if len(wanted) > 1:
            self._bridge.call("look", wanted=wanted)

    def spool(self, dest):
        """Have the program make a directory for archives that are fetched ahead; return its path."""
        self._directories.add(dest)
        answer = self._bridge.call("spool", into=dest)
        warn_of_torn_copies(answer)
        return answer["directory"]

    def remove_temporary_copies(self):
        """Clean up after a program that was killed."""
        for directory in self._directories:
            _remove_temporary_copies(directory)


def warn_of_torn_copies(answer):
    """Log which torn copies the program has removed from an eggs directory, if any."""
    if answer.get("torn"):
        logger.warning(
            "removed eggs that were left incomplete when the machine went down: %s.",
            ", ".join(answer["torn"]),
        )


def _remove_temporary_copies(directory):
    """Remove temporary copies from a directory, except those that a running program has locked."""
    for name in fnmatch.filter(_names_in(directory), ".eggcache-*"):
        path = os.path.join(directory, name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except EnvironmentError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except EnvironmentError:
            pass
        finally:
            os.close(handle)


def _names_in(directory):
    try:
        return os.listdir(directory)
    except OSError:
        return []
