"""Messages of the package: each is one printable line, whatever the names in it."""

import logging

import pytest

from eggcache._log import logger


@pytest.mark.parametrize(
    "name, shown",
    [
        ("zope.interface übung 日本", "zope.interface übung 日本"),
        ("a\nforged: b\r", "a\\nforged: b\\r"),
        ("\x1b[2J\x9b31m", "\\x1b[2J\\x9b31m"),
        ("\u202egge\u2028", "\\u202egge\\u2028"),
        ("100%", "100%"),
    ],
)
def test_a_message_is_one_printable_line(caplog, name, shown):
    with caplog.at_level(logging.INFO, logger="eggcache"):
        logger.warning("stored %s.", name)
    assert caplog.messages == ["stored %s." % shown]
