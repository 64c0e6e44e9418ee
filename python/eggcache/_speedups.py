"""Work of buildout itself that eggcache does faster, with the same result.

Each replacement leaves to the original whatever it has not computed before, errors included. It replaces
only a function whose source it knows (`SOURCES`): in a buildout where that differs, the original stays. So it
is after a replacement has failed (`_seam`).
None of them needs the cache. They are in place in each run with ``egg-cache``.
"""

import email.parser
import functools
import hashlib
import io
import logging
import re

from eggcache import _compat, _seam
from eggcache._log import logger

#: The begin of the SHA-256 of each source that a function has in zc.buildout 2.13 to 6, or in
#: pkg_resources beside it.
SOURCES = {
    "_log_requirement": ("233b1b482e03c903",),
    # Of 2.13, 3.0, and 3.1 to 6.0.
    "_constrained_requirement": ("75f69e7d6b2a9bca", "d56f3b88261cf660", "b58d1f8ebf1ef863"),
    # Beside setuptools before 66, before 71, and later.
    "_compute_dependencies": ("637f43db06bf252d", "9dc9b2bd85423340", "6dda07db2c7c8d63"),
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
        #: Requirements by their texts, and results of markers by their texts and extras.
        self._requirements, self._evaluated = {}, {}
        dist_info = easy_install.pkg_resources.DistInfoDistribution
        dependencies = getattr(dist_info, "_compute_dependencies", None)
        #: Names of replacements that have failed.
        self._failed = set()
        #: Whether this pkg_resources keeps requirements in the order in which METADATA has them.
        self._keeps_order = _is_one_of(dependencies, SOURCES["_compute_dependencies"][1:])

    def apply(self):
        """Replace the functions whose source is known."""
        for owner, name in self._places:
            stock = getattr(owner, name, None)
            if is_known(stock, name):
                is_left = functools.partial(self._failed.__contains__, name)
                fail = functools.partial(self._fail, name)
                setattr(owner, name, _seam.replacement(stock, getattr(self, name), is_left, fail))
            else:
                logger.debug("buildout's own %s stays: its source is not known.", name)

    def _fail(self, name, error):
        self._failed.add(name)
        logger.warning("buildout's own %s is used, since eggcache's has failed (%s).", name, error)

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

        Changed: this is done once for each pair of a constraint and the text of a requirement. The order
        of the extras is part of the key: buildout 2 writes them in that order. Each caller gets a copy:
        `WorkingSet.find` may change the key of a requirement, which others must not see.
        """
        key = constraint, str(requirement), requirement.extras
        if key not in self._constrained:
            self._constrained[key] = stock(constraint, requirement)
        try:
            return copied(self._constrained[key])
        except Exception:
            return stock(constraint, requirement)

    def _compute_dependencies(self, stock, dist):
        """Stock: parse METADATA, which ends with the long description of a project; parse each requirement,
        and evaluate its marker for each extra.

        Changed: only the headers are parsed. Later, `_parsed_pkg_info` has all of METADATA. A text that
        several distributions have is parsed once, and each pair of a marker and an extra is evaluated once.
        """
        if "_pkg_info" in vars(dist):
            return stock(dist)
        headers = _headers(dist.get_metadata(dist.PKG_INFO))
        if self._keeps_order:
            try:
                return self._dependencies(headers)
            except Exception as error:
                # Stock says what is wrong with a requirement.
                logger.debug("buildout itself reads the requirements of %s: %s", dist.location, error)
        dist._pkg_info = email.parser.Parser().parsestr(headers)
        try:
            return stock(dist)
        finally:
            del dist._pkg_info

    def _dependencies(self, headers):
        """What `_compute_dependencies` of setuptools since 66 returns; earlier ones keep no order."""
        texts, extras = _dependency_fields(headers)
        requirements = [
            (copied(requirement), marker) for text in texts for requirement, marker in self._parsed(text)
        ]
        common = [it for it, marker in requirements if self._applies(it, marker, None)]
        found = {None: list(dict.fromkeys(common))}
        common = frozenset(common)
        for extra in extras:
            found[self._easy_install.pkg_resources.safe_extra(extra.strip())] = [
                it for it, marker in requirements if self._applies(it, marker, extra) and it not in common
            ]
        return found

    def _parsed(self, text):
        """The requirements in a text, each with a text that stands for its marker."""
        if text not in self._requirements:
            requirements = self._easy_install.pkg_resources.parse_requirements(text)
            # A semicolon can be part of an address.
            marker = text if "@" in text else text.partition(";")[2]
            self._requirements[text] = [(requirement, marker) for requirement in requirements]
        return self._requirements[text]

    def _applies(self, requirement, marker, extra):
        """Whether a requirement, the text of whose marker is given, holds with an extra."""
        if not requirement.marker:
            return True
        key = marker, extra
        if key not in self._evaluated:
            self._evaluated[key] = requirement.marker.evaluate({"extra": extra})
        return self._evaluated[key]


def copied(requirement):
    """A copy of a requirement, whose attributes can be changed apart from it.

    `copy.copy` loses those of pkg_resources where packaging, from which it inherits, keeps its own in slots.
    """
    copy = object.__new__(type(requirement))
    vars(copy).update(vars(requirement))
    for name in getattr(type(requirement), "__slots__", ()):
        setattr(copy, name, getattr(requirement, name))
    return copy


def _headers(metadata):
    """The part of METADATA that has its headers: they end at the first empty line."""
    return metadata.partition("\n\n")[0].rstrip("\n") + "\n\n"


#: Headers of which no reader of messages makes anything else: each has a name, and lines that continue it.
_PLAIN = re.compile(r"(?:[!-9;-~]+:[^\r\n]*\n(?:[\t ][^\r\n]*\n)*)*\n")

#: A header about dependencies, its value, and the begin of a line that continues it.
_DEPENDENCY = re.compile(
    r"^(?:(requires-dist)|provides-extra):[\t ]*([^\n]*)\n(?=([\t ])?)", re.IGNORECASE | re.MULTILINE
)


def _dependency_fields(headers):
    """The values of ``Requires-Dist`` and of ``Provides-Extra`` in headers, as `email.parser` returns them.

    Raises ValueError if that is not certain.
    """
    values = [], []
    if not _PLAIN.match(headers) or _PLAIN.match(headers).end() != len(headers):
        raise ValueError("unusual headers")
    for is_requirement, value, continued in _DEPENDENCY.findall(headers):
        if continued:
            raise ValueError("a requirement of several lines")
        values[0 if is_requirement else 1].append(value)
    return values


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
