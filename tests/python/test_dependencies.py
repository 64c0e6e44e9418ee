"""The requirements of a distribution are those of its METADATA; what only an extra requires is parsed when asked for."""

import copy
import pickle

import pytest

from eggcache import _dependencies

HEADERS = """\
Requires-Dist: b
Requires-Dist: c>=1; extra == "x"
Requires-Dist: d[y]~=1.0; python_version >= "3" and extra == "x"
Requires-Dist: e (>=1) ; extra == 'Y_z'
Requires-Dist: f; (extra == "x")
Provides-Extra: x
Provides-Extra: Y_z

"""


class Marker:
    def __init__(self, text):
        self.text = text

    def evaluate(self, environment):
        return "'%s'" % environment["extra"] in self.text.replace('"', "'")


class Requirement:
    def __init__(self, text):
        self.text, _, marker = text.partition(";")
        self.marker = Marker(marker) if marker else None

    parse = classmethod(lambda cls, text: cls(text))


class PkgResources:
    """Parses requirements, and notes what it has parsed."""

    Requirement = Requirement

    def __init__(self):
        self.parsed = []

    def parse_requirements(self, text):
        self.parsed.append(text.partition(";")[0].strip())
        return [Requirement(text)]

    def safe_extra(self, extra):
        return extra.lower()


def texts(requirements):
    return [it.text.strip() for it in requirements]


def test_what_an_extra_requires_is_parsed_when_somebody_asks():
    pkg_resources = PkgResources()
    found = _dependencies.Dependencies(pkg_resources).read(HEADERS)
    assert (list(found), texts(found[None])) == ([None, "x", "y_z"], ["b"])
    # The last is not one of those that certainly are valid.
    assert pkg_resources.parsed == ["b", "f"]
    assert texts(found["x"]) == ["c>=1", "d[y]~=1.0", "f"]
    assert found["x"] is found["x"] and found.get("nothing") is None
    assert pkg_resources.parsed == ["b", "f", "c>=1", "d[y]~=1.0"]
    assert texts(dict(found)["y_z"]) == ["e (>=1)"]


def test_requirements_can_be_replaced_and_removed():
    found = _dependencies.Dependencies(PkgResources()).read(HEADERS)
    found["x"] = ["mine"]
    del found["y_z"]
    assert (found["x"], "y_z" in found, len(found)) == (["mine"], False, 2)
    with pytest.raises(KeyError):
        found["y_z"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\nA long description.\n"])
def test_dependencies_are_read_however_the_metadata_ends(end):
    headers = _dependencies.headers_of("Name: a\nRequires-Dist: b\nProvides-Extra: c" + end)
    assert _dependencies.fields(headers) == (["b"], ["c"])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_is_what_pkg_resources_has(copied):
    found = _dependencies.Dependencies(PkgResources()).read(HEADERS)
    copies = copied(found)
    assert type(copies) is dict
    of = lambda these: {extra: texts(it) for extra, it in these.items()}  # noqa: E731
    assert of(copies) == of(found) and texts(copies["x"]) == ["c>=1", "d[y]~=1.0", "f"]


class Parent(object):
    __slots__ = ("name", "unset")


class Child(Parent):
    __slots__ = "__secret", "__dict__"

    def __init__(self):
        self.name, self.__secret, self.key = "a", "b", "c"

    @property
    def secret(self):
        return self.__secret


def test_a_copy_of_a_requirement_has_the_slots_of_all_its_classes():
    original = Child()
    copies = _dependencies.copied(original)
    assert (copies.name, copies.secret, copies.key) == ("a", "b", "c")
    copies.key = copies.name = "d"
    assert (original.name, original.key) == ("a", "c") and not hasattr(copies, "unset")
