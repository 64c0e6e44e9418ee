"""The start of a buildout run. Without a cache, it imports nothing that takes time."""

import atexit
import gc
import hashlib
import os
import sys

from eggcache import _deferred_pip, _options
from eggcache._log import logger

_is_started = False


def start(buildout):
    """Begin a run with the cache that ``egg-cache`` names, and the hashes that ``egg-cache-hashes`` names.

    Without these options, do nothing. Only what concerns hashes fails a run, and what buildout itself does not
    understand in these options.
    """
    try:
        _start(buildout)
    except Exception as error:
        from eggcache import _hashes, _session

        if isinstance(error, _hashes.UserError) or buildout["buildout"].get("egg-cache-hashes"):
            raise
        _session.warn_of_failure(error)


def _start(buildout):
    global _is_started
    options = buildout["buildout"]
    directory = options.get("egg-cache", "").strip()
    _options.mark_used(options)
    hashes_file = _options.hashes_file(buildout)
    if directory:
        _deferred_pip.import_submodules()
    else:
        _deferred_pip.import_pip()
    if _is_started or not (directory or hashes_file):
        return
    _is_started = True
    _options.warn_of_values(options)
    hashes = _checked_by(hashes_file, options) if hashes_file else None
    if not directory:
        return
    _collect_less()
    _speed_up()
    session = _patched_session(buildout, hashes)
    if session is not None:
        # An egg directory stays as it was built, even if buildout imports a recipe from it.
        sys.dont_write_bytecode = True
        session.store_installed()
        atexit.register(session.close)


def _collect_less():
    """Let Python look for cyclic garbage less often: most objects of a run live until its end."""
    if hasattr(gc, "freeze"):
        gc.freeze()
        gc.set_threshold(50000, 20, 100)


def advise_pin(buildout):
    """Log which pin saves time, where buildout looks for a newer version of this package in each run."""
    try:
        from zc.buildout import easy_install

        own = _own_distribution(easy_install)
        if _is_searched(easy_install, buildout, own.location):
            logger.info(
                "buildout looks for a newer eggcache in each run, and reads the list of all packages if the index "
                "has no page of it; eggcache = %s in [versions] avoids that.",
                own.version,
            )
    except Exception as error:
        logger.debug("not known whether buildout looks for a newer eggcache: %s", error)


def _is_searched(easy_install, buildout, location):
    """Whether buildout has installed this package, from ``find-links``, and looks for it in each run."""
    options = buildout["buildout"]
    if buildout.offline or not buildout.newest or "eggcache" in easy_install.default_versions():
        return False
    # Without `find-links`, the index has a page.
    if not options.get("find-links", "").strip():
        return False
    realpath = easy_install.realpath
    return realpath(os.path.dirname(location)) == realpath(options["eggs-directory"])


def _own_distribution(easy_install):
    requirement = easy_install.pkg_resources.Requirement.parse("eggcache")
    return easy_install.pkg_resources.working_set.find(requirement)


def _checked_by(path, options):
    """Compare all archives with the hashes in a file, from here on. Raises `_hashes.Refused`."""
    from eggcache import _checks, _hashes
    from zc.buildout import easy_install

    warns = _options.is_changed(options, "egg-cache-hashes-missing")
    parse_version = easy_install.pkg_resources.parse_version
    hashes = _hashes.Hashes(path, _hashes.read(path), parse_version, warns)
    _checks.Checks(easy_install, hashes).apply()
    atexit.register(hashes.warn)
    return hashes


def _speed_up():
    """Make buildout's own work faster, with the cache or without it."""
    try:
        from eggcache._speedups import Speedups
        from zc.buildout import easy_install

        Speedups(easy_install).apply()
    except Exception as error:
        logger.debug("buildout stays as fast as it is: %s", error)


def _patched_session(buildout, hashes):
    """Open the cache and patch buildout to use it; None if one of them fails."""
    from eggcache import _custom, _signatures, _uv
    from eggcache._session import Session, warn_of_failure

    session = None
    try:
        directory = _options.cache_directory(buildout)
        from zc.buildout import easy_install

        installer = _uv.installer_of(easy_install)
        patches = _uv.patches_for(installer)
        projects = _custom.projects(buildout, easy_install.pkg_resources)
        custom = _custom.CustomBuilds(projects, buildout["buildout"]["directory"], installer)
        session = Session(easy_install, buildout["buildout"], custom, hashes)
        was_there = os.path.isdir(directory)
        session.open(directory, _configuration(buildout))
        if not session.is_active:
            return None
        if not was_there and os.path.isdir(directory):
            logger.info("no cache at %s: created an empty one.", directory)
        _tell_of_shared_eggs(easy_install.realpath, buildout["buildout"])
        patches(session, buildout, easy_install).apply()
        _signatures.Signatures(session, sys.modules["zc.buildout.buildout"]).apply()
        return session
    except Exception as error:
        warn_of_failure(error)
        if session is not None:
            session.abandon()
        return None


def _tell_of_shared_eggs(realpath, options):
    """Log that the eggs are in no folder of this buildout, where the cache puts copies, too."""
    folder = realpath(options["directory"])
    eggs = realpath(os.path.join(folder, options["eggs-directory"]))
    if not eggs.startswith(os.path.join(folder, "")):
        logger.info(
            "the eggs directory %s is outside of this buildout, which is not self-contained; without eggs-directory, "
            "each buildout has copies of its own.",
            eggs,
        )


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
