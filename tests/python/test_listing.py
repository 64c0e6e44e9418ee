"""Built eggs are listed before a recipe can change them."""

import threading

import pytest

from eggcache import _bridge
from fakes import Bridge
from test_patches import World
from test_session import begin  # noqa: F401

#: Answers each request after the file `go` has appeared.
SLOW = """
import json, os, sys, time
print('{"protocol":%d}', flush=True)
for line in sys.stdin:
    while not os.path.exists("%s"):
        time.sleep(0.01)
    print(json.dumps({"outcome": "queued"}), flush=True)
"""


def test_to_wait_returns_after_every_answer(program, tmp_path):
    go = tmp_path / "go"
    bridge = _bridge.Bridge(program(SLOW % (_bridge.PROTOCOL, go)))
    answers = []
    for _ in range(3):
        bridge.post("store", lambda answer, refusal: answers.append(answer))
    assert answers == [], "the program is blocked"
    threading.Timer(0.2, go.touch).start()
    bridge.wait()
    assert len(answers) == 3
    bridge.kill()


def test_a_broken_bridge_is_not_waited_for(program, tmp_path):
    bridge = _bridge.Bridge(program(SLOW % (_bridge.PROTOCOL, tmp_path / "never")))
    bridge.post("store", None)
    bridge.is_broken = True
    bridge.wait()
    bridge.kill()


@pytest.fixture
def order():
    """What was called, in this order."""
    return []


def listing(order, name, method):
    """A world whose installer has this method, and which notes when eggs are listed."""
    world = World(is_active=True, methods={name: method})
    world.installer._constrain = lambda requirement: requirement
    world.session.await_listing = lambda: order.append("listed")
    return world


@pytest.mark.parametrize("name, args", [("install", (["alpha"],)), ("build", ("alpha", {}))])
def test_eggs_are_listed_before_buildout_returns_to_a_recipe(order, name, args):
    world = listing(order, name, lambda *args, **kw: order.append(name) or [])
    getattr(world.installer, name)(*args)
    assert order == [name, "listed"]


@pytest.mark.parametrize("name, args", [("install", (["alpha"],)), ("build", ("alpha", {}))])
def test_eggs_are_listed_after_a_failure_that_a_recipe_may_catch(order, name, args):
    def failing(*args, **kw):
        raise ValueError("no such project")

    world = listing(order, name, failing)
    with pytest.raises(ValueError):
        getattr(world.installer, name)(*args)
    assert order == ["listed"]


def test_eggs_that_were_installed_before_are_listed_when_storing_them_returns(begin):  # noqa: F811
    bridge = Bridge()
    bridge.wait = lambda: bridge.calls.append(("wait", {}))
    begin(bridge).store_installed()
    assert bridge.ops() == ["open", "wait"]


def test_a_program_that_fails_while_it_is_waited_for_ends_the_use_of_the_cache(begin, caplog):  # noqa: F811
    bridge = Bridge()
    run = begin(bridge)

    def wait():
        raise _bridge.BridgeError("it has ended")

    bridge.wait = wait
    run.await_listing()
    assert not run.is_active
    assert "it has ended; continuing without the cache." in caplog.text
