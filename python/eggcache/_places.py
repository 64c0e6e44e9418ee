"""Among which places buildout chooses the archive of a distribution, and where it came from.

A *place* is an index or an entry of ``find-links``. A *choice* is a digest of everything on which
buildout's choice of the archive of one version depends: its places, its ``allow-hosts``, and the
archives of that version in local places. Where two buildouts have the same choice, stock buildout
takes the same archive, so the second one need not ask its places again.
"""

import hashlib
import json
import os
import re
import sys
import urllib.parse
import urllib.request

from eggcache import _host

#: What separates the words of a name; file names of archives begin with the name of the project.
_SEPARATORS = re.compile(r"[-_.]+")
#: A page lists links to anywhere; what it leads to is only known once it is read.
_PAGES = (".html", ".htm")
#: The longest URL that is recorded.
_LONGEST_URL = 2000


class Places:
    """Computes the choices of one buildout run."""

    def __init__(self, easy_install):
        self._easy_install = easy_install
        self._pkg_resources = easy_install.pkg_resources
        #: Names in local folders, as they are and normalized, by path and mtime.
        self._names = {}
        #: SHA-256 of local archives, by path, size, mtime and inode.
        self._digests = {}

    def choice(self, installer, requirement, version, source):
        """The choice of an archive of ``version``, as 64 hexadecimal digits.

        None if it depends on something that cannot be looked at without buildout's own search, such as a
        local page of links.
        """
        remote, local = [], []
        for link in installer._links:
            path = _local_path(link)
            if path is None:
                remote.append(without_secrets(link))
            elif not self._look(path, link, requirement, version, local):
                return None
        index = installer._index_url or self._easy_install.default_index_url
        path = _local_path(index)
        if path is None:
            index = without_secrets(index).rstrip("/")
        else:
            # Buildout looks for the project's folder by these names, then in the index itself.
            names = {requirement.unsafe_name, requirement.project_name, requirement.key}
            for folder in [os.path.join(path, name) for name in sorted(names)] + [path]:
                if not self._look(folder, index, requirement, version, local):
                    return None
            index = ""
        local.sort()
        content = [(os.path.basename(path), digest) for path, digest in local]
        hosts = sorted(installer._allow_hosts)
        # Which archives fit depends on Python and on the machine.
        python = "%s %d.%d" % ((sys.implementation.name,) + sys.version_info[:2])
        host = [python, self._pkg_resources.get_supported_platform()]
        question = [1, host, bool(source), index, sorted(set(remote)), hosts, content]
        return hashlib.sha256(json.dumps(question).encode("utf-8")).hexdigest()

    def _look(self, path, link, requirement, version, found):
        """Add the archives of the version at a local path, a file or folder, with their SHA-256.

        Return False if there is a page of links, which leads elsewhere.
        """
        is_url = link.startswith("file:")
        if os.path.isdir(path):
            names = self._names_in(path)
            if is_url and "index.html" in names:
                return False
        elif os.path.isfile(path):
            if is_url and path.lower().endswith(_PAGES):
                return False
            path, name = os.path.split(path)
            names = {name: _normalized(name)}
        else:
            return True
        project = _normalized(requirement.key) + "-"
        for name, normalized in names.items():
            archive = os.path.join(path, name)
            if normalized.startswith(project) and self._is_archive(archive, version):
                # With a scheme, an archive sorts otherwise among equal ones.
                found.append((("file:" if is_url else "") + archive, self._sha256(archive)))
        return True

    def _names_in(self, folder):
        known = folder, os.stat(folder).st_mtime
        if known not in self._names:
            self._names[known] = {name: _normalized(name) for name in os.listdir(folder)}
        return self._names[known]

    def _is_archive(self, path, version):
        """Whether buildout may take the file for an archive of this version."""
        if not os.path.isfile(path):
            return False
        parse = self._pkg_resources.parse_version
        # zc.buildout 4 and later have their own copy of this module of setuptools.
        package_index = getattr(self._easy_install, "_package_index", None)
        if package_index is None:
            package_index = self._easy_install.setuptools.package_index
        for dist in package_index.distros_for_filename(path):
            try:
                if parse(dist.version or "") == parse(version):
                    return True
            except ValueError:
                if dist.version == version:
                    return True
        return False

    def _sha256(self, path):
        status = os.stat(path)
        known = path, status.st_size, status.st_mtime, status.st_ino
        if known not in self._digests:
            self._digests[known] = _host.sha256_of(path)
        return self._digests[known]


def _normalized(name):
    return _SEPARATORS.sub("-", name).lower()


def without_secrets(url):
    """A URL or path without what may be a secret: user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))[:_LONGEST_URL]


def _local_path(link):
    """The path that a link leads to; None if it leads to another machine."""
    if link.startswith("file:"):
        return urllib.request.url2pathname(urllib.parse.urlsplit(link).path)
    if "://" in link:
        return None
    return link
