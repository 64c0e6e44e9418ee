"""What eggcache replaces where buildout installs eggs with uv: ``installer = uv`` of zc.buildout 5.3.

Such a buildout resolves all requirements with one run of uv, and installs everything that they need with
another. The first decides which archives are needed. The eggs of these archives that the cache has are
copied, and uv installs the rest.

These eggs lack what pip adds, and hold what uv adds. They have a variant of their own in the cache.
"""

from eggcache import _compat, _seam
from eggcache._patches import Patches

#: What is replaced in ``zc.buildout.easy_install``.
_REPLACED = "install_pinned_dists", "_matching_dists", "_run_pip", "_uv_resolve_requirements"


def installer_of(easy_install):
    """What this buildout installs eggs with, if it is not pip; else an empty string."""
    name = easy_install.installer() if hasattr(easy_install, "installer") else "pip"
    return "" if name == "pip" else name


def patches_for(installer):
    """The class of the patches for what a buildout installs eggs with."""
    if installer not in ("", "uv"):
        raise _seam.Unfit("it installs eggs with %s" % installer)
    return UvPatches if installer else Patches


class UvPatches(Patches):
    """The replacements for a buildout that installs eggs with uv."""

    def __init__(self, session, buildout, easy_install):
        Patches.__init__(self, session, buildout, easy_install)
        self.places += [(easy_install, name) for name in _REPLACED]
        #: SHA-256 of archives, by their URLs.
        self._digests = {}
        #: The installer that resolves requirements now.
        self._installer = None

    # -- Resolving

    def install(self, stock, installer, *args, **kw):
        """Stock: as in `Patches`.

        Changed: note the installer, which is not passed to where eggs are installed.
        """
        before, self._installer = self._installer, installer
        try:
            return Patches.install(self, stock, installer, *args, **kw)
        finally:
            self._installer = before

    def _uv_resolve_requirements(self, stock, *args, **kw):
        """Stock: let uv choose an archive of each project.

        Changed: note the SHA-256 of the archives, which distributions do not carry.
        """
        pinned = stock(*args, **kw)
        for pin in getattr(pinned, "dists", ()):
            for kind in ("", "sdist_"):
                self._digests[getattr(pin, kind + "url", None)] = getattr(pin, kind + "sha256", None)
        return pinned

    def _satisfied(self, stock, installer, req, source=None, *args, **kw):
        """Stock: as in `Patches`. Only custom builds and setuptools get here.

        Changed: the SHA-256 of the archive is what uv knows.
        """
        dist, available = Patches._satisfied(self, stock, installer, req, source, *args, **kw)
        if available is None or getattr(available, "eggcache", None):
            return dist, available
        linked = available.clone(location=self._archive_of(available))
        offered = self.session.same_as(installer, linked, req, source)
        if not offered and self.session.custom.variant:
            # A custom build downloads the archive itself.
            self.session.fetched(installer, linked, linked.location, req)
        return dist, offered or available

    def _archive_of(self, dist):
        sha256 = self._digests.get(dist.location)
        return "%s#sha256=%s" % (dist.location, sha256) if sha256 else dist.location

    # -- Offline

    def _make_env(self, stock, installer, *args, **kw):
        """Stock: as in `Patches`.

        Changed: offline, the environment knows its installer.
        """
        env = Patches._make_env(self, stock, installer, *args, **kw)
        if installer._dest is None:
            env._eggcache_installer = installer
        return env

    def _matching_dists(self, stock, env, req):
        """Stock: list the distributions in an environment that satisfy a requirement.

        Changed: offline, where there are none, the cached egg is copied.
        """
        found = stock(env, req)
        installer = getattr(env, "_eggcache_installer", None)
        if found or installer is None:
            return found
        offered = self.session.choose(installer, req, None)
        dist = offered and self.session.materialize(offered, self.eggs_directories[0])
        if not dist:
            return found
        env.add(dist)
        return [dist]

    # -- Installing

    def install_pinned_dists(self, stock, pinned, dest):
        """Stock: let uv install archives, and turn the result into eggs.

        Changed: the eggs of archives that the cache has are copied. The others are stored afterwards.
        """
        if not self.session.is_active or self._installer is None:
            return stock(pinned, dest)
        links = [self._link_of(pin) for pin in pinned]
        found = self._copied(links, dest)
        missing = [index for index, dist in enumerate(found) if dist is None]
        started = _compat.monotonic()
        built = stock([pinned[index] for index in missing], dest)
        seconds = (_compat.monotonic() - started) / max(1, len(built))
        for index, dist in zip(missing, built):
            found[index] = dist
            link = links[index]
            self.session.fetched(self._installer, link, link.location, link.as_requirement())
            self.session.built(dist, link.location, dest, seconds)
        self._added += found
        return found

    def _link_of(self, pin):
        """A distribution that is available: its location ends with the SHA-256 of the archive."""
        location = "%s#sha256=%s" % (pin.url, pin.sha256) if pin.sha256 else pin.url
        return self.pkg_resources.Distribution(location, project_name=pin.name, version=pin.version)

    def _copied(self, links, dest):
        """The distribution of each cached egg, after it was copied; None for each other archive."""
        session = self.session
        requirements = [link.as_requirement() for link in links]
        session.announce(requirements)
        offers = [
            session.same_as(self._installer, link, requirement, None)
            for link, requirement in zip(links, requirements)
        ]
        session.copy_ahead([offered for offered in offers if offered], dest)
        return [session.materialize(offered, dest) if offered else None for offered in offers]

    def _run_pip(self, stock, args, env, dest, level):
        """Stock: run pip or, with these arguments, uv.

        Changed: uv copies files. By itself, it would link them into its own cache, so that a change of
        one is a change of all.
        """
        if self.session.is_active:
            env = dict(env, UV_LINK_MODE="copy")
        return stock(args, env, dest, level)
