"""Resolve anew where a cached egg has led to a conflict.

With ``newest = false`` and offline, cached eggs count as available (`_chooser`, rule 3). The best of them
may not fit to what other eggs require, where an egg of the index would. So an egg that was chosen in this
way is a *guess*. If buildout cannot resolve something with it, the guess is rejected, and buildout starts
again: it asks the index for that project or, offline, gets another cached version.
"""

import os
import shutil
import tempfile

from eggcache._log import logger
from eggcache._requirements import canonical

#: What an installer collects while it resolves.
_COLLECTED = ("_picked_versions", "_required_by", "_requirements_and_constraints", "_links")


class Conflicts(object):
    """The guesses of a run, and those that were rejected.

    ``directory`` is the folder of the buildout, and ``used`` is a set of the locations of eggs that it uses.
    """

    def __init__(self, easy_install, directory, used):
        self._easy_install = easy_install
        self._directory = directory
        self._used = used
        #: Copied eggs that are guesses, by location.
        self._guesses = {}
        #: Locations of copied eggs since the current installation has begun.
        self._copied = []
        #: Rejected eggs that are still in place, by location: buildout must not see them.
        self._hidden = {}
        #: Locations of all eggs that were ever rejected. None is rejected twice, so that resolving ends.
        self._rejected = set()

    def copied(self, dist, offer):
        """Note an egg that buildout has from the cache: its distribution and the offer that it has accepted."""
        self._hidden.pop(dist.location, None)
        if offer.is_new:
            self._copied.append(dist.location)
        if offer.is_guess:
            self._guesses[dist.location] = dist

    @property
    def are_open(self):
        """Whether an egg that is in place may lead to a conflict, or has led to one."""
        return bool(self._guesses or self._hidden)

    def hide(self, env):
        """Remove rejected eggs from an environment.

        Its own method for that does not find ``alpha-one``: buildout 3 and later keep it as ``alpha_one``.
        """
        for location, hidden in self._hidden.items():
            dists = env[hidden.project_name]
            dists[:] = [dist for dist in dists if dist.location != location]

    def resolve(self, installer, asked, working_set, chooser, install, is_misled):
        """Call ``install``, and call it again after each conflict to which a guess has led.

        ``asked`` are the requirements that it resolves. It is also called again if
        ``is_misled(installer, error)``, after which no egg is offered any more.
        """
        first = None
        before = _State(self._easy_install, installer, working_set)
        outer, self._copied = self._copied, []
        found = ()
        try:
            while True:
                installer._eggcache_lacks = None
                try:
                    found = install()
                    return found
                except Exception as error:
                    blamed = self._blamed(error, installer, asked)
                    is_offline = installer._dest is None
                    if blamed:
                        first = first or error
                    elif not is_misled(installer, error):
                        if first is not None and is_offline:
                            raise first
                        raise
                if blamed:
                    self._reject(blamed, installer, chooser, is_offline)
                before.restore()
        finally:
            if first is not None:
                self._clean_up(found)
            self._copied = outer + self._copied

    def _blamed(self, error, installer, asked):
        """The guesses because of which an installation has failed."""
        if not self._guesses or not isinstance(error, self._errors):
            return []
        wanted, working_set = getattr(installer, "_eggcache_wanted", (None, ()))
        locations = {dist.location for dist in working_set}
        guesses = [
            dist
            for location, dist in self._guesses.items()
            if location in locations and location not in self._rejected
        ]
        named = [it for it in getattr(error, "err", error).args if hasattr(it, "specs")]
        wanted = named[-1] if named else wanted
        if wanted is None:
            return guesses
        # The egg that does not fit, or else those that require it, or else whatever led there.
        unfit = [dist for dist in guesses if _is_of(dist, wanted) and not _fits(dist, wanted)]
        found = unfit or [dist for dist in guesses if _requires(dist, wanted)]
        if found or installer._eggcache_lacks and self._is_asked(wanted, installer, asked):
            return found
        return guesses

    def _is_asked(self, wanted, installer, asked):
        """Whether a requirement would be there without any egg, as one of those that are resolved."""
        try:
            return any(installer._constrain(it) == wanted for it in asked if _is_of(it, wanted))
        except self._errors:
            return False

    @property
    def _errors(self):
        return self._easy_install.zc.buildout.UserError, self._easy_install.pkg_resources.ResolutionError

    def _reject(self, blamed, installer, chooser, is_offline):
        for dist in blamed:
            chooser.reject(dist)
            del self._guesses[dist.location]
            self._hidden[dist.location] = dist
            self._rejected.add(dist.location)
        self.hide(installer._env)
        logger.info(
            "%s from the cache cannot be used with the other eggs; %s.",
            ", ".join(sorted(map(str, blamed))),
            "looking for another version in the cache"
            if is_offline
            else "asking the index for %s" % ", ".join(sorted(dist.project_name for dist in blamed)),
        )

    def _clean_up(self, found):
        """Remove eggs that were copied in vain, from an eggs directory that only this buildout uses."""
        kept = self._used.union(dist.location for dist in found)
        # If buildout has failed in the end, it may be called again.
        vain = [it for it in self._copied if found or it in self._hidden]
        for location in vain:
            if location not in kept and self._is_own(location):
                self._hidden.pop(location, None)
                self._guesses.pop(location, None)
                _remove(location)

    def _is_own(self, location):
        realpath = self._easy_install.realpath
        return realpath(location).startswith(os.path.join(realpath(self._directory), ""))


class _State(object):
    """What an installation changes in an installer and in a working set."""

    def __init__(self, easy_install, installer, working_set):
        self._containers = [getattr(installer, name, None) for name in _COLLECTED]
        self._containers += [] if working_set is None else vars(working_set).values()
        self._containers = [(it, _copy(it)) for it in self._containers if isinstance(it, (dict, list))]
        self._installer, self._index = installer, getattr(installer, "_index", None)

    def restore(self):
        for container, before in self._containers:
            if isinstance(container, dict):
                container.clear()
                container.update(_copy(before))
            else:
                container[:] = before
        self._installer._index = self._index


def _copy(container):
    if isinstance(container, dict):
        copies = (list, set)
        return {
            key: type(value)(value) if isinstance(value, copies) else value
            for key, value in container.items()
        }
    return list(container)


def _is_of(project, requirement):
    """Whether a distribution or a requirement is of the project of a requirement, in any spelling."""
    return canonical(project.project_name) == canonical(requirement.project_name)


def _fits(dist, requirement):
    return dist in requirement and set(requirement.extras) <= set(dist.extras)


def _requires(dist, requirement):
    """Whether a distribution requires a project, with any of its extras."""
    return any(_is_of(it, requirement) for it in dist.requires(dist.extras))


def _remove(location):
    """Remove an egg, so that an interrupt leaves no half of it under its name."""
    try:
        aside = tempfile.mkdtemp(prefix=".eggcache-", dir=os.path.dirname(location))
    except EnvironmentError:
        return
    try:
        os.rename(location, os.path.join(aside, "egg"))
    except EnvironmentError as error:
        logger.debug("%s was copied in vain and stays: %s", location, error)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
