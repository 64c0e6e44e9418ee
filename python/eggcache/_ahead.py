"""Fetch ahead what buildout will request: the pages of pinned projects in its index, and their archives.

Buildout asks its index for one project after another, and downloads one archive after another. Threads
make the same requests before it does, and buildout gets the answers in place of its own
(`Patches.open_url`). So it chooses and checks as always. Which requests these are is a guess: a page that
buildout would read, of a project that something requires, and the wheel of the pinned version on it. A wrong
guess costs the request.

A wheel that has come says what it requires. Where wheels are converted, the program makes its egg before
buildout asks for it.

Only buildouts are served whose requests this module understands; see `Ahead._is_plain`.
"""

import functools
import os
import sys
import time

from eggcache import _bridge, _compat, _fetcher, _host, _options, _requests
from eggcache._log import logger
from eggcache._requirements import canonical, pinned_version, scheme_of, sha256_of_link

#: Methods of buildout's index that make requests. If somebody has replaced one, its requests are others.
_METHODS = ("open_url", "process_url", "download", "_download_to", "_attempt_download")

#: The module of the index that zc.buildout before 4 uses.
_OF_SETUPTOOLS = "setuptools.package_index"

#: Hosts for which an index needs no https.
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

#: The longest page that is read, in bytes.
_LONGEST_PAGE = 64 << 20

#: An index that answers so soon, in seconds, is as near as a mirror on this machine. Unless wheels are converted
#: meanwhile, fetching ahead from it takes more time than it saves.
_NEAR = 0.005

#: How long to wait before each further attempt after a refusal that does not say how long, in seconds.
_WAITS = 1, 2, 4, 8

#: The longest such time that a server may demand, in seconds.
_LONGEST_WAIT = 30


def ahead_for(session):
    """The `Ahead` of a session; None if this run is to fetch nothing ahead.

    So it is if this buildout requests archives in a way that is not known.
    """
    if not _is_wanted(session):
        return None
    package_index = session.places.package_index
    if not _is_own(package_index, getattr(session.easy_install, "AllowHostsPackageIndex", None)):
        return None
    return Ahead(session, package_index)


def _is_wanted(session):
    """Whether wheels are converted in this run, or buildout unpacks them itself, as it does before 5.

    In Python 2, an import in a thread waits until buildout has imported the recipe that waits for the thread.
    """
    if session.converter is not None:
        return True
    unpacks = _host.generation(session.easy_install) < 5 and sys.version_info[0] > 2
    return unpacks and not _options.is_changed(session.options, "egg-cache-convert")


class Ahead(object):
    """Fetches ahead for one session. Only `_read_page` and `_read_archive` run in threads."""

    def __init__(self, session, package_index):
        self._pkg_resources = session.easy_install.pkg_resources
        self._chooser = session.chooser
        self._copier = session.copier
        self._custom = session.custom
        #: None if buildout unpacks wheels itself.
        self._converter = session.converter
        self._package_index = package_index
        self._index_class = getattr(session.easy_install, "AllowHostsPackageIndex", None)
        self._show_progress = session.show_progress
        self._requests = _requests.Requests(package_index)
        self.fetcher = None
        #: The module, from the first request on.
        self._wheels = None
        self._is_over = False
        #: How many archives have come.
        self.archives = 0
        #: Whether a server has gone on refusing requests.
        self._goes_on_refusing = False
        #: The shortest time that a page took to begin to come, in seconds.
        self._nearest = float("inf")
        #: Names in folders of `find-links`, by path.
        self._names = {}

    def want(self, installer, requirement):
        """Fetch the page of a pinned project, whose egg the cache does not have, and then its archive."""
        self._attempt(self._want, installer, requirement)

    def _attempt(self, method, *args):
        """Call a method. If it fails, buildout does without what is fetched ahead."""
        try:
            return method(*args)
        except _bridge.BridgeError:
            raise
        except Exception as error:
            logger.warning("nothing more is fetched ahead (%s: %s).", type(error).__name__, error)
            self.stop()
            return None

    def _want(self, installer, requirement):
        pin = pinned_version(requirement)
        if pin is None or self._is_over or self._is_vain or self._custom.includes(requirement.project_name):
            return
        if not self._is_plain(installer, canonical(requirement.project_name)):
            return
        index = installer._index
        url = index.index_url + _name_of_page(index, requirement) + "/"
        if url in index.fetched_urls or not self._may_request(index, url):
            return
        if self.fetcher is None:
            self._start(installer._dest)
        self.fetcher.want(url, "page", functools.partial(self._read_page, installer, requirement, pin))

    @property
    def _is_vain(self):
        """Whether buildout would have to wait too little."""
        return self._converter is None and self._nearest < _NEAR

    def take(self, url):
        """The answer of an address that was requested ahead; else None."""
        return self._attempt(self._take, url)

    def _take(self, url):
        if self._is_over:
            return None
        self.pump()
        return None if self.fetcher is None else self.fetcher.take(url, self.pump)

    def unless_refused(self, request):
        """The answer of ``request()``, made again some times if the server refuses it because it got too many ahead."""
        answer = request()
        for seconds in _WAITS:
            if not _is_refused(answer) or self._goes_on_refusing:
                return answer
            if self.fetcher is None or not self.fetcher.was_refused:
                return answer
            answer.close()
            time.sleep(_retry_after(answer) or seconds)
            answer = request()
        self._goes_on_refusing = _is_refused(answer)
        return answer

    def pump(self):
        """Act on what has come."""
        for handle, arguments in self.fetcher.events() if self.fetcher else ():
            handle(*arguments)
        self._show_progress()

    @property
    def bytes(self):
        """How many bytes have come."""
        return 0 if self.fetcher is None else self.fetcher.bytes

    def stop(self):
        """Fetch nothing more."""
        self._is_over = True
        if self.fetcher is not None:
            self.fetcher.stop()

    # -- What buildout would request

    def _start(self, dest):
        # Here, since most runs fetch nothing ahead, and a thread had better import nothing.
        from eggcache import _wheels

        self._wheels = _wheels
        self._requests.prepare()
        self.fetcher = _fetcher.Fetcher(self._copier.spool(dest), self._requests.open)

    def _is_plain(self, installer, project):
        """Whether buildout would look for the archives of a project in an index on the web, and nowhere else."""
        index = installer._index
        if installer._dest is None or installer._install_from_cache or installer._download_cache:
            return False
        if tuple(installer._allow_hosts) != ("*",) or not index.allows("any.example/"):
            return False
        if self._converter is not None and not self._converter.is_usable():
            return False
        return not any(self._may_have(link, project) for link in installer._links)

    def _may_have(self, link, project):
        """Whether an entry of ``find-links`` may have an archive of a project."""
        scheme = scheme_of(link)
        if scheme not in ("", "file"):
            return True
        path = link if not scheme else _compat.url2pathname(_compat.urlsplit(link).path)
        if path not in self._names:
            is_folder = os.path.isdir(path) and not os.path.exists(os.path.join(path, "index.html"))
            self._names[path] = [canonical(name) for name in os.listdir(path)] if is_folder else None
        names = self._names[path]
        return names is None or any(name.startswith(project + "-") for name in names)

    def _may_request(self, index, url):
        """Whether a request needs no credentials, and is made by ``urllib`` alone."""
        parts = _compat.urlsplit(url)
        is_known = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS
        )
        if not is_known or "@" in parts.netloc or parts.query:
            return False
        if not _is_own(self._package_index, self._index_class):
            # An extension has replaced them meanwhile.
            return False
        if not self._requests.equal_those_of(index.opener):
            return False
        try:
            return not self._package_index.PyPIConfig().find_credential(url)
        except Exception:
            # Buildout would report what is wrong with the file.
            return False

    # -- What has come

    def _read_page(self, installer, requirement, pin, answer):
        """In a thread: find the wheel that buildout would choose on a page of the index."""
        self._nearest = min(self._nearest, answer.seconds)
        if "html" not in answer.headers.get("content-type", "").lower() or answer.bytes > _LONGEST_PAGE:
            return None
        with open(answer.path, "rb") as file:
            page = file.read().decode("latin-1")
        best = self._wheels.best_wheel(self._package_index, page, answer.url, requirement.project_name, pin)
        return best and (self._page_has_come, (installer, requirement, best))

    def _page_has_come(self, installer, requirement, dist):
        """Fetch the archive, unless the cache has its egg."""
        offered = self._chooser.of_link(installer, dist, requirement)
        if offered:
            self._copier.copy_ahead([offered], installer._dest)
            return
        if self._is_vain:
            return
        url = dist.location
        parts = _compat.urlsplit(url)
        if parts.scheme == _compat.urlsplit(installer._index.index_url).scheme and self._may_request(
            installer._index, url.partition("#")[0]
        ):
            name = os.path.basename(parts.path)
            self.fetcher.want(url, name, functools.partial(self._read_archive, installer, requirement, url))

    def _read_archive(self, installer, requirement, url, answer):
        """In a thread: check a wheel, and see what it requires."""
        sha256 = _host.sha256_of(answer.path)
        if sha256 != sha256_of_link(url):
            raise _fetcher.Unwanted()
        required = self._wheels.requirements_of(self._pkg_resources, answer.path, requirement.extras)
        return self._archive_has_come, (installer, answer.path, sha256, required)

    def _archive_has_come(self, installer, path, sha256, required):
        """Expect what the wheel requires. If wheels are converted, let the program make the egg."""
        self.archives += 1
        if self._converter is not None and os.path.exists(path):
            self._converter.prepare(path, sha256, installer._dest)
        self._copier.expect(installer, required)


def _is_refused(answer):
    """Whether buildout has got a refusal: it takes the exception of ``urllib`` as an answer."""
    code = getattr(answer, "code", None)
    return code is not None and _fetcher.is_refusal(code)


def _retry_after(answer):
    """How many seconds a refusal says to wait, within limits; None if it says nothing like that."""
    try:
        seconds = int(answer.headers.get("Retry-After"))
    except (AttributeError, TypeError, ValueError):
        return None
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else None


def _name_of_page(index, requirement):
    """The name of a project as `find_packages` of an index spells it: that of setuptools does not normalize it."""
    name = getattr(requirement, "unsafe_name", requirement.project_name)
    return name if index.find_packages.__module__ == _OF_SETUPTOOLS else canonical(name)


def _is_own(package_index, index_class):
    """Whether the functions that make requests are those of buildout, or of setuptools before buildout 4."""
    module = str(package_index.__name__)
    if module != _OF_SETUPTOOLS and not module.startswith("zc.buildout."):
        return False
    own = module, "zc.buildout.patches"
    functions = [getattr(index_class, name, None) for name in _METHODS]
    functions += [getattr(package_index, name, None) for name in ("open_with_auth", "PyPIConfig", "HashChecker")]
    return all(getattr(function, "__module__", None) in own for function in functions)
