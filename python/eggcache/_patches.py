"""The methods of buildout that eggcache replaces: where eggs are chosen, fetched and installed.

They are looked up on each call. A buildout in which they, or what they use, are not as in zc.buildout 2.13
to 6 stays as it is (`_seam`). A cached egg is offered as
*available*, not as *installed*. Thus buildout itself decides what it logs, which versions it
reports as picked, and in which order it writes scripts.
"""

import contextlib
import functools
import os
import shutil
import tempfile

from eggcache import _compat, _custom, _options, _seam
from eggcache._hashes import Refused
from eggcache._log import logger


#: What is raised if a function takes or returns something else than expected.
_MISFITS = AttributeError, TypeError, ValueError


class _Stock(object):
    """The original methods, as attributes."""


class Patches(object):
    """The replacements. Each method has the name of the one that it replaces.

    A method gets the original as its first argument and, if it replaces one of ``Installer``, ``Options`` or
    ``Buildout``, the object that it was called on as its second. ``stock`` holds all originals. After the
    cache has failed, everything is left to them.
    """

    def __init__(self, session, buildout, easy_install):
        self.session = session
        self.easy_install = easy_install
        self.pkg_resources = easy_install.pkg_resources
        self.is_offline = buildout.offline
        options = buildout["buildout"]
        self.eggs_directories = options["eggs-directory"], options["develop-eggs-directory"]
        self.fetch_archives = _options.is_changed(options, "egg-cache-fetch-archives")
        #: Whether to say that the download cache lacks an archive. Who has set the option knows.
        self._warns_of_archives = "egg-cache-fetch-archives" not in options
        self.places = [
            (easy_install.Installer, "install"),
            (easy_install.Installer, "_satisfied"),
            (easy_install.Installer, "_get_dist"),
            (easy_install.Installer, "_fetch"),
            (easy_install.Installer, "_env_rescan_dest"),
            (easy_install.Installer, "_get_dest_dist_paths"),
            (easy_install.Installer, "_make_env"),
            (easy_install.Installer, "build"),
            (easy_install, "_move_to_eggs_dir_and_compile"),
            (buildout.__class__, "_unload_extensions"),
            (options.__class__, "_call"),
        ]
        if session.converter is not None:
            self.places.append((easy_install, "call_pip_install"))
        if session.ahead is not None:
            self.places.append((_seam.owner_of(easy_install.AllowHostsPackageIndex, "open_url"), "open_url"))
        self.stock = _Stock()
        #: Distributions that were put into an eggs directory since its last rescan.
        self._added = []
        #: The exception with which buildout itself has failed to build an archive.
        self._failed_build = None

    def apply(self):
        """Replace the methods; raise `_seam.Unfit` before that if this buildout is not one that is known."""
        for owner, name in self.places:
            _seam.require_function(owner, name)
        _seam.require_attributes(self.easy_install.Installer, _seam.OF_INSTALLERS)
        for owner, name in self.places:
            setattr(self.stock, name, self._stock_of(owner, name))
        for owner, name in self.places:
            stock, method = getattr(self.stock, name), getattr(self, name)
            setattr(owner, name, _seam.replacement(stock, method, self._is_left, self._fail))

    def _stock_of(self, owner, name):
        """An original. Of two, it is what they do if an argument comes from another replacement."""
        stock = getattr(owner, name)
        plain = {
            "_fetch": self._plain_fetch,
            "_move_to_eggs_dir_and_compile": self._plain_move,
        }.get(name)
        return stock if plain is None else _compat.wraps(stock)(functools.partial(plain, stock))

    def _is_left(self):
        """Whether everything is left to the originals. Eggs that led to a conflict stay hidden for long."""
        return not self.session.is_active and not self.session.conflicts.are_open

    def _fail(self, error):
        """Continue without the cache after a replacement has failed."""
        if self.session.is_active:
            is_misfit = isinstance(error, _MISFITS)
            self.session.give_up(_seam.Unfit(str(error)) if is_misfit else error)
        else:
            logger.debug("the cache has failed, and so has hiding its eggs: %s", error)

    # -- Choosing

    def install(self, stock, installer, specs, working_set=None, *args, **kw):
        """Stock: resolve specs and everything that they require, and return the working set.

        Changed: the cached eggs of these specs are copied ahead, and the result is noted as used. After
        a conflict to which the choice of a cached version has led, the specs are resolved anew. Eggs
        that were built are listed before the caller can change them.
        """
        specs = list(specs)
        asked = self._wanted(specs)
        self.session.expect(installer, asked, working_set.by_key if working_set else ())
        resolve = functools.partial(stock, installer, specs, working_set, *args, **kw)
        with self._noted(installer), self._listed():
            found = self.session.conflicts.resolve(
                installer, asked, working_set, self.session.chooser, resolve, self._is_misled
            )
        self.session.erase_progress()
        self.session.root.add_locations(dist.location for dist in found)
        return found

    @contextlib.contextmanager
    def _noted(self, installer=None):
        """Note a failure, and the egg that it is about, for the record of this run. A recipe may find another way."""
        try:
            yield
        except BaseException as error:
            self.session.has_failed = True
            requirement, _ = getattr(installer, "_eggcache_lacks", None) or (None, None)
            if requirement is not None and not isinstance(error, KeyboardInterrupt):
                self.session.lacks(requirement, isinstance(error, self.easy_install.MissingDistribution))
            raise

    def _wanted(self, specs):
        """The requirements among specs that hold here. If one is not valid, buildout says so."""
        try:
            wanted = [self.pkg_resources.Requirement.parse(spec) for spec in specs]
            return [it for it in wanted if not it.marker or it.marker.evaluate()]
        except ValueError:
            return []

    def _is_misled(self, installer, error):
        """Whether to resolve once more, without the cache: buildout may have stumbled over an offered egg.

        They mean that buildout expects another result of a replacement. No user causes them, except by an
        archive that cannot be built: buildout 2 fails with a ValueError then.
        """
        session = self.session
        if type(error) not in _MISFITS or error is self._failed_build:
            return False
        if not session.is_active or not session.chooser.has_offered:
            return False
        session.give_up(_seam.Unfit("it fails with a cached egg: %s" % error))
        # What was copied is installed.
        self.stock._env_rescan_dest(installer)
        return True

    def _satisfied(self, stock, installer, req, source=None, *args, **kw):
        """Stock: return an installed distribution and None, or None and what the index has.

        Changed: a cached egg counts as what the index has. Offline, where buildout accepts only an
        installed egg, it is copied at once. This package itself is not looked for where it runs.
        """
        if req.key == "eggcache" and not source:
            running = [dist for dist in installer._env[req.project_name] if dist in req]
            if running:
                return running[0], None
        offered = self.session.choose(installer, req, source)
        if offered:
            if installer._dest is not None:
                return None, offered
            dist = self.session.materialize(offered, self.eggs_directories[0])
            if dist is not None:
                installer._env.add(dist)
                return dist, None
        dist, available = stock(installer, req, source, *args, **kw)
        if dist is None and installer._dest is None and self.is_offline:
            self.session.lacks_offline(req)
        if available is not None:
            available = self.session.same_as(installer, available, req, source) or available
        return dist, available

    # -- Fetching

    def _get_dist(self, stock, installer, requirement, ws, *args, **kw):
        """Stock: make a temporary directory, fetch and install a distribution, and remove the directory.

        Changed: without a download cache, `_fetch` makes that directory if it needs one. An egg from
        the cache needs none.
        """
        dists = self._got(stock, installer, requirement, ws, *args, **kw)
        self.session.arrived(installer, requirement, dists)
        return dists

    def _got(self, stock, installer, requirement, ws, *args, **kw):
        installer._eggcache_wanted = installer._eggcache_lacks = requirement, ws
        found = self._obtained(stock, installer, requirement, ws, *args, **kw)
        installer._eggcache_lacks = None
        return found

    def _obtained(self, stock, installer, requirement, ws, *args, **kw):
        if installer._download_cache is not None:
            return stock(installer, requirement, ws, *args, **kw)
        # Buildout makes no directory where there is a download cache, which it keeps.
        installer._download_cache = ""
        installer._eggcache_directories = directories = []
        try:
            return stock(installer, requirement, ws, *args, **kw)
        finally:
            del installer._download_cache
            for directory in directories:
                shutil.rmtree(directory)

    def _fetch(self, stock, installer, dist, tmp, download_cache, *args, **kw):
        """Stock: download the archive of a distribution.

        Changed: an offered egg is copied from the cache instead. If that fails, buildout fetches
        what it would have chosen without the offer. Before that, a builder waits for another one
        that is building the same egg. If the link did not say which archive it leads to, the cache
        is asked again for an egg of the archive that was fetched.
        """
        offer = getattr(dist, "eggcache", None)
        if offer is not None:
            if self._arrives(installer, dist):
                if download_cache and self.fetch_archives:
                    self._fetch_archive(installer, dist, tmp, download_cache)
                elif download_cache:
                    self._warn_of_archive(dist, download_cache)
                return dist
            dist = self._without_offer(installer, offer)
        offered = self._built_elsewhere(installer, dist)
        if offered and self._arrives(installer, offered):
            return offered
        fetched = stock(installer, dist, tmp, download_cache, *args, **kw)
        if fetched is None or not self.session.is_active:
            return fetched
        requirement, _ = installer._eggcache_wanted
        if not self.session.custom.variant:
            offered = self.session.same_as_fetched(installer, dist, fetched.location, requirement)
            if offered and self._arrives(installer, offered):
                return offered
        self.session.fetched(installer, dist, self._archive_of(fetched), requirement)
        return fetched

    def _plain_fetch(self, stock, installer, dist, tmp, download_cache, *args, **kw):
        """Fetch without the cache what it may have offered, into the directory that `_get_dist` has not made."""
        offer = getattr(dist, "eggcache", None)
        if offer is not None:
            dist = self._without_offer(installer, offer)
        if not tmp:
            tmp = tempfile.mkdtemp("get_dist")
            installer._eggcache_directories.append(tmp)
        return stock(installer, dist, tmp, download_cache or None, *args, **kw)

    def open_url(self, stock, index, url, *args, **kw):
        """Stock: request a page of the index, or an archive.

        Changed: the answer of a request that was made ahead is returned. If the server refuses this one because
        it got too many ahead, it is made again a little later.
        """
        request = functools.partial(stock, index, url, *args, **kw)
        return self.session.requested(url) or self.session.unless_refused(request)

    def _archive_of(self, dist):
        """Where the archive of a distribution is."""
        return dist.location

    def _arrives(self, installer, offered):
        """Copy an offered egg into the eggs directory; False if that is not possible."""
        offered.eggcache.arrived = self.session.materialize(offered, installer._dest)
        return offered.eggcache.arrived is not None

    def _without_offer(self, installer, offer):
        """What buildout would have fetched if it had not been offered a cached egg."""
        dist = _seam.of_stock(self.stock._satisfied, installer, offer.requirement, offer.source)[1]
        if dist is None:
            raise _seam.passing(self.easy_install.MissingDistribution(*installer._eggcache_wanted))
        return dist

    def _built_elsewhere(self, installer, dist):
        """The offer of an egg that another builder has built meanwhile; else None."""
        if self.session.custom.variant:
            return None
        return self.session.await_build(installer, dist)

    def _fetch_archive(self, installer, dist, tmp, download_cache):
        """Put the archive of an egg from the cache into the download cache."""
        try:
            pin = "%s==%s" % (dist.project_name, dist.version)
            available = installer._obtain(self.pkg_resources.Requirement.parse(pin))
            if available is None or available.parsed_version != dist.parsed_version:
                raise LookupError("the index has no such archive")
            self.stock._fetch(installer, available, tmp, download_cache)
        except Refused:
            raise
        except Exception as error:
            logger.warning("did not add the archive of %s to the download cache: %s.", dist, error)

    def _warn_of_archive(self, dist, download_cache):
        """Say once that the download cache is not complete: ``install-from-cache`` would fail with it."""
        if self._warns_of_archives and not self.session.places.has_archive(download_cache, dist):
            self._warns_of_archives = False
            logger.warning(
                "the download cache lacks archives of eggs that come from the cache, such as that of %s; "
                "egg-cache-fetch-archives = true adds them.",
                dist,
            )

    # -- Installing

    def _move_to_eggs_dir_and_compile(self, stock, dist, dest, *args, **kw):
        """Stock: install a fetched archive into the eggs directory, and return what is there.

        Changed: an egg from the cache is there already. Any other is stored in the cache afterwards.
        """
        offer = getattr(dist, "eggcache", None)
        if offer is not None:
            moved = offer.arrived
        else:
            started, archive = _compat.monotonic(), self._archive_of(dist)
            try:
                moved = stock(dist, dest, *args, **kw)
            except Exception as error:
                self._failed_build = error
                raise
            self.session.built(moved, archive, dest, _compat.monotonic() - started)
        self._added.append(moved)
        return moved

    def _plain_move(self, stock, dist, dest, *args, **kw):
        """Install a fetched archive. An egg that has come from the cache is in place."""
        offer = getattr(dist, "eggcache", None)
        return stock(dist, dest, *args, **kw) if offer is None else offer.arrived

    def call_pip_install(self, stock, spec, dest, editable=False, *args, **kw):
        """Stock: let pip install a distribution into a directory, and make an egg of the result.

        Changed: the program makes the egg of a wheel, with the same result. Where it has not been
        compared with pip yet, it compares what pip has made, and replaces it if the two are equal.
        Everything else is left to pip.
        """
        is_plain = not editable and not args and not kw
        if is_plain:
            egg = self.session.convert(spec, dest)
            if egg is not None:
                return [egg]
        found = stock(spec, dest, editable, *args, **kw)
        if is_plain:
            self.session.compare(found)
            self.session.replace_compared(spec, found)
        return found

    def _env_rescan_dest(self, stock, installer, *args, **kw):
        """Stock: read all eggs in the eggs directory again, after each one that was installed.

        Changed: only the new eggs are added to the environment, which has the same result.
        """
        added, self._added = self._added, []
        is_known = self.session.is_active and added
        if not is_known or any(os.path.dirname(dist.location) != installer._dest for dist in added):
            stock(installer, *args, **kw)
            self.session.conflicts.hide(installer._env)
            return
        for dist in added:
            dist.precedence = self.pkg_resources.EGG_DIST
            installer._env.add(dist)

    @contextlib.contextmanager
    def _listed(self):
        """At the end, wait until the eggs that were built are listed, also if building has failed."""
        try:
            yield
        except Exception:
            self.session.await_listing()
            raise
        self.session.await_listing()

    def _get_dest_dist_paths(self, stock, installer, *args, **kw):
        """Stock: list what looks like a distribution in the eggs directory.

        Changed: leave out what pip has installed into a temporary directory there, before it gets its
        name as an egg. It belongs to a buildout that runs in parallel or was killed.
        """
        paths = stock(installer, *args, **kw)
        return [path for path in paths if not _is_temporary(path)]

    def _make_env(self, stock, installer, *args, **kw):
        """Stock: make the environment of installed distributions.

        Changed: offline, add the eggs that hold only a dist-info directory. Buildout 5.0 to 5.2 and 6
        do not see them. Leave out eggs that were rejected because of a conflict.
        """
        env = stock(installer, *args, **kw)
        is_blind = hasattr(installer, "_eggify_env_dest_dists")
        if installer._dest is None and is_blind and self.session.is_active:
            for directory in self.eggs_directories:
                if directory in installer._path:
                    _add_eggs(env, installer, directory)
        self.session.conflicts.hide(env)
        return env

    # -- Custom builds

    def build(self, stock, installer, spec, build_ext, *args, **kw):
        """Stock: build an egg with options, and return the locations of the result.

        Changed: the cached egg of the same options and environment is copied instead. The result is
        noted as used. As in `install`, it is listed before the caller can change it.
        """
        with self._listed():
            locations = self._build(stock, installer, spec, build_ext, *args, **kw)
        self.session.root.add_locations(locations or ())
        return locations

    def _build(self, stock, installer, spec, build_ext, *args, **kw):
        if not self.session.is_active:
            return stock(installer, spec, build_ext, *args, **kw)
        requirement = _seam.of_stock(self.pkg_resources.Requirement.parse, spec)
        with self.session.custom.building(requirement.project_name, build_ext):
            requirement = _seam.of_stock(installer._constrain, requirement)
            dist = self._custom_from_cache(installer, requirement)
            if dist is not None:
                return [dist.location]
            installer._eggcache_wanted = requirement, ()
            # Buildout chooses again, and can unpack nothing but an archive.
            with self.session.chooser.paused():
                return stock(installer, spec, build_ext, *args, **kw)

    def _custom_from_cache(self, installer, requirement):
        """The egg of a custom build, copied from the cache; None if it must be built."""
        while installer._dest is not None and self.session.is_active:
            offered = self._choose_custom(installer, requirement)
            if not offered:
                return None
            # An egg that cannot be copied is not offered again.
            dist = self.session.materialize(offered, installer._dest)
            if dist is not None:
                return dist
        return None

    def _choose_custom(self, installer, requirement):
        """The offer of a cached custom build, or of one that another builder has built meanwhile."""
        offered = self.session.choose(installer, requirement, 1)
        if offered:
            return offered
        available = installer._satisfied(requirement, 1)[1]
        if available is None or getattr(available, "eggcache", None):
            return available
        return self.session.await_build(installer, available, 1)

    # -- The run

    def _call(self, stock, options, *args, **kw):
        """Stock: call ``install`` or ``update`` of a part's recipe.

        Changed: note that the part was installed. Offline, restore the egg of a custom part.
        """
        with self._noted(), self.session.places.of_part(options):
            return self._call_part(stock, options, *args, **kw)

    def _call_part(self, stock, options, *args, **kw):
        installed = stock(options, *args, **kw)
        self.session.root.add_part(options.name)
        if not (self.is_offline and self.session.is_active and _custom.is_custom_part(options)):
            return installed
        try:
            restored = _custom.restore(options, self.easy_install, self.session)
        except Refused:
            raise
        except Exception as error:
            self.session.give_up(error)
            restored = []
        return list(installed or ()) + restored

    def _unload_extensions(self, stock, buildout, *args, **kw):
        """Stock: the last step of a successful run; call what extensions want to do at its end.

        Changed: the session ends after that, and the buildout is registered as a root.
        """
        self.session.root.finish(buildout["buildout"].get("parts", "").split())
        stock(buildout, *args, **kw)
        self.session.register()
        self.session.close()


def _is_temporary(path):
    name = os.path.basename(path)
    return name.startswith(tempfile.gettempprefix()) and not name.endswith(".egg")


def _add_eggs(env, installer, directory):
    """Add the eggs in a directory to an environment, as ``Installer`` does for its own directory."""
    dest, installer._dest = installer._dest, directory
    try:
        env.scan(installer._get_dest_dist_paths())
    finally:
        installer._dest = dest
    installer._eggify_env_dest_dists(env, directory)
