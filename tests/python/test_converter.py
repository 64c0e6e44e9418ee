"""Which wheels are passed to the program, and what is left to pip."""

import logging
import os
import sys
import types

import pytest

import fakes
from eggcache import _bridge, _converter, _pip

SOURCE = "def call_pip_install(): pass\ndef make_egg_after_pip_install(): pass\ndef get_subprocess_output(): pass\n"


def module(tmp_path):
    """Stands in for ``zc.buildout.easy_install`` of version 5 or 6."""
    path = tmp_path / "easy_install.py"
    path.write_text(SOURCE)
    found = types.ModuleType("easy_install")
    found.__file__ = str(path)
    exec(compile(SOURCE, str(path), "exec"), vars(found))
    found.UNPACKERS = {".egg": None}
    found.logger = logging.getLogger("buildout of a test")
    found.logger.setLevel(logging.INFO)
    found.pkg_resources = types.SimpleNamespace(get_supported_platform=lambda: "linux-x86_64")
    return found


@pytest.fixture
def easy_install(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PIP_", "PYTHON")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return module(tmp_path)


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "alpha-1.0-py3-none-any.whl"
    path.write_text("")
    (tmp_path / "into").mkdir()
    return str(path)


def converter(easy_install, bridge, **options):
    return _converter.converter_for(bridge, easy_install, options, lambda project: "1.0")


def bridge_that_converts(**answer):
    bridge = fakes.Bridge()
    bridge.answers["convert"] = answer or {"egg": "/x/into/alpha.egg"}
    return bridge


def test_a_wheel_becomes_an_egg_of_the_program(easy_install, wheel, tmp_path):
    bridge = bridge_that_converts()
    found = converter(easy_install, bridge)
    into = str(tmp_path / "into")
    assert found.convert(wheel, into) == os.path.join(into, "alpha.egg")
    assert found.made == "alpha.egg"
    [(op, request)] = bridge.calls
    assert op == "convert" and request["wheel"] == wheel and request["into"] == into
    assert request["python"]["executable"] == sys.executable and request["python"]["pip"] == "1.0"
    # The egg of the program is not compared with itself.
    assert found.compare([into]) is None and len(bridge.calls) == 1


@pytest.mark.parametrize("count, end", [(1, "a.py: odd"), (3, "a.py: odd (and 2 more)")])
def test_what_is_odd_about_a_wheel_is_one_sentence(easy_install, wheel, tmp_path, count, end):
    bridge = bridge_that_converts()
    odd = {"egg": "/x/into/alpha.egg", "warnings": ["a.py: odd", "b.py: odd", "c.py: odd"][:count]}
    bridge.answers["convert"] = [odd, {"left": "it is pip"}]
    found = converter(easy_install, bridge)
    assert found.convert(wheel, str(tmp_path / "into")) and found.warning == "alpha-1.0-py3-none-any.whl: " + end
    assert found.convert(wheel, str(tmp_path / "into")) is None and found.warning is None


def test_the_first_wheel_is_compared_with_what_pip_makes(easy_install, wheel, tmp_path):
    bridge = bridge_that_converts()
    bridge.answers["convert"] = [{"compare": True}, {"warning": "it differs"}]
    found = converter(easy_install, bridge)
    assert found.convert(wheel, str(tmp_path / "into")) is None and found.made is None
    assert found.compare(["/x/stock.egg"]) == "it differs"
    assert [request.get("stock") for _, request in bridge.calls] == [None, "/x/stock.egg"]
    assert found.compare(["/x/stock.egg"]) is None


@pytest.mark.parametrize("answer", [{"left": "it is pip"}, _bridge.Refusal("the disk", "failure")])
def test_what_the_program_does_not_convert_is_left_to_pip(easy_install, wheel, tmp_path, answer):
    bridge = bridge_that_converts()
    bridge.answers["convert"] = answer
    assert converter(easy_install, bridge).convert(wheel, str(tmp_path / "into")) is None


def test_other_things_than_a_wheel_are_not_passed(easy_install, wheel, tmp_path):
    bridge = bridge_that_converts()
    found = converter(easy_install, bridge)
    into = str(tmp_path / "into")
    for spec in (str(tmp_path), wheel[:-4] + ".tar.gz", "https://example.org/a.whl", "alpha"):
        assert found.convert(spec, into) is None
    (tmp_path / "into" / "file").write_text("")
    assert found.convert(wheel, into) is None, "pip finds what is there"
    assert found.convert(wheel, str(tmp_path / "missing")) is None, "pip makes it"
    assert bridge.calls == []


def test_a_buildout_without_a_readable_source_is_left_to_pip(easy_install, wheel, tmp_path):
    easy_install.__file__ = str(tmp_path / "zipped.egg" / "easy_install.py")
    bridge = bridge_that_converts()
    assert converter(easy_install, bridge).convert(wheel, str(tmp_path / "into")) is None
    assert bridge.calls == []


def test_a_log_with_the_output_of_pip_needs_pip(easy_install, wheel, tmp_path):
    found = converter(easy_install, bridge_that_converts())
    easy_install.logger.setLevel(logging.DEBUG)
    assert found.convert(wheel, str(tmp_path / "into")) is None


def test_functions_that_somebody_has_replaced_are_called(easy_install, wheel, tmp_path):
    found = converter(easy_install, bridge_that_converts())
    easy_install.get_subprocess_output = lambda args, **kw: ""
    assert found.convert(wheel, str(tmp_path / "into")) is None
    for name in ("call_pip_install", "make_egg_after_pip_install", "get_subprocess_output"):
        changed = module(tmp_path)
        setattr(changed, name, lambda *args, **kw: None)
        assert converter(changed, bridge_that_converts()) is None


def test_older_buildouts_and_the_option_convert_nothing(easy_install, wheel, tmp_path):
    assert converter(easy_install, bridge_that_converts(), **{"egg-cache-convert": "false"}) is None
    easy_install.UNPACKERS[".whl"] = None
    assert converter(easy_install, bridge_that_converts()) is None


def test_what_a_dead_program_leaves_is_removed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").symlink_to(tmp_path)
    (tmp_path / "d").write_text("")
    _converter.empty(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


# -- The configuration of pip


@pytest.mark.parametrize(
    "environ, odd",
    [
        ({}, None),
        ({"PIP_NO_INDEX": "1", "PIP_find_links": "x", "PIP_INDEX_URL": "y"}, None),
        ({"PIP_NO_COMPILE": "1"}, "PIP_NO_COMPILE"),
        ({"PIP_CONSTRAINT": "x"}, "PIP_CONSTRAINT"),
        ({"PIP_TARGET": "x"}, "PIP_TARGET"),
        ({"PYTHONPYCACHEPREFIX": "x"}, "PYTHONPYCACHEPREFIX"),
        ({"PYTHONPYCACHEPREFIX": ""}, None),
        ({"PYTHONWARNINGS": "ignore,default::DeprecationWarning"}, None),
        ({"PYTHONWARNINGS": "ignore, error::SyntaxWarning"}, "PYTHONWARNINGS"),
        ({"PYTHONWARNINGS": "e"}, "PYTHONWARNINGS"),
        ({"PYTHON_VERSION": "3.11", "PYTHONOPTIMIZE": "2", "PYTHONPATH": "x"}, None),
    ],
)
def test_variables_that_may_change_what_pip_does_are_odd(environ, odd):
    assert _pip.oddity(dict(environ, PIP_CONFIG_FILE=os.devnull)) == odd


@pytest.mark.parametrize(
    "text, is_odd",
    [
        ("", False),
        ("[global]\nindex-url = x\ntrusted_host = y\n[list]\nformat = json\n", False),
        ("[install]\nno-compile = true\n", True),
        ("[global]\nrequire-hashes = true\n", True),
        ("[global]\n--no-compile = true\n", True),
        ("[global\n", True),
        ("[global]\nindex-url = \xe4\n", False),
    ],
)
@pytest.mark.parametrize("where", [".pip/pip.conf", ".config/pip/pip.conf", "chosen"])
def test_files_that_may_change_what_pip_does_are_odd(tmp_path, text, is_odd, where):
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    environ = {"HOME": str(tmp_path)}
    if where == "chosen":
        environ["PIP_CONFIG_FILE"] = str(path)
    assert bool(_pip.oddity(environ)) == is_odd
