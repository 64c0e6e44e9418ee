"""The start of a buildout run with a cache."""

import atexit
import hashlib
import os
import sys

from eggcache import _custom
from eggcache._patches import Patches
from eggcache._session import Session, warn_of_failure

_is_started = False


def start(buildout):
    """Begin a run with the cache that ``egg-cache`` names. Without that option, do nothing."""
    global _is_started
    options = buildout["buildout"]
    directory = options.get("egg-cache", "").strip()
    # Buildout reports options that nobody has read as unused.
    options.get("egg-cache-environment")
    options.get("egg-cache-fetch-archives")
    options.get("egg-cache-unknown-archives")
    if not directory or _is_started:
        return
    _is_started = True
    session = _patched_session(buildout, directory)
    if session is not None:
        # An egg directory stays as it was built, even if buildout imports a recipe from it.
        sys.dont_write_bytecode = True
        session.store_installed()
        atexit.register(session.close)


def _patched_session(buildout, directory):
    """Open the cache and patch buildout to use it; None if one of them fails."""
    session = None
    try:
        from zc.buildout import easy_install

        custom = _custom.CustomBuilds(_custom.projects(buildout, easy_install.pkg_resources))
        session = Session(easy_install, buildout["buildout"], custom)
        session.open(_absolute(directory, buildout), _configuration(buildout))
        if not session.is_active:
            return None
        Patches(session, buildout, easy_install).apply()
        return session
    except Exception as error:
        warn_of_failure(error)
        if session is not None:
            session.abandon()
        return None


def _absolute(directory, buildout):
    """The path of the cache. As in buildout, a relative path starts at the file that sets it."""
    directory = os.path.expanduser(directory)
    if os.path.isabs(directory):
        return directory
    base = buildout["buildout"]["directory"]
    try:
        source = buildout._annotated["buildout"]["egg-cache"].source
    except (AttributeError, KeyError):
        source = ""
    if os.path.isabs(source) and os.path.isfile(source):
        base = os.path.dirname(source)
    return os.path.abspath(os.path.join(base, directory))


def _configuration(buildout):
    """A digest of what decides which eggs a buildout needs: its pins, and what its parts name."""
    raw = getattr(buildout, "_raw", {})
    versions = raw.get("buildout", {}).get("versions", "versions")
    relevant = [
        (section, option, value)
        for section in raw
        for option, value in raw[section].items()
        if section == versions or option in ("eggs", "extensions", "parts", "recipe")
    ]
    return hashlib.sha256(repr(sorted(relevant)).encode("utf-8")).hexdigest()
