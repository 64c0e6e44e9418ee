"""Which wheel is fetched ahead, and what it requires."""

import re
import types
import zipfile

import pytest

from eggcache import _wheels

SHA256 = "#sha256=" + "a" * 64


class Dist:
    def __init__(self, location, name, version):
        self.location, self.project_name, self.version = location, name, version
        self.hashcmp = (version, location)


def distros_for_url(url):
    name = url.partition("#")[0].rsplit("/", 1)[1][: -len(".whl")]
    parts = name.split("-")
    if parts[-1] == "any":
        yield Dist(url, parts[0].replace("_", "-"), parts[1])


INDEX = types.SimpleNamespace(
    HREF=re.compile(r"""href\s*=\s*['"]?([^'"> ]+)""", re.I),
    htmldecode=lambda text: text.replace("&amp;", "&"),
    distros_for_url=distros_for_url,
)


def best(*links, project="alpha", version="1.0"):
    page = "\n".join('<a href="%s">x</a>' % link for link in links)
    found = _wheels.best_wheel(INDEX, page, "https://example.org/alpha/", project, version)
    return found and found.location


def test_the_wheel_of_the_pinned_version_is_chosen():
    wanted = "alpha-1.0-py3-none-any.whl" + SHA256
    others = ["alpha-2.0-py3-none-any.whl" + SHA256, "alpha-1.0.tar.gz" + SHA256, "beta-1.0-py3-none-any.whl" + SHA256]
    assert best(*others, wanted) == "https://example.org/alpha/" + wanted
    assert best(*others) is None


def test_of_several_wheels_the_greatest_location_is_chosen():
    names = ["a/alpha-1.0-py3-none-any.whl", "b/alpha-1.0-2-py3-none-any.whl", "a/alpha-1.0-cp39-cp39-win32.whl"]
    assert best(*[name + SHA256 for name in names]).startswith("https://example.org/alpha/b/")


@pytest.mark.parametrize("fragment", ["", "#md5=abc", "#sha256=abc", "#sha256=%s&egg=alpha" % ("a" * 64)])
def test_a_wheel_without_a_sha256_is_not_fetched_ahead(fragment):
    assert best("alpha-1.0-py3-none-any.whl" + fragment) is None


class Marker:
    def __init__(self, text):
        self.text = text

    def evaluate(self, environment):
        return self.text in ("true", environment["extra"])


class Requirement:
    def __init__(self, text):
        self.text, _, marker = text.partition("; ")
        if self.text.startswith("?"):
            raise ValueError("not a requirement")
        self.marker = Marker(marker) if marker else None

    parse = classmethod(lambda cls, text: cls(text))


def required(tmp_path, metadata, extras=(), name="alpha-1.0.dist-info/METADATA"):
    path = str(tmp_path / "alpha-1.0-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, metadata)
    found = _wheels.requirements_of(types.SimpleNamespace(Requirement=Requirement), path, extras)
    return [requirement.text for requirement in found]


METADATA = (
    "Name: alpha\nRequires-Dist: beta>1\nrequires-dist: gamma; x\nRequires-Dist: delta; true\n"
    "Requires-Dist: ?\n\nRequires-Dist: text\n"
)


def test_a_wheel_says_what_it_requires(tmp_path):
    assert required(tmp_path, METADATA) == ["beta>1", "delta"]
    assert required(tmp_path, METADATA.replace("\n", "\r\n")) == ["beta>1", "delta"]
    assert required(tmp_path, METADATA, ("x", "y")) == ["beta>1", "gamma", "delta"]


def test_a_wheel_that_cannot_be_read_requires_nothing(tmp_path, monkeypatch):
    assert required(tmp_path, METADATA, name="a/b.dist-info/METADATA") == []
    path = tmp_path / "other.whl"
    path.write_text("no zip")
    assert _wheels.requirements_of(None, str(path), ()) == []
    monkeypatch.setattr(_wheels, "_LONGEST_METADATA", 10)
    assert required(tmp_path, METADATA) == []
