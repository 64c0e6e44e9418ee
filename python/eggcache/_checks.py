"""Compare what buildout fetches with the listed hashes, before it is installed.

These replacements are in place whenever ``egg-cache-hashes`` is set: without a cache, and after the cache
has failed. They are called by those of the cache (`_patches`), which compare cached eggs.
"""

import os

from eggcache import _compat, _host, _places, _seam, _uv
from eggcache._hashes import Refused


class Checks(object):
    """The replacements. Each method has the name of the one that it replaces."""

    def __init__(self, easy_install, hashes):
        self._easy_install = easy_install
        self._hashes = hashes

    def apply(self):
        """Replace the methods. Raises `Refused` if this buildout installs eggs in a way that is not known."""
        easy_install = self._easy_install
        installer = _uv.installer_of(easy_install)
        if installer not in ("", "uv"):
            raise Refused("egg-cache-hashes cannot check what %s installs" % installer)
        self._replace(easy_install.Installer, "_fetch")
        if installer:
            self._replace(easy_install, "install_pinned_dists")
            self._replace(easy_install, "_unpack_dist_for_build")

    def _replace(self, owner, name):
        try:
            _seam.require_function(owner, name)
        except _seam.Unfit as error:
            raise Refused("egg-cache-hashes cannot check what buildout installs: %s" % error)
        stock = getattr(owner, name)
        setattr(owner, name, _compat.wraps(stock)(getattr(self, name)(stock)))

    def _fetch(self, stock):
        """Stock: download the archive of a distribution.

        Changed: it is compared. With uv, which would download it later, buildout downloads it now.
        """

        def _fetch(installer, dist, tmp, *args, **kw):
            fetched = stock(installer, dist, tmp, *args, **kw)
            if fetched is None:
                return None
            if "://" in fetched.location and not os.path.exists(fetched.location):
                fetched = fetched.clone(location=installer._index.download(fetched.location, tmp))
            self._check(dist, fetched.location, dist.location)
            return fetched

        return _fetch

    def _unpack_dist_for_build(self, stock):
        """Stock: unpack the archive of a custom build, which uv did not download.

        Changed: it is compared.
        """

        def _unpack_dist_for_build(dist, *args, **kw):
            self._check(dist, dist.location, dist.location)
            return stock(dist, *args, **kw)

        return _unpack_dist_for_build

    def install_pinned_dists(self, stock):
        """Stock: let uv download and install archives.

        Changed: the SHA-256 that the index has for them are compared, and uv compares these with what it
        downloads.
        """
        def install_pinned_dists(pinned, dest):
            return stock([self._checked(pin) for pin in pinned], dest)

        return install_pinned_dists

    def _checked(self, pin):
        """A pin after its comparison. uv takes a SHA-256 from the fragment of the URL."""
        self._hashes.check(pin.name, pin.version, pin.sha256, _places.without_secrets(pin.url))
        if not pin.sha256:
            return pin
        import dataclasses  # where there is uv, there is a Python that has it

        return dataclasses.replace(pin, url="%s#sha256=%s" % (pin.url.partition("#")[0], pin.sha256))

    def _check(self, dist, path, url):
        # A directory is a checkout, or an egg that was not in an archive.
        sha256 = _host.sha256_of(path) if os.path.isfile(path) else None
        self._hashes.check(dist.project_name, dist.version, sha256, _places.without_secrets(url))
