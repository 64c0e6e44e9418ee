"""The SHA-256 of archives that a buildout may install: the option ``egg-cache-hashes``.

`Hashes` compares archives and cached eggs with a file that ``eggcache lock`` has written. It needs no
cache. Unlike everything else in this package, it fails a run: if nobody can compare an archive, it is not
installed.
"""

import re

from eggcache import _compat
from eggcache._log import logger, printable
from eggcache._requirements import canonical, same_version

try:
    from zc.buildout import UserError
except ImportError:  # tests of this package alone
    UserError = Exception

_PROJECT = re.compile(r"([a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9])[ \t]*=(.*)$", re.I)
_VALUE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})\s*(?:#(.*))?$")
_SECTION = "[hashes]"

#: How many archives without a hash a warning names.
FEW = 20


class Refused(UserError):
    """An archive that must not be installed, or a file of hashes that cannot be used."""


class Hashes(object):
    """The SHA-256 that the file ``path`` lists.

    ``listed`` has pairs of version and SHA-256 by the canonical names of projects. With ``warns``, an
    archive of a version that is not listed is installed with a warning.
    """

    def __init__(self, path, listed, parse_version, warns=False):
        self.path = path
        self._listed = listed
        self._parse_version = parse_version
        self._warns = warns
        #: Names and versions that are not listed, with a warning.
        self._missing = {}
        #: Cached eggs of which the log has said that they are not used.
        self._skipped = set()

    def of(self, project, version):
        """The listed SHA-256 of a version."""
        return [
            sha256
            for listed, sha256 in self._listed.get(canonical(project), ())
            if same_version(self._parse_version, listed, version)
        ]

    def check(self, project, version, sha256, what):
        """Raise `Refused` unless an archive may be installed.

        ``sha256`` is None if it is not known. ``what`` describes the archive.
        """
        expected = self.of(project, version)
        if sha256 in expected:
            return
        if not expected and self._warns:
            self._missing.setdefault(canonical(project), set()).add(version)
            return
        found = "sha256:" + sha256 if sha256 else "not known"
        if expected:
            title = "%s %s does not have a SHA-256 that is listed for it." % (project, version)
            rows = [("expected", "sha256:" + it) for it in sorted(expected)] + [("found", found)]
        else:
            title = "no SHA-256 is listed for %s %s." % (project, version)
            rows = [("found", found)]
        rows += [("archive", what), ("hashes", self.path)]
        lines = [printable(title)] + ["  %-9s %s" % (name + ":", printable(value)) for name, value in rows]
        if not expected:
            how = "After a run with egg-cache-hashes-missing = warn, `eggcache lock -o %s` adds it."
            lines.append(how % printable(self.path))
        raise Refused("\n".join(lines))

    def check_cached(self, offer, project, version):
        """Raise `Refused` unless a cached egg may be installed."""
        self.check(project, version, offer.source_sha256 or None, "cached egg %s" % offer.file_name)

    def usable(self, eggs, project, is_offline):
        """Those cached eggs of a project that may be installed.

        If there is none, and buildout can fetch an archive, that is compared instead. Offline, buildout
        is offered the egg all the same, so that it fails with both values.
        """
        usable = [egg for egg in eggs if self._is_usable(egg, project)]
        if usable or is_offline:
            return usable or eggs
        for egg in eggs:
            if egg["digest"] not in self._skipped:
                self._skipped.add(egg["digest"])
                logger.info("the cached %s is not used: its archive is not listed.", egg["file_name"])
        return []

    def _is_usable(self, egg, project):
        expected = self.of(project, egg["version"])
        return not expected or egg["source_sha256"] in expected

    def warn(self):
        """Log which versions were installed without a hash."""
        names = ["%s %s" % (name, it) for name in sorted(self._missing) for it in sorted(self._missing[name])]
        if names:
            more = " and %d more" % (len(names) - FEW) if len(names) > FEW else ""
            logger.warning(
                "%s lists no SHA-256 for %s%s; `eggcache lock -o %s` adds the hashes.",
                self.path,
                ", ".join(names[:FEW]),
                more,
                self.path,
            )
        self._missing.clear()


def read(path):
    """The content of a file of hashes, as `Hashes` takes it. Raises `Refused`."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
    except (EnvironmentError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(printable("cannot read the hashes in %s: %s" % (path, reason)))
    return parse(path, text)


def parse(path, text):
    """As `read`, from the text of the file.

    As in the program (``src/buildout/hashes.rs``), a line in any other form is an error.
    """
    listed, pairs = {}, None
    has_section = False
    for number, line in enumerate(text.split(u"\n"), 1):
        line = _compat.to_native(line.rstrip())
        if not line.strip() or line[0] in "#;":
            continue
        value = line.strip()
        if not line[0].isspace():
            if value == _SECTION and not has_section:
                has_section = True
                continue
            found = _PROJECT.match(line)
            name = canonical(found.group(1)) if found else None
            if not found or not has_section or name in listed:
                raise _unreadable(path, number, line)
            pairs = listed[name] = []
            value = found.group(2).strip()
        if value:
            found = _VALUE.match(value)
            if not found or pairs is None:
                raise _unreadable(path, number, line)
            pairs.append(found.group(1, 2))
    if not has_section:
        raise Refused(printable("%s has no section %s" % (path, _SECTION)))
    return listed


def _unreadable(path, number, line):
    return Refused(printable("%s, line %d is not in the format of hashes: %s" % (path, number, line.strip())))
