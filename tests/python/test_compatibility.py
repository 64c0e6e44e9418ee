"""The package on the oldest Pythons: every file compiles, and what only they need works there."""

import json
import os
import re
import subprocess
import textwrap

import pytest

import pythons

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(ROOT, "python")


@pytest.fixture(params=pythons.OLD)
def python(request):
    return pythons.find(request.param) or pytest.skip("no Python %s on this machine" % request.param)


def run(python, code, **env):
    """Run code with the package; return what it prints as JSON."""
    command = [python, "-B", "-c", "# coding: utf-8\nimport json\n" + textwrap.dedent(code)]
    environ = dict(os.environ, PYTHONPATH=PACKAGE, PYTHONIOENCODING="utf-8", **env)
    return json.loads(subprocess.check_output(command, env=environ).decode("utf-8"))


def test_every_file_compiles(python):
    subprocess.check_call([python, os.path.join(ROOT, "tests", "compiles.py"), PACKAGE])


def test_the_abi_names_all_that_keeps_native_code_from_working(python):
    abi = run(python, "from eggcache import _compat; print(json.dumps(_compat.soabi()))")
    assert re.match("cp27d?m?u?$|cpython-3", abi), abi


def test_builds_of_python_2_with_other_characters_have_another_abi(python):
    abis = run(
        python,
        """
        import sys
        from eggcache import _compat
        found = [_compat.soabi()]
        class Sys(object):
            version_info, maxunicode = sys.version_info, 0x10ffff if sys.maxunicode == 0xffff else 0xffff
        _compat.sys = Sys
        print(json.dumps(found + [_compat.soabi()]))
        """,
    )
    if abis[0].startswith("cp27"):
        assert sorted(abis, key=len) == ["cp27m", "cp27mu"]


def test_names_with_all_characters_are_the_same_in_messages(python):
    shown = run(
        python,
        r"""
        from eggcache import _log
        print(json.dumps([_log.printable("übung 日本"), _log.printable("a\n\x1b[")]))
        """,
    )
    assert shown == ["übung 日本", "a\\n\\x1b["]


PROGRAM = """\
import json, sys
def say(answer):
    sys.stdout.write(json.dumps(answer) + "\\n")
    sys.stdout.flush()
say({"protocol": %d})
for line in iter(sys.stdin.readline, ""):
    sys.stderr.write("the last line\\n")
    sys.stderr.flush()
    say({"asked": json.loads(line), "open": __import__("os").listdir("/proc/self/fd")})
"""


def test_the_bridge_speaks_of_paths_as_this_python_has_them(python, tmp_path):
    program = tmp_path / "program"
    version = run(python, "from eggcache import _bridge; print(_bridge.PROTOCOL)")
    program.write_text("#!%s -S\n%s" % (python, PROGRAM % version))
    program.chmod(0o755)
    found = run(
        python,
        """
        from eggcache import _bridge
        leaked = open(%r)
        bridge = _bridge.Bridge(%r)
        path = "/söme/日本"
        answer = bridge.call("find", path=path)
        same = answer["asked"]["path"] == path and type(answer["asked"]["path"]) is type(path)
        line = _bridge.last_line(bridge._stderr)
        bridge.close()
        print(json.dumps([same, sorted(answer["open"])[:4], len(answer["open"]), line]))
        """
        % (str(program), str(program)),
    )
    # The fourth descriptor is that of the listing.
    assert found == [True, ["0", "1", "2", "3"], 4, "the last line"]


def test_later_processes_do_not_inherit_the_pipes(python, program_that_waits):
    assert run(
        python,
        """
        import subprocess, sys
        from eggcache import _bridge
        bridge = _bridge.Bridge(%r)
        fds = "import os; print(len(os.listdir('/proc/self/fd')))"
        count = subprocess.Popen([sys.executable, "-c", fds], stdout=subprocess.PIPE, close_fds=False)
        print(json.dumps(int(count.communicate()[0])))
        bridge.kill()
        """
        % program_that_waits,
    ) == run(
        python,
        """
        import subprocess, sys
        fds = "import os; print(len(os.listdir('/proc/self/fd')))"
        count = subprocess.Popen([sys.executable, "-c", fds], stdout=subprocess.PIPE, close_fds=False)
        print(json.dumps(int(count.communicate()[0])))
        """,
    )


@pytest.fixture
def program_that_waits(program):
    from eggcache import _bridge

    return program("import sys\nprint('{\"protocol\": %d}', flush=True)\nsys.stdin.read()\n" % _bridge.PROTOCOL)


def test_the_hook_wraps_buildout_and_imports_nothing_slow(python, tmp_path):
    package = tmp_path / "zc" / "buildout"
    package.mkdir(parents=True)
    for folder in (tmp_path / "zc", package):
        (folder / "__init__.py").write_text("")
    (package / "buildout.py").write_text("class Buildout:\n    def _load_extensions(self): return 1\n")
    found = run(
        python,
        """
        import sys
        before = set(sys.modules)
        import eggcache._hook
        added = sorted(set(sys.modules) - before)
        sys.path.insert(0, %r)
        import zc.buildout.buildout as module
        started = []
        import eggcache
        eggcache._run = type(sys)("_run")
        sys.modules["eggcache._run"] = eggcache._run
        eggcache._run.start = started.append
        result = module.Buildout()._load_extensions()
        print(json.dumps([added, result, len(started), module.__name__]))
        """
        % str(tmp_path),
    )
    # Python 2 notes here that there is no `eggcache.sys`.
    added = [name for name in found[0] if name != "eggcache.sys"]
    assert [added] + found[1:] == [["eggcache", "eggcache._hook"], 1, 1, "zc.buildout.buildout"]
