"""Among which places buildout chooses the archive of a distribution, and where it came from.

A *place* is an index or an entry of ``find-links``. A *choice* is a digest of everything on which
buildout's choice of the archive of one version depends: its places, its ``allow-hosts``, the tags of
wheels that work here, and the archives of that version in local places. Where two buildouts have the
same choice, stock buildout takes the same archive, so the second one need not ask its places again.

Of several archives, buildout takes the greatest by version, kind and location, or one in its download
cache. Locations therefore count by their order.
"""

import collections
import contextlib
import fnmatch
import hashlib
import os
import re
import sys

from eggcache import _compat
from eggcache._folders import CannotTell, Folders
from eggcache._requirements import canonical, egg_of_link, excludes_local_versions, scheme_of

#: The longest URL that is recorded.
_LONGEST_URL = 2000
#: Hexadecimal digits that stand for a part of a URL that may be a secret.
_SECRET_DIGITS = 8

#: Where an installer looks for archives, and on which hosts.
_Named = collections.namedtuple("_Named", "index links hosts download_cache")


class Places(object):
    """Computes the choices of one buildout run. ``options`` is the ``[buildout]`` section."""

    def __init__(self, easy_install, options):
        self._easy_install = easy_install
        self._options = self._part = options

    @contextlib.contextmanager
    def of_part(self, options):
        """Meanwhile, buildout installs a part. A part may name places of its own."""
        self._part = options
        try:
            yield
        finally:
            self._part = self._options

    def choice(self, installer, requirement, version, source):
        """The choice of an archive of ``version``, as 64 hexadecimal digits.

        None if it depends on something that cannot be looked at without buildout's own search, such as a
        local page of links, or a link with ``#egg=``, whose archive may change at any time.
        """
        if excludes_local_versions(requirement) and "+" not in version:
            return None
        places = self._places_of(installer)
        if any(_is_moving(link, requirement.project_name) for link in places.links):
            return None
        remote = [(link, "link") for link in places.links if scheme_of(link) not in ("", "file")]
        if scheme_of(places.index):
            remote.append((places.index.rstrip("/"), "index"))
        try:
            # The location of an archive begins with user and password, if the place has them.
            remote = [(without_secrets(url, digest=True), kind) for url, kind in sorted(remote)]
            local = set(self._local(places, requirement, version))
        except (CannotTell, EnvironmentError, ValueError):
            # Whether it matters that something cannot be read, or is no URL, is up to buildout.
            return None
        content = [
            (scheme_of(location), os.path.basename(location), sha256, self._is_preferred(location, places))
            for location, sha256 in sorted(local)
        ]
        remote = list(collections.OrderedDict.fromkeys(remote))
        question = [2, self._host, bool(source), remote, places.hosts, content]
        return hashlib.sha256(_compat.hashable_json(question)).hexdigest()

    def has_archive(self, folder, dist):
        """Whether a folder has an archive of this version of a project, or this cannot be known."""
        try:
            return self._folders.has(folder, canonical(dist.project_name), dist.version)
        except (CannotTell, OSError):
            return True

    def _places_of(self, installer):
        """What an installer names. Offline, buildout does not pass on what its configuration names."""
        index, links = installer._index.index_url, list(installer._links)
        hosts, pattern = installer._allow_hosts, installer._index.allows.__self__.pattern
        if installer._dest is None:
            links += self._configured("find-links", "").split()
            index = self._configured("index", "").strip() or self._easy_install.default_index_url
            hosts = self._options.get("allow-hosts", "*").split("\n")
            hosts = [host.strip() for host in hosts if host.strip()]
        elif pattern != "|".join(map(fnmatch.translate, hosts)):
            # Buildout shares an index among installers, whatever hosts they allow.
            hosts = [pattern]
        if index.startswith("file://"):
            index = index[len("file://") :]
        hosts = sorted(_short_digest(host) if "@" in host else host for host in hosts)
        links = installer._fix_file_links(links)
        return _Named(index, sorted(set(links)), hosts, installer._download_cache)

    def _configured(self, option, default):
        found = self._part.get(option)
        return self._options.get(option, default) if found is None else found

    def _local(self, places, requirement, version):
        """The archives of the version in local places: their locations and SHA-256."""
        project = canonical(requirement.project_name)
        paths = [link for link in places.links if not scheme_of(link)]
        if scheme_of(places.index) == "file":
            raise CannotTell
        if not scheme_of(places.index):
            # Buildout looks for the project's folder by these names, then in the index itself.
            names = {project, requirement.unsafe_name, requirement.project_name, requirement.key}
            paths += [os.path.join(places.index, name) for name in sorted(names)] + [places.index]
        for path in paths:
            for archive in self._folders.archives_at_path(path, project, version):
                yield archive
        for url in places.links:
            if scheme_of(url) == "file":
                path = _compat.url2pathname(_compat.urlsplit(url).path)
                for archive in self._folders.archives_at_url(url, path, project, version):
                    yield archive

    @_compat.cached_property
    def _folders(self):
        return Folders(self._easy_install.pkg_resources, self.package_index)

    @_compat.cached_property
    def package_index(self):
        """The module of buildout's index."""
        # zc.buildout 4 and later have their own copy of this module of setuptools.
        own = getattr(self._easy_install, "_package_index", None)
        return own or self._easy_install.setuptools.package_index

    def _is_preferred(self, location, places):
        """Whether an archive is in the download cache."""
        realpath = self._easy_install.realpath
        return (
            bool(places.download_cache) and realpath(os.path.dirname(location)) == places.download_cache
        )

    @_compat.cached_property
    def _host(self):
        """Python and this machine, which decide which archives fit."""
        python = "%s %d.%d" % ((_compat.implementation(),) + sys.version_info[:2])
        platform = self._easy_install.pkg_resources.get_supported_platform()
        return [python, platform, _supported_tags(self.package_index)]


def _supported_tags(package_index):
    """A digest of the tags of the wheels that buildout accepts: they depend on the C library."""
    wheels = sys.modules[package_index.Wheel.__module__]
    if hasattr(wheels, "_get_supported_tags"):
        tags = wheels._get_supported_tags()
    else:
        tags = {(tag.interpreter, tag.abi, tag.platform) for tag in wheels.sys_tags()}
    return hashlib.sha256(_compat.hashable_json(sorted(tags))).hexdigest()


def without_secrets(url, digest=False):
    """A URL or path without what may be a secret: user, password, query and fragment.

    With ``digest``, a few digits stand for the query and the fragment, which may lead to other archives.
    """
    parts = _compat.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    plain = _compat.urlunsplit((parts.scheme, host, parts.path, "", ""))
    if not digest:
        return plain[:_LONGEST_URL]
    rest = parts.query, parts.fragment
    return plain + "?" + _short_digest("#".join(rest)) if any(rest) else plain


def _is_moving(link, project_name):
    """Whether the archives of a project may be what is behind a link at any one time."""
    egg = canonical(egg_of_link(link) or "")
    project = canonical(project_name)
    return egg == project or egg.startswith(project + "-")


def _short_digest(text):
    return hashlib.sha256(_compat.to_bytes(text)).hexdigest()[:_SECRET_DIGITS]
