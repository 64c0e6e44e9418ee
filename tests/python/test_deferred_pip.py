"""pip is imported when somebody uses it, and what others have replaced meanwhile stays."""

import sys
import types

import pytest

from eggcache import _deferred_pip


class Index:
    def process_url(self, url):
        return "stock " + url


@pytest.fixture
def index(monkeypatch):
    """The class of an index whose import of pip was put off."""
    index = type("PackageIndex", (), {"process_url": Index.process_url})
    module = types.SimpleNamespace(PackageIndex=index)
    monkeypatch.setitem(sys.modules, "zc.buildout._package_index", module)
    monkeypatch.setattr(_deferred_pip, "_pending", [])

    def patch():
        assert index.process_url is Index.process_url, "it wraps the original"
        index.process_url = lambda self, url: "of pip " + url

    _deferred_pip._defer(patch)
    return index


def test_the_first_page_imports_pip(index):
    placed = index.process_url
    assert [index().process_url(url) for url in "ab"] == ["of pip a", "of pip b"]
    assert index.process_url is not placed and not _deferred_pip._pending


def test_a_method_that_an_extension_has_replaced_meanwhile_is_called(index):
    stock, seen = index.process_url, []

    def process_url(self, url):
        seen.append(url)
        return stock(self, url)

    index.process_url = process_url
    assert [index().process_url(url) for url in "ab"] == ["of pip a", "of pip b"]
    assert seen == ["a", "b"] and index.process_url is process_url


def test_pip_has_its_parts_when_somebody_uses_them(monkeypatch):
    pip, parts = types.ModuleType("pip"), []
    monkeypatch.setitem(sys.modules, "pip", pip)
    monkeypatch.setattr(_deferred_pip, "_pending", [lambda: parts.append("imported")])
    monkeypatch.setattr(_deferred_pip.importlib, "import_module", lambda name: types.ModuleType(name))
    _deferred_pip.import_submodules()
    assert not hasattr(pip, "other") and not parts
    assert pip._vendor.__name__ == "pip._vendor" and parts == ["imported"]
    assert not hasattr(pip, "_internal"), "now it is pip that says what it has"
