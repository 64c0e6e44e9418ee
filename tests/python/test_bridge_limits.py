"""Programs that hang, flood or talk nonsense: each costs a bridge a limited time and limited memory."""

import contextlib
import os
import resource
import signal
import textwrap
import time

import pytest

from eggcache import _bridge, _compat, _leases, _lines, _session

GREETING = 'import json, os, signal, sys, time\nprint(\'{"protocol":%d}\', flush=True)\n' % _bridge.PROTOCOL

#: Reads one request.
READ = "sys.stdin.readline()\n"


@pytest.fixture(autouse=True)
def alarm():
    """A test that hangs fails."""

    def hangs(number, frame):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def tiny(monkeypatch):
    """Tiny limits, for programs that never do what is awaited."""
    monkeypatch.setattr(_bridge, "SILENCE", 0.5, raising=False)
    monkeypatch.setattr(_bridge, "PATIENCE", 0.3)


def failure(path, op="find", **parameters):
    """The message of the error when a program is asked this. Nothing of it is left."""
    files = set(os.listdir("/proc/self/fd"))
    bridge = None
    try:
        with pytest.raises(_bridge.BridgeError) as error:
            bridge = _bridge.Bridge(path)
            bridge.call(op, **parameters)
    finally:
        if bridge is not None:
            bridge.kill()
    message = str(error.value)
    del error, bridge
    assert set(os.listdir("/proc/self/fd")) == files, "no pipe is left open"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, not even a zombie
    return message


def test_a_program_that_does_not_greet_is_given_up(program, monkeypatch):
    monkeypatch.setattr(_bridge, "GREETING", 0.5, raising=False)
    assert "did not answer within 0.5 s" in failure(program("import time\ntime.sleep(600)\n"))


def test_a_program_that_does_not_answer_is_given_up(program, tiny):
    message = failure(program(GREETING + "sys.stderr.write('tired')\nsys.stderr.flush()\ntime.sleep(600)\n"))
    assert message == "the eggcache program did not answer within 0.5 s: tired"


def test_a_program_that_is_stopped_is_given_up(program, tiny):
    stopped = GREETING + READ + "os.kill(os.getpid(), signal.SIGSTOP)\n"
    assert "did not answer within 0.5 s" in failure(program(stopped))


def test_a_program_that_does_not_read_is_given_up(program, tiny):
    message = failure(program(GREETING + "time.sleep(600)\n"), name="x" * (1 << 20))
    assert "did not read a request within 0.5 s" in message


@pytest.mark.parametrize("text", ['{"eggs": [', '{"busy": tr'])
def test_half_a_line_is_given_up(program, tiny, text):
    half = GREETING + READ + "sys.stdout.write(%r)\nsys.stdout.flush()\ntime.sleep(600)\n" % text
    assert "did not answer within 0.5 s" in failure(program(half))


def test_a_line_that_comes_byte_by_byte_is_given_up(program, tiny):
    slow = "while True:\n    sys.stdout.write(' ')\n    sys.stdout.flush()\n    time.sleep(0.02)\n"
    assert "did not answer within 0.5 s" in failure(program(GREETING + READ + slow))


def test_a_line_without_an_end_needs_limited_memory(program, monkeypatch):
    monkeypatch.setattr(_lines, "LONGEST", 1 << 20)
    path = program(GREETING + READ + "while True:\n    sys.stdout.write('x' * (1 << 16))\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "answers without an end" in failure(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_a_flood_before_a_request_is_read_needs_limited_memory(program, monkeypatch):
    monkeypatch.setattr(_lines, "LONGEST", 1 << 20)
    flood = "while True:\n    sys.stdout.write('{\"busy\":true}\\n' * 1000)\n"
    message = failure(program(GREETING + flood), name="x" * (1 << 20))
    assert "answers without" in message


@pytest.mark.parametrize("pause", ["", "    time.sleep(0.1)\n"])
def test_signs_of_life_without_an_answer_are_given_up(program, monkeypatch, pause):
    monkeypatch.setattr(_bridge, "LIMIT", 2, raising=False)
    monkeypatch.setattr(_bridge, "LONG_LIMIT", 3, raising=False)
    alive = "while True:\n    print('{\"busy\":true}', flush=True)\n" + pause
    assert "did not answer within 2 s" in failure(program(GREETING + READ + alive))
    assert "did not answer within 3 s" in failure(program(GREETING + READ + alive), "materialize")


def test_a_program_that_gives_signs_of_life_may_take_longer(program, monkeypatch):
    monkeypatch.setattr(_bridge, "SILENCE", 2, raising=False)
    alive = "for _ in range(25):\n    print('{\"busy\":true}', flush=True)\n    time.sleep(0.1)\n"
    bridge = _bridge.Bridge(program(GREETING + READ + alive + "print('{\"eggs\":[]}', flush=True)\n"))
    assert bridge.call("find") == {"eggs": []}
    bridge.kill()


def test_a_program_that_writes_before_it_reads_does_not_block(program):
    # Both pipes are full if neither side reads while it writes.
    text = "print('{\"busy\":true}\\n' * 100000 + '{}', flush=True)\n" + READ + "print('{}', flush=True)\n"
    bridge = _bridge.Bridge(program(GREETING + READ + text))
    bridge.post("store", lambda answer, refusal: None)
    assert bridge.call("find", name="x" * (1 << 20)) == {}
    bridge.kill()


@pytest.mark.parametrize("form", ["[]", "7", "null", '"protocol"', "[" * 100000, "{", "\\xff"])
def test_an_answer_of_another_form_is_an_error_of_the_program(program, form):
    write = "sys.stdout.buffer.write(b'%s\\n')\nsys.stdout.flush()\ntime.sleep(600)\n" % form
    assert "something other than JSON" in failure(program("import sys, time\n" + write))
    assert "something other than JSON" in failure(program(GREETING + READ + write))


@pytest.mark.parametrize("protocol", ["12", "null", '"%d"' % _bridge.PROTOCOL, "{}", '"%s"' % ("x" * 5000)])
def test_a_greeting_with_another_protocol_is_refused(program, protocol):
    text = "import time\nprint('{\"protocol\":%s}', flush=True)\ntime.sleep(600)\n"
    message = failure(program(text % protocol))
    assert "instead of %d" % _bridge.PROTOCOL in message
    assert len(message) < 500


def test_an_answer_without_a_field_is_an_error_of_the_program(program):
    bridge = _bridge.Bridge(program(GREETING + READ + "print('{\"eggs\":[{}]}', flush=True)\n" + READ))
    answer = bridge.call("find")
    for read in (lambda: answer["torn"], lambda: answer["eggs"][0]["digest"]):
        with pytest.raises(_bridge.BridgeError, match="has answered without '(torn|digest)'"):
            read()
    bridge.kill()


def test_an_answer_that_nobody_has_asked_for_is_an_error_of_the_program(program):
    twice = "print('{}\\n{\"eggs\":[7]}', flush=True)\n"
    bridge = _bridge.Bridge(program(GREETING + READ + twice + READ))
    assert bridge.call("find") == {}
    with pytest.raises(_bridge.BridgeError, match="answers without a request"):
        bridge.call("find")
    bridge.kill()


def test_a_program_with_a_bad_greeting_is_ended_with_its_children(program, tmp_path):
    started = tmp_path / "started"
    text = """
        import os, sys, time
        child = os.fork()
        if child:
            open(%r, "w").write("%%d %%d" %% (os.getpid(), child))
            print("{}" if %r else "usage: program", flush=True)
        time.sleep(600)
    """
    for is_json in (True, False):
        assert failure(program(text % (str(started), is_json)))
        assert_dead(started)


def test_the_children_of_a_program_that_has_died_are_ended(program, tmp_path):
    started = tmp_path / "started"
    text = """
        child = os.fork()
        if child:
            open(%r, "w").write("%%d %%d" %% (os.getpid(), child))
            os._exit(3)
        os.close(1)
        time.sleep(600)
    """
    path = program(GREETING + textwrap.dedent(text % str(started)))
    assert "exit status 3" in failure(path)
    assert_dead(started)


def assert_dead(started):
    for pid in started.read_text().split():
        for _ in range(500):
            try:
                with open("/proc/%s/stat" % pid) as file:
                    # Process 1 may not have reaped it yet.
                    if file.read().rsplit(")", 1)[1].split()[0] in "ZX":
                        break
            except OSError:
                break
            time.sleep(0.01)
        else:
            raise AssertionError("process %s is left" % pid)


def test_a_program_with_a_bad_greeting_costs_one_warning(program, monkeypatch, caplog):
    monkeypatch.setattr(_bridge, "find_program", lambda: program("print('[]', flush=True)\n"))
    options = dict.fromkeys(("directory", "eggs-directory", "develop-eggs-directory"), "")
    session = _session.Session(None, options, None)
    session.open("cache", "")
    assert not session.is_active
    [record] = [it for it in caplog.records if it.levelname == "WARNING"]
    assert record.getMessage().endswith("; continuing without the cache.")


def test_a_flood_of_standard_error_is_cut(program, monkeypatch):
    monkeypatch.setattr(_bridge, "MAX_STDERR", 1 << 20, raising=False)
    flood = (
        "for line in sys.stdin:\n    sys.stderr.write('x' * (1 << 19) + '\\n')\n"
        "    print('{}', flush=True)\n"
    )
    bridge = _bridge.Bridge(program(GREETING + flood))
    for _ in range(20):
        bridge.call("find")
        assert os.fstat(bridge._stderr.fileno()).st_size < 2 << 20
    bridge.kill()


def test_a_program_that_does_not_end_is_not_waited_for(program, tiny):
    for text in (
        "os.close(1)\ntime.sleep(600)\n",
        "while True:\n    print('{}', flush=True)\n    time.sleep(0.02)\n",
    ):
        bridge = _bridge.Bridge(program(GREETING + READ + "print('{}', flush=True)\n" + text))
        assert bridge.close() == {}
        # One that has not ended may collect garbage, so it is not killed.
        with contextlib.suppress(OSError):
            os.killpg(bridge._process.pid, signal.SIGKILL)
            os.waitpid(bridge._process.pid, 0)


def test_a_program_that_stays_busy_is_left(program, tiny):
    busy = "while True:\n    print('{}', flush=True)\n    time.sleep(0.02)\n"
    bridge = _bridge.Bridge(program(GREETING + busy))
    bridge.leave()
    bridge.kill()


class Clock:
    """Stands in for the module ``time`` of `_compat`."""

    now = 0.0

    def monotonic(self):
        return self.now


def test_the_time_of_a_suspended_machine_does_not_count(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_compat, "time", clock)
    deadline = _lines.Deadline(3, 5)
    for _ in range(2):
        clock.now += 3600
        assert 0 < deadline.check() <= 1
    clock.now += 0.5
    assert deadline.check() == 0.5
    deadline.heard()
    clock.now += 0.5
    assert deadline.check() == 1
    clock.now += 3600
    deadline.check()
    deadline.heard()
    clock.now += 3600
    with pytest.raises(_lines.TimeIsUp) as error:
        deadline.check()
    assert error.value.limit == 5


def test_silence_is_given_up_before_the_limit(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_compat, "time", clock)
    deadline = _lines.Deadline(2, 10)
    clock.now += 1
    deadline.check()
    clock.now += 1
    with pytest.raises(_lines.TimeIsUp) as error:
        deadline.check()
    assert error.value.limit == 2


def test_a_lease_is_not_waited_for_without_a_limit(monkeypatch):
    clock, slept = Clock(), []

    def sleep(seconds):
        slept.append(seconds)
        clock.now += seconds

    clock.sleep = sleep
    monkeypatch.setattr(_compat, "time", clock)
    monkeypatch.setattr(_leases, "time", clock)

    class Bridge:
        def call(self, op, **parameters):
            return {"lease": "held", "wait": 1e9}

    class Egg:
        project_name, version, key_variant, bound_variant = "alpha", "1.0", "", None

    leases = _leases.Leases(Bridge(), None, Egg, True)
    assert leases._is_built_elsewhere(Egg, "") is False
    assert sum(slept) <= 2 * _leases.LONGEST_WAIT and max(slept) <= 60
