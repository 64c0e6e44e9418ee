"""Makes buildout use a cache without an option that its own tests would see in their output.

``upstream.py`` installs this module beside eggcache, with a ``.pth`` file that imports it in every
process of a test. ``UPSTREAM_EGG_CACHE`` is the directory that ``egg-cache`` would name. Without it, the
package is idle. What eggcache logs is appended to the file ``UPSTREAM_LOG``.
"""

import logging
import os

from eggcache import _log, _run

_start = _run.start


def _start_with_cache(buildout):
    """Start a run as if ``egg-cache`` were set, but let no one else see the option."""
    _log_to_file()
    directory = os.environ.get("UPSTREAM_EGG_CACHE")
    if not directory:
        return _start(buildout)
    data = buildout["buildout"]._data
    data["egg-cache"] = directory
    try:
        return _start(buildout)
    finally:
        del data["egg-cache"]


def _log_to_file():
    path = os.environ.get("UPSTREAM_LOG")
    if path and not _log.logger.handlers:
        _log.logger.addHandler(logging.FileHandler(path))
        _log.logger.setLevel(logging.DEBUG)
        _log.logger.propagate = False


_run.start = _start_with_cache
