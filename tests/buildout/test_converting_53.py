"""Wheels that the program converts in place of the pip of zc.buildout 5.3, which has its functions elsewhere."""

import pytest

import test_uv
from test_convert import odd_wheels
from test_converting import (
    ODD,
    add_wheel,
    assert_same_code,
    contents,
    counts,
    hook,
    lines,
    parity,
    scripts,
)
from test_uv import uv_buildout  # noqa: F401

PIP = "installer = pip"


@pytest.fixture
def world(tmp_path, uv_buildout, web):  # noqa: F811
    world = test_uv.UvWorld(tmp_path, uv_buildout, web)
    world.wheel("alpha", "1.0", requires=["beta"])
    world.wheel("beta", "1.0")
    return world


def test_converted_eggs_and_scripts_are_those_of_stock(world, tmp_path):
    for path in odd_wheels(tmp_path):
        add_wheel(world, path)
    eggs = "alpha beta " + ODD
    stock, said = world.run("stock", eggs=eggs, options=PIP, cache=False)
    first, output = world.run("first", eggs=eggs, options=PIP)
    assert counts(output) == (len(eggs.split()) + 1, 0), output
    [result] = parity(world)
    assert result["difference"] is None
    assert contents(first) == contents(stock)
    assert scripts(first) == scripts(stock)
    assert lines(output, first) == lines(said, stock)
    assert_same_code(first, stock)
    assert first.script("alpha") == "alpha 1.0"


def test_eggs_of_uv_are_not_converted(world):
    _, output = world.run("first", eggs="alpha")
    assert counts(output) is None and parity(world) == []


@pytest.mark.parametrize("module", ["install_backend", "easy_install"])
@pytest.mark.parametrize("function", ["call_pip_install", "make_egg_after_pip_install", "_run_pip"])
def test_functions_that_somebody_has_replaced_are_called(world, module, function):
    code = (
        "import zc.buildout.easy_install, zc.buildout.%(module)s as it\n"
        "stock = it.%(function)s\n"
        "def replaced(*args, **kw):\n"
        "    print('somebody installs')\n"
        "    return stock(*args, **kw)\n"
        "it.%(function)s = replaced\n" % {"module": module, "function": function}
    )
    changed = hook(world, code)
    _, said = world.run("stock", eggs="alpha", options=PIP, cache=False, env=changed)
    _, output = world.run("first", eggs="alpha", options=PIP, env=changed)
    is_called = "somebody installs" in said
    assert is_called == ("somebody installs" in output)
    if is_called:
        assert counts(output) is None
