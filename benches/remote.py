"""Pulling eggs from an object store, against what else brings the same blobs from there.

The store is SeaweedFS on the loopback, so that it is the client that is measured. All of a corpus was
pushed before; each contender brings it into an empty folder, in turn. Both sign their requests.
"""

import contextlib
import json
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

import faults  # noqa: E402  it is not a package
import servers  # noqa: E402

TOOLS = os.path.join(corpora.BUILD, "venv", "bin")
AWS = os.path.join(TOOLS, "aws")
WEED = os.path.join(TOOLS, "weed")


def remote():
    for program in (AWS, WEED):
        if not os.path.exists(program):
            sys.exit("%s is missing: make build/bench/venv/bin/uv" % program)
    for corpus, eggs in corpora.chosen(("web",)).items():
        with filesystems.fresh(filesystems.chosen()[0]) as place, store(place) as weed:
            sections.put("remote", corpus, place, "warm", eggs, *pulled(place, eggs, weed))


@contextlib.contextmanager
def store(place):
    """SeaweedFS, and an environment in which its writer is who asks."""
    weed = servers.Weed(os.path.join(place.path, "weed"), WEED)
    before = dict(os.environ)
    nowhere = os.path.join(place.path, "nowhere")
    os.environ.update(
        AWS_ACCESS_KEY_ID=servers.ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=servers.SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        # Not the user's own.
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


def pulled(place, eggs, weed):
    """The figures of all contenders, and why others are left out."""
    cache = contenders.cache_of(place.path, contenders.copy_of(place, eggs))
    key = os.environ["EGGCACHE_SIGNING_KEY"]
    measure.run([contenders.EGGCACHE, "-q", "keygen", key])
    know(cache, weed.endpoint, key)
    measure.run([contenders.EGGCACHE, "-q", "--cache", cache, "push", "--all", "--to", "store"])
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
        Contender("eggcache", eggcache, prepare=lambda into: know(into, weed.endpoint, key), check=check),
        Contender("aws", aws, check=check),
    ]
    rounds = int(os.environ.get("ROUNDS", "7"))
    figures = measure.alternate(ready, place.path, rounds, "warm", left_out)
    # How many requests each makes is counted once more, through a proxy.
    with faults.Proxy(weed.ports["s3"]) as proxy:
        endpoint = "http://127.0.0.1:%d" % proxy.port
        into = os.path.join(place.path, "counted")
        know(into, endpoint, key)
        for name, command in (("eggcache", eggcache(into)), ("aws", aws(into + "-aws", endpoint))):
            before = len(proxy.requests)
            if name in figures:
                measure.run(command)
                figures[name]["requests"] = len(proxy.requests) - before
    return figures, left_out


def know(cache, endpoint, key):
    """Lets a cache know the store, and trust what was pushed there."""
    command = [contenders.EGGCACHE, "-q", "--cache", cache, "remote", "add", "store"]
    command += ["s3://" + servers.BUCKET, "--endpoint", endpoint, "--key", key + ".pub"]
    measure.run(command)


def pins_of(cache, place):
    """A file that pins all eggs of a cache, and their Python."""
    command = [contenders.EGGCACHE, "--json", "--cache", cache, "list"]
    eggs = json.loads(subprocess.check_output(command))["eggs"]
    pins = os.path.join(place.path, "pins.txt")
    with open(pins, "w") as file:
        file.writelines(sorted("%s==%s\n" % (egg["name"], egg["version"]) for egg in eggs))
    [python] = {egg["python"] for egg in eggs}
    return pins, python
