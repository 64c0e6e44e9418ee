"""The requirements of a distribution, read from the headers of its METADATA as pkg_resources reads them.

A text that several distributions have is parsed once, and each pair of a marker and an extra is evaluated
once. What only an extra requires is parsed when that extra is asked for, which most never are.
"""

import re

from eggcache import _compat

try:
    from collections.abc import MutableMapping
except ImportError:
    from collections import MutableMapping

#: Headers of which no reader of messages makes anything else: each has a name, and lines that continue it.
_PLAIN = re.compile(r"(?:[!-9;-~]+:[^\r\n]*\n(?:[\t ][^\r\n]*\n)*)*\n\Z")

#: A header about dependencies, its value, and the begin of a line that continues it.
_DEPENDENCY = re.compile(
    r"^(?:(requires-dist)|provides-extra):[\t ]*([^\n]*)\n(?=([\t ])?)", re.IGNORECASE | re.MULTILINE
)

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?"
_CLAUSE = r"(?:(?:==|!=|<=|>=|<|>) *{0}|~= *[0-9]+\.{0}|[=!]= *[0-9]+(?:\.[0-9]+)*\.\*)".format(_RELEASE)
_CLAUSES = r"{0}(?: *, *{0})*".format(_CLAUSE)
_COMPARISON = (
    r"(?:python(?:_full)?_version *(?:[=!]=|[<>]=?) *{0}[0-9]+(?:\.[0-9]+)*{0}"
    r"|(?:sys_platform|platform_system|os_name|implementation_name) *[=!]= *{0}[A-Za-z0-9_]+{0})"
).format("[\"']")

#: A requirement of an extra that certainly is valid, and its marker (the grammar of PEP 508, of which this is a part).
_OF_EXTRA = re.compile(
    r"{name} *(?:\[{name}(?: *, *{name})*\])? *(?:{clauses}|\({clauses}\))? *;"
    r"( *(?:{comparison} and )*extra *== *(?:\"{name}\"|'{name}')(?: and {comparison})*) *\Z".format(
        name=_NAME, clauses=_CLAUSES, comparison=_COMPARISON
    )
)


class Dependencies(object):
    """Reads requirements with one pkg_resources. It must keep them in their order: that of setuptools since 66."""

    def __init__(self, pkg_resources):
        self._pkg_resources = pkg_resources
        #: The requirements in a text, as a list, each with a text that stands for its marker.
        self.parsed = _compat.memoized(self._parsed)
        self._marker = _compat.memoized(self._parsed_marker)
        #: Whether a marker, by its text, holds with an extra.
        self._evaluated = {}

    def read(self, headers):
        """What `_compute_dependencies` of a distribution returns: its requirements by extras, and by None.

        Raises ValueError if the headers are unusual, and what pkg_resources raises.
        """
        texts, extras = fields(headers)
        lines = [_Line(self, text) for text in texts]
        common = dict.fromkeys(it for line in lines for it in line.applying(None))
        by_extra = {self._pkg_resources.safe_extra(extra.strip()): extra for extra in extras}
        return _Requirements(list(common), lines, by_extra)

    def holds(self, text, marker, extra):
        """Whether a marker holds with an extra. If it is None, its text is parsed."""
        key = text, extra
        if key not in self._evaluated:
            self._evaluated[key] = (marker or self._marker(text)).evaluate({"extra": extra})
        return self._evaluated[key]

    def _parsed(self, text):
        # A semicolon can be part of an address.
        marker = text if "@" in text else text.partition(";")[2]
        return [(requirement, marker) for requirement in self._pkg_resources.parse_requirements(text)]

    def _parsed_marker(self, text):
        return self._pkg_resources.Requirement.parse("any;" + text).marker


class _Line(object):
    """What one ``Requires-Dist`` requires."""

    __slots__ = ("_dependencies", "_marker", "_requirements", "_text")

    def __init__(self, dependencies, text):
        self._dependencies = dependencies
        self._text = text
        match = _OF_EXTRA.match(text)
        #: The text of the marker of a requirement that is parsed when its marker holds.
        self._marker = match and match.group(1)
        self._requirements = None if match else self._parsed()

    def applying(self, extra):
        """The requirements that hold with an extra."""
        dependencies = self._dependencies
        if self._requirements is None:
            if not dependencies.holds(self._marker, None, extra):
                return []
            self._requirements = self._parsed()
        return [
            it
            for it, marker, text in self._requirements
            if not marker or dependencies.holds(text, marker, extra)
        ]

    def _parsed(self):
        """Copies of the requirements, and their markers: who has a copy may take its marker away."""
        return [(copied(it), it.marker, text) for it, text in self._dependencies.parsed(self._text)]


class _Requirements(MutableMapping):
    """Requirements as lists, by extra. Those of an extra are parsed when somebody asks for them."""

    def __init__(self, common, lines, extras):
        self._lines = lines
        #: The extras that nobody has asked for, by their safe names.
        self._waiting = extras
        self._found = {None: common}
        self._found.update(dict.fromkeys(extras))
        self._common = frozenset(common)

    def __getitem__(self, extra):
        if extra in self._waiting:
            name = self._waiting.pop(extra)
            applying = [it for line in self._lines for it in line.applying(name)]
            self._found[extra] = [it for it in applying if it not in self._common]
        return self._found[extra]

    def __setitem__(self, extra, requirements):
        self._waiting.pop(extra, None)
        self._found[extra] = requirements

    def __delitem__(self, extra):
        self._waiting.pop(extra, None)
        del self._found[extra]

    def __iter__(self):
        return iter(self._found)

    def __len__(self):
        return len(self._found)

    def __reduce__(self):
        """Copies and pickles are what pkg_resources has: a dictionary."""
        return dict, ([(extra, self[extra]) for extra in self],)

    def __repr__(self):
        return repr(dict(self))


def copied(requirement):
    """A copy of a requirement, whose attributes can be changed apart from it.

    `copy.copy` loses those of pkg_resources where packaging, from which it inherits, keeps its own in slots.
    """
    copy = object.__new__(type(requirement))
    for name in _slots_of(type(requirement)):
        if hasattr(requirement, name):
            setattr(copy, name, getattr(requirement, name))
    vars(copy).update(vars(requirement))
    return copy


@_compat.memoized
def _slots_of(kind):
    """The names of all slots of a class, as they are outside of it."""
    found = []
    for owner in kind.__mro__:
        slots = vars(owner).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):
                name = "_%s%s" % (owner.__name__.lstrip("_"), name)
            found.append(name)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def headers_of(metadata):
    """The part of METADATA that has its headers: they end at the first empty line."""
    return metadata.partition("\n\n")[0].rstrip("\n") + "\n\n"


def fields(headers):
    """The values of ``Requires-Dist`` and of ``Provides-Extra`` in headers, as `email.parser` returns them.

    Raises ValueError if that is not certain.
    """
    values = [], []
    if not _PLAIN.match(headers):
        raise ValueError("unusual headers")
    for is_requirement, value, continued in _DEPENDENCY.findall(headers):
        if continued:
            raise ValueError("a requirement of several lines")
        values[0 if is_requirement else 1].append(value)
    return values
