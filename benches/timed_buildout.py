"""Run a buildout and measure where its time goes.

    python timed_buildout.py FILE [ARGUMENT ...]

runs zc.buildout with the arguments, in the current Python, and writes to FILE the seconds of each part of
the work and how often it was entered. Entering a part within another one stops the clock of the outer
one. The wrapped functions are called a few thousand times, so the clocks themselves cost little.
"""

import functools
import json
import sys
import time


class Clocks:
    """Clocks of all parts, of which one runs at any time."""

    def __init__(self):
        self.seconds = {}
        self.counts = {}
        self.stack = []
        self.since = 0

    def begin(self, part):
        self._charge()
        self.counts[part] = self.counts.get(part, 0) + 1
        self.stack.append(part)

    def end(self):
        self._charge()
        self.stack.pop()

    def _charge(self):
        now = time.perf_counter()
        if self.stack:
            part = self.stack[-1]
            self.seconds[part] = self.seconds.get(part, 0) + now - self.since
        self.since = now

    def wrap(self, part, owner, *names):
        """Count functions of a module or a class as a part; `part` may depend on their arguments."""
        for name in names:
            stock = owner.__dict__.get(name)
            if stock is not None:  # not in every version
                is_static = isinstance(stock, staticmethod)
                wrapped = self._wrapped(part, stock.__func__ if is_static else stock)
                setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)

    def _wrapped(self, part, stock):
        @functools.wraps(stock)
        def wrapped(*args, **kw):
            self.begin(part(*args) if callable(part) else part)
            try:
                return stock(*args, **kw)
            finally:
                self.end()

        return wrapped


def main():
    clocks = Clocks()
    clocks.begin("imports")
    file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    from zc.buildout import buildout, easy_install

    wrap(clocks, buildout, easy_install)
    clocks.end()
    clocks.begin("the rest")
    try:
        buildout.main()
    finally:
        clocks.end()
        with open(file, "w") as output:
            json.dump({"seconds": clocks.seconds, "counts": clocks.counts}, output)


def wrap(clocks, buildout, easy_install):
    pkg_resources = easy_install.pkg_resources
    installer = easy_install.Installer
    clocks.wrap("configuration", buildout.Buildout, "__init__")
    clocks.wrap("resolving", installer, "install", "_get_dist", "_satisfied")
    scans = "_make_env", "_env_rescan_dest", "_get_dest_dist_paths", "_eggify_env_dest_dists"
    clocks.wrap("environments", installer, *scans)
    clocks.wrap("environments", pkg_resources.Environment, "__init__", "scan")
    clocks.wrap("environments", pkg_resources.WorkingSet, "__init__", "add_entry")
    clocks.wrap("metadata", pkg_resources.Distribution, "_build_dep_map", "_get_version")
    clocks.wrap("metadata", pkg_resources.DistInfoDistribution, "_compute_dependencies")
    clocks.wrap("metadata", easy_install, "_get_matching_dist_in_location")
    clocks.wrap("scripts", easy_install, "scripts")
    clocks.wrap("signatures", buildout, "_dists_sig")
    try:
        from eggcache import _bridge, _session
    except ImportError:
        return
    clocks.wrap("bridge: start", _bridge.Bridge, "__init__")
    clocks.wrap(lambda _, op, *others: "bridge: " + op, _bridge.Bridge, "call", "post")
    clocks.wrap("eggcache", _session.Session, "open", "choose", "same_as", "expect", "materialize")
    clocks.wrap("eggcache", _session.Session, "built", "store_installed", "close")


if __name__ == "__main__":
    main()
