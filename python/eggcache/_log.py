"""The logger of this package."""

import logging


def printable(text):
    """Return text with what a terminal would act on, or a reader misread, escaped. Names can hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class OneLine(logging.Filter):
    """Makes every message one printable line."""

    def filter(self, record):
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logger = logging.getLogger("eggcache")
logger.addFilter(OneLine())
