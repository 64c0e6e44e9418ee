"""The logger of this package."""

import logging

from eggcache import _compat


def printable(text):
    """Return text with what a terminal would act on, or a reader misread, escaped. Names can hold anything."""
    return _compat.to_native(u"".join(_shown(c) for c in _compat.to_text(text)))


def _shown(character):
    if _compat.is_printable(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


class OneLine(logging.Filter):
    """Makes every message one printable line."""

    def filter(self, record):
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logger = logging.getLogger("eggcache")
logger.addFilter(OneLine())
