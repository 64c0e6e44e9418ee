"""Measure pushing eggs to an object store and pulling them, against another program that transfers the same
blobs.

The store is SeaweedFS on the loopback, so that the client is the bottleneck. In turn, each contender
transfers a whole corpus to an empty place in the store, and from there into an empty folder. All sign
their requests.
"""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys

import contenders
import corpora
import filesystems
import measure
import results
import sections
from measure import Contender, Failed

sys.path.insert(0, os.path.join(results.ROOT, "tests", "remote"))

import faults  # noqa: E402  tests/remote is not a package
import servers  # noqa: E402

FORK = multiprocessing.get_context("fork")
TOOLS = os.path.join(corpora.BUILD, "venv", "bin")
AWS = os.path.join(TOOLS, "aws")
WEED = os.path.join(TOOLS, "weed")


def remote():
    for program in (AWS, WEED):
        if not os.path.exists(program):
            sys.exit("%s is missing: run `make build/bench/venv/bin/uv`" % program)
    for corpus, eggs in corpora.chosen().items():
        with filesystems.fresh(filesystems.chosen()[0]) as place, store(place) as weed:
            cache = filled(place, eggs, weed)
            rounds = sections.rounds_for(eggs, 1)
            pull = pulled(place, cache, weed, rounds)
            # SeaweedFS has space for only two more copies of a large corpus.
            large = measure.contents(eggs)[1] >= sections.LARGE
            push = pushed(place, cache, weed, 1 if large else rounds)
            for name, (figures, left_out) in (("push", push), ("remote", pull)):
                sections.put(name, corpus, place, "warm", eggs, figures, left_out)


@contextlib.contextmanager
def store(place):
    """SeaweedFS, and an environment with the credentials of its writer."""
    weed = servers.Weed(os.path.join(place.path, "weed"), WEED)
    before = dict(os.environ)
    nowhere = os.path.join(place.path, "nowhere")
    os.environ.update(
        AWS_ACCESS_KEY_ID=servers.ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=servers.SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        # Without the user's own configuration.
        AWS_CONFIG_FILE=nowhere,
        AWS_SHARED_CREDENTIALS_FILE=nowhere,
        EGGCACHE_SIGNING_KEY=os.path.join(place.path, "key"),
    )
    try:
        yield weed
    finally:
        os.environ.clear()
        os.environ.update(before)
        weed.kill()


def filled(place, eggs, weed):
    """A cache with all eggs, which are then pushed to the store."""
    cache = contenders.cache_of(place.path, contenders.copy_of(place, eggs))
    key = os.environ["EGGCACHE_SIGNING_KEY"]
    measure.run([contenders.EGGCACHE, "-q", "keygen", key])
    know(cache, weed.endpoint)
    measure.run([contenders.EGGCACHE, "-q", "--cache", cache, "push", "--all", "--to", "store"])
    return cache


def pushed(place, cache, weed, rounds):
    """The figures of all contenders, each with its own target, and the reasons why others are left out."""
    blobs = os.path.join(cache, "blobs")
    expected = measure.contents(blobs)[0]

    def eggcache(into):
        return [contenders.EGGCACHE, "-q", "--cache", cache, "push", "--all", "--to", os.path.basename(into)]

    def aws(into, endpoint=weed.endpoint):
        target = "s3://%s/%s/v1/blobs" % (servers.BUCKET, os.path.basename(into))
        return [AWS, "s3", "sync", "--quiet", "--endpoint-url", endpoint, blobs, target]

    def begin(into, endpoint=weed.endpoint):
        know(cache, endpoint, os.path.basename(into), "/" + os.path.basename(into))

    def check(into):
        done = len(weed.names(os.path.basename(into) + "/v1/blobs"))
        if done != expected:
            raise Failed("%d blobs of %d" % (done, expected))

    left_out = {}
    ready = [
        Contender("eggcache", eggcache, [cache], begin, check),
        Contender("aws", aws, [cache], check=check),
    ]
    figures = measure.alternate(ready, place.path, rounds, "warm", left_out, warm_up=rounds > 1)

    def counted(name, endpoint):
        into = os.path.join(place.path, "counted-" + name)
        begin(into, endpoint)
        return eggcache(into) if name == "eggcache" else aws(into, endpoint)

    count(figures, weed, counted)
    return figures, left_out


def pulled(place, cache, weed, rounds):
    """The figures of all contenders, and the reasons why others are left out."""
    pins, python = pins_of(cache, place)
    expected = measure.contents(os.path.join(cache, "blobs"))

    def eggcache(into):
        command = [contenders.EGGCACHE, "-q", "--cache", into, "pull", "--requirements", pins]
        return command + ["--python", python]

    def aws(into, endpoint=weed.endpoint):
        source = "s3://%s/v1/blobs" % servers.BUCKET
        return [AWS, "s3", "sync", "--quiet", "--endpoint-url", endpoint, source, into]

    def check(into):
        blobs = os.path.join(into, "blobs")
        done = measure.contents(blobs if os.path.exists(blobs) else into)
        if done != expected:
            raise Failed("%d files, %d bytes of %d files, %d bytes" % (done + expected))

    left_out = {}
    ready = [
        Contender("eggcache", eggcache, prepare=lambda into: know(into, weed.endpoint), check=check),
        Contender("aws", aws, check=check),
    ]
    figures = measure.alternate(ready, place.path, rounds, "warm", left_out)

    def counted(name, endpoint):
        into = os.path.join(place.path, "counted-" + name)
        if name == "aws":
            return aws(into, endpoint)
        know(into, endpoint)
        return eggcache(into)

    count(figures, weed, counted)
    return figures, left_out


def count(figures, weed, command):
    """Count the requests of each contender that has figures, in one more run through a proxy."""
    for name in figures:
        queue = FORK.SimpleQueue()

        def run():
            with faults.Proxy(weed.ports["s3"]) as proxy:
                measure.run(command(name, "http://127.0.0.1:%d" % proxy.port))
                queue.put(len(proxy.requests))

        # In a process of its own, because the proxy holds whole blobs in memory, which would otherwise
        # count as memory of the next command.
        proxy = FORK.Process(target=run)
        proxy.start()
        proxy.join()
        if proxy.exitcode == 0:
            figures[name]["requests"] = queue.get()
        else:
            print("!!! requests of %s are not counted" % name, file=sys.stderr, flush=True)


def know(cache, endpoint, name="store", prefix=""):
    """Add a place of the store as a trusted remote of a cache."""
    command = [contenders.EGGCACHE, "-q", "--cache", cache, "remote", "add", name]
    command += ["s3://" + servers.BUCKET + prefix, "--endpoint", endpoint]
    measure.run(command + ["--key", os.environ["EGGCACHE_SIGNING_KEY"] + ".pub"])


def pins_of(cache, place):
    """A file that pins all eggs of a cache, and their version of Python."""
    command = [contenders.EGGCACHE, "--json", "--cache", cache, "list"]
    eggs = json.loads(subprocess.check_output(command))["eggs"]
    pins = os.path.join(place.path, "pins.txt")
    with open(pins, "w") as file:
        file.writelines(sorted("%s==%s\n" % (egg["name"], egg["version"]) for egg in eggs))
    [python] = {egg["python"] for egg in eggs}
    return pins, python
