"""The digests by which buildout sees whether a recipe has changed, without reading all files of its directory.

Buildout digests the directory of each distribution in ``site-packages``, which are all files there, and that of
each develop egg: a tenth of the time of a run in which nothing is to do. The cache keeps such a digest by the
state of the directory: the names, sizes, times and inodes of its files. Whatever changes a file changes its
``ctime``, which no program can set. Only a file that was changed within the last seconds can change again
without a trace, since file systems count time in steps. Such a directory is read, and so is that of a develop
egg, of which each run writes files anew. So is one on a file system that has no ``ctime`` of its own, or counts it
in seconds: images that a program has made, FAT and sshfs.
"""

import hashlib
import locale
import os
import stat
import sys
import time

from eggcache import _speedups

#: The coarsest step in which a file system counts time (FAT), in nanoseconds.
_STEP = 2 * 10**9


class Signatures(object):
    """Answers ``_dir_hash`` of the module ``zc.buildout.buildout`` from the cache of a session."""

    def __init__(self, session, buildout):
        self._session = session
        self._buildout = buildout
        #: The time before which all files of a directory must have changed, in nanoseconds.
        self._limit = time.time() * 10**9 - _STEP

    def apply(self):
        """Replace the function, if its source is known. Python 2 does not tell the times of files exactly."""
        if sys.version_info[0] > 2:
            _speedups.replace(self._buildout, "_dir_hash", self._dir_hash)

    def _dir_hash(self, stock, directory):
        """Stock: digest the names and contents of all files below a directory, once in a process.

        Changed: a digest that the cache has for the state of the directory is returned.
        """
        known = self._buildout._dir_hashes
        state = None if directory in known else self._state(directory)
        if state is None:
            return stock(directory)
        signature = self._session.signature(state)
        if signature is None:
            signature = stock(directory)
            self._session.note_signature(state, signature)
        known[directory] = signature
        return signature

    def _state(self, directory):
        """A digest of what decides the result for a directory; None if it may change without a trace."""
        parser = self._buildout.zc.buildout.configparser
        who = os.geteuid(), os.getegid(), sorted(os.getgroups())
        found = [sys.version, who, locale.getpreferredencoding(False), parser.__file__, directory]
        found.append(_stamp(os.stat(parser.__file__)))
        newest = 0
        for folder, folders, names in os.walk(directory):
            folders[:] = sorted(set(folders).difference(self._buildout.ignore_directories))
            found.append((folder, folders))
            for name in sorted(names):
                if name.endswith(("pyc", "pyo")):
                    continue
                try:
                    status = os.stat(os.path.join(folder, name))
                except OSError:
                    continue  # buildout leaves out what does not exist
                if not stat.S_ISREG(status.st_mode) or status.st_ctime_ns % 10**9 == 0:
                    return None
                newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
                found.append((name, _stamp(status)))
        if newest > self._limit:
            return None
        return hashlib.sha256(repr(found).encode("utf-8")).hexdigest()


def _stamp(status):
    """What changes when a file does."""
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
