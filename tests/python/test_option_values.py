"""Values of options that mean nothing: one warning names the option and its values."""

import types

import pytest

from eggcache import _options, _run


class Buildout(dict):
    """A buildout with these options of its section ``[buildout]``."""

    def __init__(self, **options):
        options = {name.replace("_", "-"): value for name, value in options.items()}
        dict.__init__(self, buildout=dict({"directory": "/srv/app"}, **options))


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("egg-cache-fetch-archives", "yes", "is neither true nor false; it counts as false."),
        ("egg-cache-fetch-archives", "True", "is neither true nor false; it counts as false."),
        ("egg-cache-fetch-archives", "", "is neither true nor false; it counts as false."),
        ("egg-cache-hashes-missing", "true", "is neither warn nor fail; it counts as fail."),
        ("egg-cache-unknown-archives", "true", "is neither use nor check; it counts as check."),
        ("egg-cache-convert", "no", "is neither false nor true; it counts as true."),
        ("egg-cache-compile", "true", "is none of stock, all and all-unchecked-hash; it counts as stock."),
    ],
)
def test_a_value_that_means_nothing_is_changede_warning(caplog, name, value, says):
    options = {name: value}
    assert name == "egg-cache-compile" or not _options.is_changed(options, name)
    assert not _options.compile_variant(options)
    _options.warn_of_values(options)
    [record] = caplog.records
    assert record.getMessage() == "%s = %s %s" % (name, value, says)


@pytest.mark.parametrize(
    "name, value, is_changed",
    [
        ("egg-cache-fetch-archives", "true", True),
        ("egg-cache-fetch-archives", "false", False),
        ("egg-cache-hashes-missing", "warn", True),
        ("egg-cache-hashes-missing", "fail", False),
        ("egg-cache-unknown-archives", "use", True),
        ("egg-cache-unknown-archives", "check", False),
        ("egg-cache-convert", "false", True),
        ("egg-cache-convert", "true", False),
    ],
)
def test_a_value_that_means_something_is_not_mentioned(caplog, name, value, is_changed):
    options = {name: value}
    assert _options.is_changed(options, name) == is_changed
    _options.warn_of_values(options)
    assert not _options.is_changed({}, name)
    _options.warn_of_values({})
    assert caplog.records == []


@pytest.fixture
def first_run(monkeypatch):
    """A run that is the first of its process, and that changes nothing of the process of the tests."""
    monkeypatch.setattr(_run, "_is_started", False)
    for name in ("import_submodules", "import_pip"):
        monkeypatch.setattr(_run._deferred_pip, name, lambda: None)
    for name in ("_collect_less", "_speed_up"):
        monkeypatch.setattr(_run, name, lambda: None)


@pytest.mark.usefixtures("first_run")
@pytest.mark.parametrize("value", ["$HOME/eggs", "${HOME}/eggs", "/srv/$USER/eggs", "~/$x"])
def test_an_environment_variable_in_the_path_is_refused(monkeypatch, tmp_path, caplog, value):
    monkeypatch.chdir(tmp_path)
    _run.start(Buildout(egg_cache=value))
    [record] = caplog.records
    assert record.getMessage().startswith("egg-cache = %s: " % value)
    assert "does not expand environment variables" in record.getMessage()
    assert record.getMessage().endswith("; continuing without the cache.")
    assert list(tmp_path.iterdir()) == []


def test_a_dollar_sign_in_the_folder_of_the_buildout_is_a_part_of_its_name(monkeypatch):
    directory = "/srv/a$b"
    buildout = Buildout(directory=directory, egg_cache=directory + "/cache")
    buildout._annotated = {}
    assert _options.cache_directory(buildout) == directory + "/cache"


@pytest.mark.usefixtures("first_run")
def test_the_values_are_checked_only_with_a_cache(monkeypatch, caplog):
    _run.start(Buildout(egg_cache_fetch_archives="yes"))
    assert caplog.records == [] and not _run._is_started
    begun = types.SimpleNamespace(store_installed=lambda: None, close=lambda: None)
    monkeypatch.setattr(_run, "_patched_session", lambda *args: begun)
    monkeypatch.setattr(_run.atexit, "register", lambda close: None)
    monkeypatch.setattr(_run.sys, "dont_write_bytecode", False)
    for _ in range(2):
        _run.start(Buildout(egg_cache="/srv/cache", egg_cache_fetch_archives="yes"))
    assert len(caplog.records) == 1
