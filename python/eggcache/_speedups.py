"""Work of buildout itself that eggcache does faster, with the same result.

Each replacement leaves to the original whatever it has not computed before, errors included. It replaces
only a function whose source it knows (`SOURCES`): in a buildout where that differs, the original stays. So it
is after a replacement has failed (`_seam`).
None of them needs the cache. They are in place in each run with ``egg-cache``.
"""

import email.parser
import hashlib
import io
import logging

from eggcache import _compat, _seam
from eggcache._dependencies import Dependencies, copied, headers_of
from eggcache._log import logger

#: `_compute_dependencies` of pkg_resources that keeps requirements in the order in which METADATA has them: beside
#: setuptools before 71, and later.
_IN_ORDER = ("9dc9b2bd85423340", "6dda07db2c7c8d63")

#: The same of pkg_resources that does not: beside setuptools before 66.
_IN_ANY_ORDER = ("637f43db06bf252d",)

#: The begin of the SHA-256 of each source that a function has in zc.buildout 2.13 to 6, or in
#: pkg_resources beside it. 5.3, whose releases are alphas so far, has others and keeps its own functions.
SOURCES = {
    "_log_requirement": ("233b1b482e03c903",),
    # Of 2.13 to 3, and of 4.0 to 6.0.
    "_dir_hash": ("5ab17a34dc10816c", "cba3f7ff81d219db"),
    # Of 2.13, 3.0, and 3.1 to 6.0.
    "_constrained_requirement": ("75f69e7d6b2a9bca", "d56f3b88261cf660", "b58d1f8ebf1ef863"),
    "_compute_dependencies": _IN_ANY_ORDER + _IN_ORDER,
}


class Speedups(object):
    """The replacements. Each method has the name of the function that it replaces, and gets that first."""

    def __init__(self, easy_install):
        self._easy_install = easy_install
        self._places = [
            (easy_install.Installer, "_log_requirement"),
            (easy_install, "_constrained_requirement"),
            (easy_install.pkg_resources.DistInfoDistribution, "_compute_dependencies"),
        ]
        #: Distributions whose requirements are in `_requiring`, by their identity.
        self._indexed = {}
        #: The identities of the distributions that have a requirement.
        self._requiring = {}
        #: Results of `_constrained_requirement`.
        self._constrained = {}
        self._dependencies = Dependencies(easy_install.pkg_resources)
        dist_info = easy_install.pkg_resources.DistInfoDistribution
        dependencies = getattr(dist_info, "_compute_dependencies", None)
        #: Whether this pkg_resources keeps requirements in the order in which METADATA has them.
        self._keeps_order = _is_one_of(dependencies, _IN_ORDER)

    def apply(self):
        """Replace the functions whose source is known."""
        for owner, name in self._places:
            replace(owner, name, getattr(self, name))

    def _log_requirement(self, stock, installer, ws, req):
        """Stock: sort the working set; log and keep which of its distributions have a requirement.

        Changed: it gets only those that have it. Most often there is none or one. Without debug log and
        picked versions, it does nothing.
        """
        easy_install = self._easy_install
        if (
            easy_install.logger.isEnabledFor(logging.DEBUG)
            or easy_install.Installer._store_required_by
        ):
            ws = self._requirers(ws, req)
        return stock(installer, ws, req)

    def _requirers(self, working_set, requirement):
        """The distributions of a working set that have a requirement; all if one of them is broken."""
        dists = list(working_set)
        try:
            for dist in dists:
                if id(dist) not in self._indexed:
                    self._index(dist)
        except Exception:
            return dists
        found = self._requiring.get(requirement, ())
        return [dist for dist in dists if id(dist) in found] if found else []

    def _index(self, dist):
        # Sorting fails for a version that is not valid, whether or not it is sorted.
        dist.hashcmp  # noqa: B018
        for requirement in dist.requires():
            self._requiring.setdefault(requirement, set()).add(id(dist))
        # This keeps the distribution, and thus its identity.
        self._indexed[id(dist)] = dist

    def _constrained_requirement(self, stock, constraint, requirement):
        """Stock: copy a requirement, replace its versions, and parse its text again.

        Changed: this is done once for each pair of a constraint and the text of a requirement, and the copy is
        a shallow one. The order of the extras is part of the key: buildout 2 writes them in that order. Each
        caller gets a copy: `WorkingSet.find` may change the key of a requirement, which others must not see.
        """
        key = constraint, str(requirement), requirement.extras
        if key not in self._constrained:
            self._constrained[key] = stock(constraint, _lightened(requirement))
        try:
            return copied(self._constrained[key])
        except Exception:
            return stock(constraint, requirement)

    def _compute_dependencies(self, stock, dist):
        """Stock: parse METADATA, which ends with the long description of a project; parse each requirement,
        and evaluate its marker for each extra.

        Changed: only the headers are parsed, and of requirements what is asked for (`Dependencies`). Later,
        `_parsed_pkg_info` has all of METADATA.
        """
        if "_pkg_info" in vars(dist):
            return stock(dist)
        headers = headers_of(dist.get_metadata(dist.PKG_INFO))
        if self._keeps_order:
            try:
                return self._dependencies.read(headers)
            except Exception as error:
                # Stock says what is wrong with a requirement.
                logger.debug("buildout itself reads the requirements of %s: %s", dist.location, error)
        dist._pkg_info = email.parser.Parser().parsestr(headers)
        try:
            return stock(dist)
        finally:
            del dist._pkg_info


def replace(owner, name, method):
    """Replace a function of ``owner`` by a method, if its source is known, until the method fails."""
    stock = getattr(owner, name, None)
    if not is_known(stock, name):
        logger.debug("buildout's own %s stays: its source is not known.", name)
        return
    failed = []

    def fail(error):
        failed.append(error)
        logger.warning("buildout's own %s is used, since eggcache's has failed (%s).", name, error)

    setattr(owner, name, _seam.replacement(stock, method, lambda: bool(failed), fail))


def _lightened(requirement):
    """A requirement that `copy.deepcopy` copies at little cost. Stock sets the versions of the copy, and writes it."""
    try:
        light = copied(requirement)
        light.__deepcopy__ = lambda memo: copied(requirement)
        return light
    except Exception:
        return requirement


def is_known(function, name):
    """Whether the source of a function is one of those that are known by this name."""
    return _is_one_of(function, SOURCES[name])


def _is_one_of(function, digests):
    try:
        return source_digest(function) in digests
    except Exception:
        return False


def source_digest(function):
    """The begin of the SHA-256 of a function's source."""
    code = function.__code__
    block = _block(_lines(code.co_filename)[code.co_firstlineno - 1 :])
    return hashlib.sha256("\n".join(block).encode("utf-8")).hexdigest()[:16]


@_compat.memoized
def _lines(path):
    with io.open(path, encoding="utf-8") as file:
        return [line.rstrip() for line in file]


def _block(lines):
    """The first line and those that belong to it: they are empty or farther to the right."""
    margin = len(lines[0]) - len(lines[0].lstrip())
    for number, line in enumerate(lines[1:], 1):
        if line and len(line) - len(line.lstrip()) <= margin:
            lines = lines[:number]
            break
    while not lines[-1]:
        lines = lines[:-1]
    return lines
