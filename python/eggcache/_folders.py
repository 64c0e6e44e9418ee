"""The archives of a version in folders and files on this machine, as buildout finds them.

Only file names are compared here, with the function of buildout that interprets them.
"""

import bisect
import itertools
import os
import re

from eggcache import _compat, _host
from eggcache._requirements import canonical

#: A page lists links to anywhere; what it leads to is only known once it is read.
_PAGES = (".html", ".htm")
#: File names that are the same in the address of a file.
_PLAIN = re.compile(r"[A-Za-z0-9_.+!-]+\Z")


class CannotTell(Exception):
    """What buildout would find depends on more than the names and contents of archives."""


class Folders(object):
    """Looks into folders. Within one run, a folder is listed again only if it has changed."""

    def __init__(self, pkg_resources, package_index):
        self._pkg_resources = pkg_resources
        #: The distributions that a path may mean on this machine.
        self._distros_for_filename = package_index.distros_for_filename
        #: Names in folders, sorted, each with its normalized form first, by path and mtime.
        self._names = {}
        #: SHA-256 of archives, by path, size, mtime and inode.
        self._digests = {}

    def has(self, folder, project, version):
        """Whether a folder has an archive of a version. Raise `CannotTell` as `archives_at_path`."""
        folder = os.path.realpath(folder)
        paths = [os.path.join(folder, name) for name in self._names_in(folder, project)]
        return any(True for path in paths for _ in self._dists(path, project, version))

    def archives_at_path(self, path, project, version):
        """The archives of a version in a folder, or the archive at a path.

        As pairs of the location that buildout gives them, and the SHA-256. Raise `CannotTell` if there
        is one that is not a file, or one of a local version: the requirement decides whether
        buildout prefers that.
        """
        archives = [path.rstrip(os.sep)]
        if os.path.isdir(path):
            folder = os.path.realpath(path)
            archives += [os.path.join(folder, name) for name in self._names_in(folder, project)]
        for archive in archives:
            for dist in self._dists(archive, project, version):
                yield dist.location, self._sha256(archive)

    def archives_at_url(self, url, path, project, version):
        """The same for the address of a folder or an archive, which leads to ``path``.

        Buildout reads such a folder like a page on the web. Raise `CannotTell` for other pages too.
        """
        if os.path.isdir(path):
            if not url.endswith("/") or os.path.exists(os.path.join(path, "index.html")):
                raise CannotTell
            folder, names = path, self._names_in(path, project)
        elif os.path.isfile(path):
            if "#" in url or path.lower().endswith(_PAGES):
                raise CannotTell
            folder, name = os.path.split(path)
            names = [name]
        else:
            return
        for name in names:
            archive = os.path.join(folder, name)
            for _ in self._dists(archive, project, version):
                if not _PLAIN.match(name):
                    raise CannotTell
                yield _compat.urljoin(url, name), self._sha256(archive)

    def _names_in(self, folder, project):
        """The names in a folder that begin with the name of a project."""
        known = folder, _compat.mtime_ns(os.stat(folder))
        if known not in self._names:
            self._names[known] = sorted((canonical(name), name) for name in os.listdir(folder))
        names = self._names[known]
        prefix = project + "-"
        first = bisect.bisect_left(names, (prefix,))
        for normalized_name, name in itertools.islice(names, first, None):
            if not normalized_name.startswith(prefix):
                break
            yield name

    def _dists(self, path, project, version):
        """The distributions of this version of a project that a path may mean."""
        if not os.path.exists(path):
            return
        for dist in self._distros_for_filename(path):
            if canonical(dist.project_name) == project and self._is_of(dist, version):
                if not os.path.isfile(path):
                    raise CannotTell
                yield dist

    def _is_of(self, dist, version):
        """Whether a distribution is one of this version. Raise `CannotTell` for a local version of it."""
        parse = self._pkg_resources.parse_version
        try:
            found, wanted = parse(dist.version or ""), parse(version)
            if found == wanted:
                return True
            is_local = getattr(found, "local", None) and not getattr(wanted, "local", None)
            if is_local and parse(found.public) == wanted:
                raise CannotTell
            return False
        except ValueError:
            return False

    def _sha256(self, path):
        status = os.stat(path)
        known = path, status.st_size, _compat.mtime_ns(status), status.st_ino
        if known not in self._digests:
            self._digests[known] = _host.sha256_of(path)
        return self._digests[known]
