"""How this Python and this buildout are described to the program."""

import sysconfig
import types

import pytest

from eggcache import _host


def easy_install(unpackers=(".egg", ".whl"), **functions):
    """A module like ``zc.buildout.easy_install``, whose working set has zc.buildout 5.2.0."""
    newer = types.SimpleNamespace(version="5.2.0")
    resources = types.SimpleNamespace(
        get_supported_platform=lambda: "linux-x86_64",
        Requirement=types.SimpleNamespace(parse=str),
        working_set=types.SimpleNamespace(find=lambda requirement: newer),
    )
    return types.SimpleNamespace(pkg_resources=resources, UNPACKERS=dict.fromkeys(unpackers), **functions)


PIP = {"call_pip_install": None}
RENAMING = dict(PIP, _maybe_copy_and_rename_wheel=None)


@pytest.mark.parametrize(
    "module, generation",
    [
        (easy_install(), 2),
        (easy_install(**PIP), 3),
        (easy_install(**RENAMING), 4),
        (easy_install([".egg"], **RENAMING), 5),
        (easy_install([".egg"], **PIP), 5),
    ],
    ids=["2.13.8", "4.1.3", "4.2.0", "5.2.0", "later"],
)
def test_the_layout_is_that_of_the_code_that_runs(module, generation):
    assert _host.describe(module, "")["generation"] == generation


@pytest.mark.parametrize(
    "suffix, soabi, tag",
    [
        (".cpython-311-x86_64-linux-gnu.so", "cpython-311-x86_64-linux-gnu", "cpython-311-x86_64-linux-gnu"),
        (".pypy39-pp73-x86_64-linux-gnu.so", "pypy39-pp73", "pypy39-pp73-x86_64-linux-gnu"),
        (".cpython-313t-darwin.so", "cpython-313t-darwin", "cpython-313t-darwin"),
        (".cp311-win_amd64.pyd", None, "cp311-win_amd64"),
        (".so", "cpython-311", "cpython-311"),
        (".so", None, ""),
        (None, None, ""),
    ],
)
def test_the_abi_is_the_tag_of_extension_modules(suffix, soabi, tag, monkeypatch):
    variables = {"EXT_SUFFIX": suffix, "SOABI": soabi}
    monkeypatch.setattr(sysconfig, "get_config_var", variables.get)
    assert _host.describe(easy_install(), "")["soabi"] == tag
