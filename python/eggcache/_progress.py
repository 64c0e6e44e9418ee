"""One line on a terminal that shows how far a run is. It is erased before anything else is written."""

import logging
import os
import sys
import warnings

from eggcache import _compat

#: The least time between two changes of the line, in seconds.
EVERY = 0.1

_ERASE = "\r\x1b[K"


def progress_for(stream):
    """The `Progress` on a stream; None if it is no terminal that can erase a line."""
    try:
        is_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except (AttributeError, EnvironmentError, ValueError):
        return None
    return Progress(stream) if is_terminal else None


class Progress(object):
    """A line that stays until something is logged, or buildout may write something itself.

    As a filter of log handlers, it accepts all records.
    """

    def __init__(self, stream):
        self._stream = stream
        self._pid = os.getpid()
        self._is_shown = False
        self._shown_at = 0.0
        self._handlers = []
        #: What showed warnings before, and what does so now.
        self._showwarning = None, None

    def begin(self):
        """Erase the line before records and warnings are written."""
        loggers = [logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict)]
        for logger in [logging.getLogger()] + loggers:
            for handler in logger.handlers:
                handler.addFilter(self)
                self._handlers.append(handler)
        stock = warnings.showwarning

        def showwarning(*args, **kw):
            self.erase()
            return stock(*args, **kw)

        warnings.showwarning = showwarning
        self._showwarning = stock, showwarning

    def show(self, text):
        """Show the text that ``text()`` returns, unless the line has changed just now."""
        now = _compat.monotonic()
        if now < self._shown_at + EVERY or self._pid != os.getpid():
            return
        self._shown_at = now
        self._is_shown = True
        self._write("\r%s\x1b[K" % text()[: self._width() - 1])

    def erase(self):
        if self._is_shown and self._pid == os.getpid():
            self._is_shown = False
            self._write(_ERASE)

    def filter(self, record):
        self.erase()
        return True

    def end(self):
        """Erase the line, and show it no more."""
        self.erase()
        self._shown_at = float("inf")
        for handler in self._handlers:
            handler.removeFilter(self)
        self._handlers = []
        stock, own = self._showwarning
        if own is not None and warnings.showwarning is own:
            warnings.showwarning = stock

    def _write(self, text):
        try:
            self._stream.write(text)
            self._stream.flush()
        except (EnvironmentError, ValueError):
            # Nobody looks any more.
            self._is_shown = False
            self._shown_at = float("inf")

    def _width(self):
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (AttributeError, EnvironmentError, ValueError):
            return 80


def of_run():
    """The `Progress` of a run, on its standard error; None if that is no terminal."""
    found = progress_for(sys.stderr)
    if found is not None:
        found.begin()
    return found
