"""Faster work of buildout: it is replaced only where its source is known, and otherwise it stays."""

import email.parser
import logging
import types

import pytest

from eggcache import _dependencies, _speedups

METADATA = u"""Metadata-Version: 2.1
Name: alpha
Requires-Dist: beta (>=1.0)
Requires-Dist: gamma;
  python_version >= "3"
Provides-Extra: new
Requires-Dist: delta; extra == "new"

A long description.

Requires-Dist: nothing
"""


class Dist:
    """A distribution with a METADATA file, whose requirements are counted."""

    PKG_INFO = "METADATA"

    def __init__(self, name, requires=(), text=METADATA):
        self.name, self.text = name, text
        self._requires = requires
        self.asked = 0
        self.hashcmp = (name,)

    def get_metadata(self, name):
        assert name == self.PKG_INFO
        return self.text

    def requires(self):
        self.asked += 1
        if isinstance(self._requires, Exception):
            raise self._requires
        return list(self._requires)


def easy_install(stores=True):
    """A module like buildout's."""
    installer = type("Installer", (), {"_store_required_by": stores})
    dist = type("DistInfoDistribution", (), {})
    return types.SimpleNamespace(
        Installer=installer,
        logger=logging.getLogger("tests.speedups"),
        pkg_resources=types.SimpleNamespace(DistInfoDistribution=dist),
    )


def requirers(speedups, working_set, requirement):
    """What buildout's own `_log_requirement` gets."""
    got = []

    def stock(installer, working_set, requirement):
        got.append(working_set)

    speedups._log_requirement(stock, None, working_set, requirement)
    return got[0]


def test_log_requirement_gets_only_those_that_have_the_requirement():
    speedups = _speedups.Speedups(easy_install())
    dists = [Dist("b", ["x", "y", "x"]), Dist("a", ["x"]), Dist("c")]
    assert requirers(speedups, dists, "x") == dists[:2]
    assert requirers(speedups, dists, "y") == dists[:1]
    assert requirers(speedups, dists, "z") == []
    assert [dist.asked for dist in dists] == [1, 1, 1]


def test_log_requirement_follows_a_working_set_that_changes():
    speedups = _speedups.Speedups(easy_install())
    old, new = Dist("a", ["x"]), Dist("a", ["y"])
    assert requirers(speedups, [old], "x") == [old]
    assert requirers(speedups, [new], "x") == []
    assert requirers(speedups, [new], "y") == [new]
    assert requirers(speedups, [old], "y") == []


@pytest.mark.parametrize("error", [ValueError("requirement"), KeyError("METADATA")])
def test_log_requirement_leaves_a_broken_distribution_to_buildout(error):
    speedups = _speedups.Speedups(easy_install())
    dists = [Dist("a", ["x"]), Dist("b", error), Dist("c")]
    assert requirers(speedups, dists, "x") == dists
    assert requirers(speedups, dists[:1], "x") == dists[:1]


def test_log_requirement_looks_at_nothing_if_nothing_is_logged():
    speedups = _speedups.Speedups(easy_install(stores=False))
    dist = Dist("a", ["x"])
    working_set = [dist]
    assert requirers(speedups, working_set, "x") is working_set
    assert dist.asked == 0


class Requirement:
    """A requirement with the text `text`."""

    key = "a"

    def __init__(self, text, extras=()):
        self.text, self.extras = text, extras

    def __str__(self):
        return self.text


def test_a_requirement_is_constrained_once():
    speedups = _speedups.Speedups(easy_install())
    calls = []

    def stock(constraint, requirement):
        calls.append((constraint, str(requirement)))
        return Requirement(constraint)

    first = speedups._constrained_requirement(stock, "1.0", Requirement("a>=1"))
    first.key = "changed by WorkingSet.find"
    again = speedups._constrained_requirement(stock, "1.0", Requirement("a>=1"))
    assert (again.text, again.key) == ("1.0", "a")
    speedups._constrained_requirement(stock, "1.1", Requirement("a>=1"))
    speedups._constrained_requirement(stock, "1.0", Requirement("A>=1"))
    assert calls == [("1.0", "a>=1"), ("1.1", "a>=1"), ("1.0", "A>=1")]


def test_a_requirement_with_other_order_of_extras_is_another():
    speedups = _speedups.Speedups(easy_install())
    results = [
        speedups._constrained_requirement(lambda _, it: it, "1.0", Requirement("a[x,y]", extras))
        for extras in (("x", "y"), ("y", "x"))
    ]
    assert [it.extras for it in results] == [("x", "y"), ("y", "x")]


class Slots(object):
    """A requirement of newer versions of packaging, whose copies have only what is in slots."""

    __slots__ = ("specifier",)

    def __getstate__(self):
        return self.specifier

    def __setstate__(self, state):
        self.specifier = state


class WithSlots(Slots):
    """A requirement of pkg_resources, with attributes of its own."""


def test_a_copy_of_a_requirement_has_all_attributes():
    requirement = WithSlots()
    requirement.specifier, requirement.key = ">=1", "alpha"
    copy = _dependencies.copied(requirement)
    copy.key = copy.key + "-changed"
    assert (copy.specifier, copy.key) == (">=1", "alpha-changed")
    assert requirement.key == "alpha"


def test_a_requirement_that_cannot_be_copied_is_left_to_buildout():
    speedups = _speedups.Speedups(easy_install())
    results = [
        speedups._constrained_requirement(lambda *args: 42, "1.0", Requirement("a")) for _ in range(2)
    ]
    assert results == [42, 42]


def test_a_conflict_with_a_constraint_fails_each_time():
    speedups = _speedups.Speedups(easy_install())
    calls = []

    def stock(constraint, requirement):
        calls.append(constraint)
        raise ValueError("conflict")

    for _ in range(2):
        with pytest.raises(ValueError, match="conflict"):
            speedups._constrained_requirement(stock, "1.0", Requirement("a>2"))
    assert calls == ["1.0", "1.0"]


def headers_seen(dist):
    """The headers that buildout's own `_compute_dependencies` sees."""
    speedups = _speedups.Speedups(easy_install())
    return speedups._compute_dependencies(lambda dist: dist._pkg_info.items(), dist)


@pytest.mark.parametrize(
    "text",
    [
        METADATA,
        METADATA.replace("\n", "\r\n"),
        METADATA.partition("\n\n")[0],
        METADATA.partition("\n\n")[0] + "\n",
        METADATA.replace("Provides-Extra", "no header\nProvides-Extra"),
        METADATA.replace("\n\n", "\n \n\n", 1),
        u"Content-Type: multipart/mixed; boundary=b\n" + METADATA + u"--b\nName: other\n\n--b--\n",
        u"\n\n" + METADATA,
        u"",
    ],
)
def test_headers_are_those_of_the_whole_metadata(text):
    whole = email.parser.Parser().parsestr(text)
    assert headers_seen(Dist("alpha", text=text)) == whole.items()


def test_parsed_metadata_stays_whole_for_others():
    dist = Dist("alpha")
    headers_seen(dist)
    assert not hasattr(dist, "_pkg_info")
    dist._pkg_info = email.parser.Parser().parsestr("Name: parsed\n\n")
    assert headers_seen(dist) == [("Name", "parsed")]
    assert dist._pkg_info["Name"] == "parsed"


def test_a_function_whose_source_is_not_known_stays():
    module = easy_install()

    def _log_requirement(self, ws, req):
        """Another buildout's."""

    module.Installer._log_requirement = _log_requirement
    module._constrained_requirement = len
    _speedups.Speedups(module).apply()
    assert module.Installer._log_requirement is _log_requirement
    assert module._constrained_requirement is len
    assert not hasattr(module.pkg_resources.DistInfoDistribution, "_compute_dependencies")


def test_a_function_whose_source_is_known_is_replaced(monkeypatch):
    module = easy_install()

    def _log_requirement(self, ws, req):
        """Buildout's."""

    digest = _speedups.source_digest(_log_requirement)
    monkeypatch.setitem(_speedups.SOURCES, "_log_requirement", (digest,))
    module.Installer._log_requirement = _log_requirement
    _speedups.Speedups(module).apply()
    assert module.Installer._log_requirement is not _log_requirement
    assert module.Installer._log_requirement.__doc__ == _log_requirement.__doc__


def test_the_digest_is_of_one_function_without_what_follows(tmp_path):
    source = "class A:\n    def f(self):\n        pass\n\n        return 1\n\n%s"
    digests = set()
    for number, rest in enumerate(["", "    x = 1\n", "def g():\n    pass\n"]):
        path = tmp_path / ("m%d.py" % number)
        path.write_text(source % rest)
        names = {}
        exec(compile(path.read_text(), str(path), "exec"), names)
        digests.add(_speedups.source_digest(names["A"].f))
    assert len(digests) == 1


def test_a_replacement_that_fails_leaves_its_work_to_buildout_with_one_warning(monkeypatch, caplog):
    module, calls = easy_install(), []

    def _log_requirement(self, ws, req):
        calls.append((ws, req))

    digest = _speedups.source_digest(_log_requirement)
    monkeypatch.setitem(_speedups.SOURCES, "_log_requirement", (digest,))
    module.Installer._log_requirement = _log_requirement
    _speedups.Speedups(module).apply()
    installer = module.Installer()
    del module.Installer._store_required_by
    for _ in range(2):
        installer._log_requirement(ws=["alpha"], req="beta")
    assert calls == [(["alpha"], "beta")] * 2
    [record] = caplog.records
    assert "buildout's own _log_requirement is used" in record.getMessage()
