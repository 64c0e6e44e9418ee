"""A disk that is full before the run is one line, and the cache still serves."""

from fakes import Bridge, Installer, Requirement, egg
from test_session import build, messages, session


def test_a_disk_that_is_full_before_the_run_is_one_warning(monkeypatch, caplog, tmp_path):
    bridge = Bridge(egg("gamma", "1.0"))
    run = session(bridge, monkeypatch, tmp_path, read_only=True, full="it is full")
    build(run, tmp_path)
    run.storer.settle()
    assert messages(caplog) == ["it is full; storing no more eggs in this run."]
    assert "store" not in bridge.ops() and run.tally.misses == 1
    assert run.choose(Installer(), Requirement("gamma==1.0"), None)
