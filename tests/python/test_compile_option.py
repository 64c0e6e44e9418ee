"""``egg-cache-compile``: which variant a run has, and what happens to the egg that was only compared."""

import os

import pytest

from eggcache import _options
from eggcache._custom import CustomBuilds
from test_converter import bridge_that_converts, converter, easy_install, wheel  # noqa: F401

OPTIONS = {"egg-cache-compile": "all"}


@pytest.mark.parametrize(
    "value, variant",
    [
        (None, ""),
        ("stock", ""),
        ("ALL", ""),
        ("all", "compile-all"),
        ("all-unchecked-hash", "compile-all-unchecked-hash"),
    ],
)
def test_the_option_names_a_variant(value, variant):
    options = {} if value is None else {"egg-cache-compile": value}
    assert _options.compile_variant(options) == variant


def test_a_custom_build_is_no_variant_of_the_option():
    custom = CustomBuilds(set(), "/srv/app")
    custom.compile_variant = "compile-all"
    assert custom.key_variant == "compile-all" and not custom.variant
    with custom.building("alpha", {}):
        of_option = custom.key_variant
    custom.compile_variant = ""
    with custom.building("alpha", {}):
        assert custom.key_variant == of_option
    assert custom.key_variant == ""


def test_the_variant_is_part_of_the_request(easy_install, wheel, tmp_path):  # noqa: F811
    for options, variant in ((OPTIONS, "compile-all"), ({}, "")):
        bridge = bridge_that_converts()
        found = converter(easy_install, bridge, **options)
        found.convert(wheel, str(tmp_path / "into"))
        assert bridge.calls[0][1]["variant"] == found.variant == variant
        assert not found.is_equal


def compared(easy_install, wheel, tmp_path, options=OPTIONS, warning=None):  # noqa: F811
    """A converter that has compared the egg of pip, and that egg."""
    bridge = bridge_that_converts()
    bridge.answers["convert"] = [{"compare": True}, {"warning": warning}]
    found = converter(easy_install, bridge, **options)
    into = tmp_path / "into"
    assert found.convert(wheel, str(into)) is None
    stock = into / "alpha.egg"
    stock.mkdir()
    (stock / "of-pip").write_text("")
    found.compare([str(stock)])
    return found, stock


@pytest.mark.parametrize("options", [OPTIONS, {}])
def test_an_egg_that_was_compared_is_replaced_by_the_equal_one(
    easy_install, wheel, tmp_path, options  # noqa: F811
):
    found, stock = compared(easy_install, wheel, tmp_path, options)
    assert found.is_equal

    def convert(path, into):
        assert path == wheel and os.listdir(into) == []
        egg = os.path.join(into, "alpha.egg")
        os.mkdir(egg)
        return egg

    found.replace(wheel, [str(stock)], convert)
    assert os.listdir(str(stock)) == [] and os.listdir(str(stock.parent)) == ["alpha.egg"]
    assert not found.is_equal


def test_what_cannot_be_replaced_stays(easy_install, wheel, tmp_path):  # noqa: F811
    found, stock = compared(easy_install, wheel, tmp_path)

    def fails(path, into):
        raise OSError

    with pytest.raises(OSError):
        found.replace(wheel, [str(stock)], fails)
    for answer in (None, os.path.join("x", "beta.egg"), os.path.join("missing", "alpha.egg")):
        try:
            found.replace(wheel, [str(stock)], lambda path, into: answer)
        except OSError:
            assert answer.startswith("missing")
        assert os.listdir(str(stock)) == ["of-pip"] and os.listdir(str(stock.parent)) == ["alpha.egg"]


def test_an_egg_that_differs_is_not_replaced(easy_install, wheel, tmp_path):  # noqa: F811
    found, _ = compared(easy_install, wheel, tmp_path, warning="it differs")
    assert not found.is_equal
