"""Which buildouts eggcache fits, and how a call of a replaced function ends if the replacement fails."""

import functools

import pytest

from eggcache import _hashes, _run, _seam
from eggcache._hashes import Refused


class Installer:
    of_class = None

    def __init__(self):
        self.of_init = 1

    def fetch(self, dist, tmp):
        """The original."""


def wrapper(*args, **kw):
    return Installer.fetch(*args, **kw)


def half(self, *args):
    return Installer.fetch(self, *args)


def other(*args, **kw):
    """Wraps a function with other parameters."""


class Owner:
    fetch = Installer.fetch
    wrapper = wrapper
    half = half
    wraps_known = functools.wraps(Installer.fetch)(lambda *args: None)
    wraps_unknown = functools.wraps(lambda self, tmp, dist: None)(other)
    renamed = lambda self, archive, tmp: None  # noqa: E731
    swapped = lambda self, tmp, dist: None  # noqa: E731
    more = lambda self, dist, tmp, retry=0: None  # noqa: E731
    half_renamed = lambda self, archive, *args: None  # noqa: E731
    builtin = len


@pytest.fixture(autouse=True)
def known(monkeypatch):
    names = [name for name in vars(Owner) if not name.startswith("__")] + ["missing"]
    monkeypatch.setattr(_seam, "PARAMETERS", dict.fromkeys(names, ["self url", "self dist tmp"]))
    return _seam.PARAMETERS


@pytest.mark.parametrize("name", ["fetch", "wrapper", "half", "wraps_known"])
def test_a_function_with_known_parameters_fits(name):
    _seam.require_function(Owner, name)


@pytest.mark.parametrize(
    "name", ["renamed", "swapped", "more", "half_renamed", "wraps_unknown", "builtin", "missing"]
)
def test_a_function_with_other_parameters_does_not_fit(name):
    with pytest.raises(_seam.Unfit, match=name):
        _seam.require_function(Owner, name)


def test_any_parameters_fit_a_replacement_that_reads_none(known):
    known.update(dict.fromkeys(known))
    for name in ("fetch", "more", "builtin"):
        _seam.require_function(Owner, name)
    with pytest.raises(_seam.Unfit):
        _seam.require_function(Owner, "missing")


def test_attributes_of_a_class_and_of_its_instances_are_found():
    _seam.require_attributes(Installer, ["of_class", "of_init", "fetch"])
    with pytest.raises(_seam.Unfit, match="Installer has no of_nobody"):
        _seam.require_attributes(Installer, ["of_class", "of_nobody"])
    with pytest.raises(_seam.Unfit):
        _seam.require_attributes(type("Bare", (), {}), ["of_init"])


class Calls:
    """A function that is replaced, and what happens when it is called."""

    def __init__(self, method, error=None):
        self.stock_calls, self.failures = [], []
        self.is_left, self.error = False, error
        self.replaced = _seam.replacement(self.stock, method, lambda: self.is_left, self.failures.append)

    def stock(self, *args, **kw):
        self.stock_calls.append((args, kw))
        if self.error is not None:
            raise self.error
        return "result"


def failing_before(stock, *args, **kw):
    raise AttributeError("no _env")


def failing_after(stock, *args, **kw):
    stock(*args, **kw)
    raise AttributeError("no _env")


@pytest.mark.parametrize("method", [failing_before, failing_after])
def test_a_replacement_that_fails_leaves_the_call_to_the_original(method):
    calls = Calls(method)
    assert calls.replaced(1, two=2) == "result"
    assert calls.stock_calls == [((1,), {"two": 2})]
    assert [str(error) for error in calls.failures] == ["no _env"]


def test_a_call_that_the_replacement_does_not_understand_is_left_to_the_original():
    calls = Calls(lambda stock, dist: stock(dist))
    assert calls.replaced(dist=1, retry=2) == "result"
    assert calls.stock_calls == [((), {"dist": 1, "retry": 2})]
    assert len(calls.failures) == 1


def test_a_replacement_that_is_left_out_is_not_called():
    calls = Calls(failing_before)
    calls.is_left = True
    assert calls.replaced(1) == "result" and calls.failures == []


def once(stock, *args, **kw):
    return stock(*args, **kw)


def failing_to_handle(stock, *args, **kw):
    try:
        return stock(*args, **kw)
    except LookupError:
        raise AttributeError("no _env")


@pytest.mark.parametrize("method", [once, failing_before, failing_after, failing_to_handle])
def test_an_exception_of_the_original_passes_and_it_is_called_once(method):
    error = LookupError("no such project")
    calls = Calls(method, error)
    with pytest.raises(LookupError) as raised:
        calls.replaced(1)
    assert raised.value is error and len(calls.stock_calls) == 1


def test_an_exception_passes_through_other_replacements():
    error = LookupError("no such project")
    inner = Calls(once, error)
    outer = Calls(lambda stock: inner.replaced())
    with pytest.raises(LookupError):
        outer.replaced()
    assert outer.stock_calls == inner.failures == outer.failures == []


def test_a_refusal_and_an_interrupt_pass():
    for error in (Refused("no SHA-256"), KeyboardInterrupt()):

        def refusing(stock):
            raise error

        calls = Calls(refusing)
        with pytest.raises(type(error)):
            calls.replaced()
        assert calls.stock_calls == []


class UserError(Exception):
    pass


@pytest.fixture
def starting(monkeypatch):
    """A function that starts a run in which this exception is raised."""
    monkeypatch.setattr(_hashes, "UserError", UserError)

    def start(error, **options):
        def failing(buildout):
            raise error

        monkeypatch.setattr(_run, "_start", failing)
        _run.start({"buildout": options})

    return start


def test_a_start_that_fails_is_one_warning(starting, caplog):
    starting(AttributeError("no _raw"))
    [record] = caplog.records
    assert record.getMessage() == "no _raw; continuing without the cache."


def test_a_start_that_fails_ends_a_run_whose_archives_are_to_be_compared(starting):
    with pytest.raises(AttributeError):
        starting(AttributeError("no _raw"), **{"egg-cache-hashes": "hashes.cfg"})
    with pytest.raises(UserError):
        starting(UserError("no such section"))
