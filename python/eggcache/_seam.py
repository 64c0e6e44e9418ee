"""The seam: the methods of buildout where eggs are chosen, fetched and put in place.

They have the same signatures from zc.buildout 2.13 to 6 and are looked up when they are called. A
cached egg is offered as one that is available, not as one that is installed: what buildout logs,
which versions it reports as picked and in which order it writes scripts stay its own.
"""

import atexit
import contextlib
import hashlib
import os
import sys
import tempfile
import time

from eggcache import _custom
from eggcache._session import Session, logger

_session = None
_started = False


def start(buildout):
    """Begin a run with the cache that ``egg-cache`` names. Does nothing without that option."""
    global _session, _started
    options = buildout["buildout"]
    directory = options.get("egg-cache", "").strip()
    # Asked for here, so that buildout does not report them as unused.
    options.get("egg-cache-environment")
    options.get("egg-cache-fetch-archives")
    if not directory or _started:
        return
    _started = True
    try:
        from zc.buildout import easy_install

        session = Session(
            easy_install,
            options,
            _absolute(directory, buildout),
            _generation(easy_install),
            _custom.projects(buildout, easy_install.pkg_resources),
            _configuration(buildout),
        )
        if session.bridge is None:
            return
        _session = session
        _install(buildout, easy_install)
    except Exception as error:
        logger.warning("%s; going on without the cache.", error or type(error).__name__)
        if _session is not None:
            _session.abandon()
        return
    # An egg directory stays as it was built, also where buildout imports a recipe from it.
    sys.dont_write_bytecode = True
    _session.store_installed()
    atexit.register(finish)


def finish():
    """End the run, if one is going on in this process (and not in one that it was forked from)."""
    if _session is not None and _session.pid == os.getpid():
        _session.close()


def succeed():
    """End the run, which was successful."""
    if _session is not None and _session.pid == os.getpid():
        _session.register()
    finish()


def _absolute(directory, buildout):
    """The cache's path; a relative one is relative to the file that sets it, as buildout has it."""
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
    """What tells this buildout from others that want other eggs: its pins, and what parts name."""
    raw = getattr(buildout, "_raw", {})
    versions = raw.get("buildout", {}).get("versions", "versions")
    told = [
        (section, option, value)
        for section in raw
        for option, value in raw[section].items()
        if section == versions or option in ("eggs", "extensions", "parts", "recipe")
    ]
    return hashlib.sha256(repr(sorted(told)).encode("utf-8")).hexdigest()


def _generation(easy_install):
    """The major version of zc.buildout."""
    requirement = easy_install.pkg_resources.Requirement.parse("zc.buildout")
    dist = easy_install.pkg_resources.working_set.find(requirement)
    return int(dist.version.split(".")[0])


def _install(buildout, easy_install):
    """Put the wrappers in place. They do nothing once the session has given up."""
    installer_class = easy_install.Installer
    stock_install = installer_class.install
    stock_satisfied = installer_class._satisfied
    stock_get_dist = installer_class._get_dist
    stock_fetch = installer_class._fetch
    stock_rescan = installer_class._env_rescan_dest
    stock_get_dest_dist_paths = installer_class._get_dest_dist_paths
    stock_make_env = installer_class._make_env
    stock_build = installer_class.build
    stock_move = easy_install._move_to_eggs_dir_and_compile
    stock_unload = type(buildout)._unload_extensions
    options_class = type(buildout["buildout"])
    stock_call = options_class._call

    def install(self, specs, working_set=None):
        specs = list(specs)
        parse = easy_install.pkg_resources.Requirement.parse
        wanted = [it for it in map(parse, specs) if not it.marker or it.marker.evaluate()]
        _session.expect(self, wanted, working_set.by_key if working_set else ())
        found = stock_install(self, specs, working_set)
        _session.ended_up_with(dist.location for dist in found)
        return found

    def _satisfied(self, req, source=None):
        offered = _session.choose(self, req, source)
        if offered:
            if self._dest is not None:
                return None, offered
            # Offline, buildout takes only what is installed.
            dist = _session.materialize(offered, _session.eggs_directory)
            if dist is not None:
                self._env.add(dist)
                return dist, None
        dist, available = stock_satisfied(self, req, source)
        if available is not None:
            available = _session.same_as(self, available, req, source) or available
        return dist, available

    def _get_dist(self, requirement, ws):
        self._eggcache_wanted = requirement, ws
        if self._download_cache is not None or _session.bridge is None:
            return stock_get_dist(self, requirement, ws)
        # Buildout would make and remove a directory for each egg, and one from the cache needs none.
        with contextlib.ExitStack() as self._eggcache_cleanup:
            self._download_cache = ""
            self._eggcache_cleanup.callback(delattr, self, "_download_cache")
            return stock_get_dist(self, requirement, ws)

    def _fetch(self, dist, tmp, download_cache):
        offer = getattr(dist, "eggcache", None)
        if offer is not None:
            offer.arrived = _session.materialize(dist, self._dest)
            if offer.arrived is not None:
                if download_cache and _session.fetch_archives:
                    complete(self, dist, tmp, download_cache)
                return dist
            dist = stock_satisfied(self, offer.requirement, offer.source)[1]
            if dist is None:
                raise easy_install.MissingDistribution(*self._eggcache_wanted)
        if not _session.variant:
            # What is built elsewhere just now is waited for.
            offered = _session.await_build(self, dist, self._eggcache_wanted[0])
            if offered:
                offered.eggcache.arrived = _session.materialize(offered, self._dest)
                if offered.eggcache.arrived is not None:
                    return offered
        if not tmp:
            tmp = self._eggcache_cleanup.enter_context(tempfile.TemporaryDirectory("get_dist"))
        fetched = stock_fetch(self, dist, tmp, download_cache or None)
        if _session.variant and fetched is not None:
            _session.fetched_for_custom(fetched.location)
        return fetched

    def complete(self, dist, tmp, download_cache):
        """Fetch the archive of an egg that came from the cache."""
        try:
            pin = easy_install.pkg_resources.Requirement.parse("%s==%s" % (dist.project_name, dist.version))
            available = self._obtain(pin)
            if available is None or available.parsed_version != dist.parsed_version:
                raise LookupError("the index has no archive of %s" % dist)
            stock_fetch(self, available, tmp, download_cache)
        except Exception as error:
            logger.warning("%s; the download cache lacks it.", error)

    def _move_to_eggs_dir_and_compile(dist, dest):
        offer = getattr(dist, "eggcache", None)
        if offer is not None:
            return offer.arrived
        started = time.monotonic()
        archive = dist.location
        moved = stock_move(dist, dest)
        _session.built(moved, archive, dest, time.monotonic() - started)
        return moved

    def _env_rescan_dest(self):
        # Buildout reads every egg again after each one that it installs. Adding the new ones to
        # the environment has the same result.
        added, _session.just_added = _session.just_added, []
        if not added or any(os.path.dirname(dist.location) != self._dest for dist in added):
            return stock_rescan(self)
        for dist in added:
            dist.precedence = easy_install.pkg_resources.EGG_DIST
            self._env.add(dist)

    def _get_dest_dist_paths(self):
        # Buildout also takes what pip has put into a temporary directory, before it is moved and
        # gets its name as an egg: by a buildout that runs in parallel, or by one that was killed.
        return [path for path in stock_get_dest_dist_paths(self) if not _is_temporary(path)]

    def _make_env(self):
        env = stock_make_env(self)
        if self._dest is None and _session.bridge is not None:
            # Offline, buildout 5 and 6 do not see eggs that hold only a dist-info directory.
            for directory in (_session.eggs_directory, _session.develop_eggs_directory):
                if directory in self._path:
                    _add_eggs(env, self, directory)
        return env

    def build(self, spec, build_ext):
        locations = built(self, spec, build_ext)
        _session.ended_up_with(locations or ())
        return locations

    def built(self, spec, build_ext):
        if _session.bridge is None:
            return stock_build(self, spec, build_ext)
        with _custom.building(_session, spec, build_ext):
            requirement = self._constrain(easy_install.pkg_resources.Requirement.parse(spec))
            dist = from_cache(self, requirement) if self._dest is not None else None
            if dist is not None:
                return [dist.location]
            # Buildout looks again, and can unpack nothing but an archive.
            with _session.offering_nothing():
                return stock_build(self, spec, build_ext)

    def from_cache(self, requirement):
        """The egg of a custom build, put in place; None where it is to be built."""
        while _session.bridge is not None:
            offered = _session.choose(self, requirement, 1)
            if not offered:
                available = self._satisfied(requirement, 1)[1]
                if getattr(available, "eggcache", None):
                    offered = available
                elif available is not None:
                    offered = _session.await_build(self, available, requirement, 1)
            if not offered:
                return None
            # One that cannot be had is not offered again.
            dist = _session.materialize(offered, self._dest)
            if dist is not None:
                return dist
        return None

    def _unload_extensions(self):
        _session.finished_parts(buildout["buildout"].get("parts", "").split())
        stock_unload(self)
        succeed()

    def _call(self, f):
        installed = stock_call(self, f)
        _session.parts.add(self.name)
        return installed

    installer_class.install = install
    installer_class._satisfied = _satisfied
    installer_class._get_dist = _get_dist
    installer_class._fetch = _fetch
    installer_class._env_rescan_dest = _env_rescan_dest
    installer_class._get_dest_dist_paths = _get_dest_dist_paths
    installer_class._make_env = _make_env
    installer_class.build = build
    easy_install._move_to_eggs_dir_and_compile = _move_to_eggs_dir_and_compile
    type(buildout)._unload_extensions = _unload_extensions
    options_class._call = _call
    _custom.restore_offline(buildout, easy_install, _session)


def _is_temporary(path):
    name = os.path.basename(path)
    return name.startswith(tempfile.gettempprefix()) and not name.endswith(".egg")


def _add_eggs(env, installer, directory):
    """Add the eggs in a directory to an environment, as `Installer` does for its own directory."""
    dest, installer._dest = installer._dest, directory
    try:
        env.scan(installer._get_dest_dist_paths())
    finally:
        installer._dest = dest
    installer._eggify_env_dest_dists(env, directory)
