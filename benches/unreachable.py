"""Measure how much longer a cold buildout takes when its remote is unreachable.

The same buildout runs in turn with an empty cache: without a remote, and with a remote that is unreachable
in each possible way. It requests every egg, would push each, and takes the archives from a download
cache on the same file system.
"""

import contextlib
import os
import socket
import subprocess

import buildouts
import contenders
import corpora
import filesystems
import measure
import populate
import results
from remote import faults, servers

NAME = "web-generation4"
ROUNDS = int(os.environ.get("ROUNDS", "5"))


class Drip(faults.Slow):
    """Sends one byte of an answer every second, without a server behind it."""

    def spoil(self, client, request, forward):
        super().spoil(client, request, lambda _: faults.Answer(200, [], bytes(1000)))


def unreachable():
    archives = populate.downloaded(NAME)
    with filesystems.fresh(filesystems.chosen()[0]) as place, away() as endpoints:
        figures = compared(archives, place.path, endpoints)
    version = corpora.PINNED[NAME][0]
    results.put("unreachable", {version: figures})
    print("%s %s" % (version, figures), flush=True)
    slowest = max(taken["wall"] for taken in figures.values())
    results.target("unreachable", round(slowest - figures["no remote"]["wall"], 2))


@contextlib.contextmanager
def away():
    """The endpoints of remotes that are unreachable, each in its own way."""
    [closed] = servers.free_ports(1)
    drip = Drip()
    with socket.create_server(("127.0.0.1", 0)) as silent, faults.Proxy(closed, lambda _: drip) as slow:
        yield {
            "refuses connections": "http://127.0.0.1:%d" % closed,
            "accepts connections and is silent": "http://127.0.0.1:%d" % silent.getsockname()[1],
            "sends a byte a second": "http://127.0.0.1:%d" % slow.port,
            # A network that is reserved for documentation (RFC 5737).
            "is behind a network that drops all packets": "http://192.0.2.1",
            "has an unknown host name": "http://storage.invalid",
        }


def compared(archives, folder, endpoints):
    buildout, setuptools, _ = corpora.PINNED[NAME]
    venv = buildouts.with_package(corpora.venv(buildout, setuptools), buildout, setuptools)
    here, key = os.path.join(folder, "archives"), os.path.join(folder, "key")
    subprocess.check_call(["cp", "-a", archives, here])
    measure.run([contenders.EGGCACHE, "-q", "keygen", key])
    os.environ["EGGCACHE_SIGNING_KEY"] = key

    def contender(way):
        def begin(into):
            buildouts.begun(NAME, into)
            if way in endpoints:
                command = [contenders.EGGCACHE, "-q", "--cache", os.path.join(into, "cache")]
                command += ["remote", "add", "team", "s3://eggs", "--endpoint", endpoints[way]]
                measure.run(command + ["--key", key + ".pub", "--push"])

        def command(into):
            options = "buildout:install-from-cache=true", "buildout:egg-cache=cache"
            return populate.build(venv, into, here, *options)

        def check(into):
            buildouts.installed(into)
            with open(os.path.join(into, "log")) as log:
                warnings = log.read().count("remote team: ")
            if warnings != (way in endpoints):
                raise measure.Failed("%d warnings about the remote" % warnings)

        return measure.Contender(way, command, [here], begin, check)

    left_out = {}
    ways = [contender(way) for way in ("no remote", *endpoints)]
    figures = measure.alternate(ways, folder, ROUNDS, "warm", left_out)
    if left_out:
        raise SystemExit("a buildout failed: %s" % left_out)
    return figures
