"""A program that hangs costs a buildout a limited time, one warning, and a normal build."""

import os
import signal
import sys

import pytest

from eggcache import _bridge

ALONE = "continuing without the cache"

GREETING = "print('{\"protocol\":%d}', flush=True)\n" % _bridge.PROTOCOL


@pytest.fixture
def hanging(newest_world, tmp_path):
    """Run a buildout with low limits and this Python code at the start; return its output."""
    world = newest_world
    world.wheel("alpha", "1.0")
    hook = tmp_path / "site"
    hook.mkdir()

    def run(code):
        limits = "import eggcache._bridge as bridge\nbridge.SILENCE = 5\n"
        (hook / "sitecustomize.py").write_text(limits + code)
        project = world.project("project", versions="alpha = 1.0")
        output = project.run(env={"PYTHONPATH": str(hook)})
        assert output.count(ALONE) == 1, output
        assert project.script("alpha") == "alpha 1.0"
        assert not list(project.eggs_directory.glob(".eggcache-*"))
        return output

    return run


@pytest.mark.parametrize("greeting", ["", GREETING])
def test_a_program_that_sleeps_does_not_hold_a_buildout(hanging, tmp_path, greeting):
    program, pid = tmp_path / "program", tmp_path / "pid"
    program.write_text(
        "#!%s -S\nimport os, time\nopen(%r, 'w').write(str(os.getpid()))\n%stime.sleep(600)\n"
        % (sys.executable, str(pid), greeting)
    )
    program.chmod(0o755)
    limit = "" if greeting else "bridge.GREETING = 5\n"
    output = hanging(limit + "bridge.find_program = lambda: %r\n" % str(program))
    assert "the eggcache program did not answer within 5 s; " in output
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("op", ["open", "find", "root", "close"])
def test_a_program_that_is_stopped_does_not_hold_a_buildout(hanging, op):
    output = hanging(
        "import os\n"
        "call = bridge.Bridge.call\n"
        "def stopping(self, op, **kw):\n"
        "    if op == %r:\n"
        "        os.kill(self._process.pid, %d)\n"
        "    return call(self, op, **kw)\n"
        "bridge.Bridge.call = stopping\n" % (op, signal.SIGSTOP)
    )
    assert "the eggcache program did not answer within 5 s; " in output
