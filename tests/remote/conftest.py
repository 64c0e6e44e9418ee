"""Remotes on real servers, and on servers that fail in every known way.

SeaweedFS and nginx are started and stopped here, on free ports and with all their files in a temporary
folder. The program is the one that `make test` builds, or the one given in `EGGCACHE_PROGRAM`.
"""

import json
import os
import shutil
import subprocess
import time

import pytest

import eggs
import servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: Longer than a command waits for one request, even on a busy machine.
LONGEST = 150


def the_program():
    program = os.environ.get("EGGCACHE_PROGRAM") or os.path.join(ROOT, "target", "release", "eggcache")
    assert os.path.exists(program), "there is no %s: run `make build`" % program
    return os.path.abspath(program)


class Done:
    """The output, exit code and duration of a command."""

    def __init__(self, code, out, err, words, seconds=0.0, peak=0):
        self.code, self.out, self.err, self.words = code, out, err, words
        self.seconds, self.peak = seconds, peak

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def outcomes(self):
        """The outcome of each egg, from `push --json` or `pull --json`."""
        return {egg["file_name"]: egg["outcome"] for egg in self.json["eggs"]}

    def __str__(self):
        return "%s: %d\n%s%s" % (" ".join(self.words), self.code, self.out, self.err)


class Machine:
    """A machine with its own cache and an environment of only the given variables."""

    def __init__(self, folder, credentials=None, key=None):
        self.folder = folder
        self.folder.mkdir()
        self.cache = folder / "cache"
        self.program = the_program()
        names = ("PATH", "LANG", "TMPDIR")
        self.env = {name: os.environ[name] for name in names if name in os.environ}
        self.env.update(HOME=str(folder), EGGCACHE_DIR=str(self.cache), RUST_BACKTRACE="0")
        self.env.update(credentials or {})
        if key:
            self.env.update(EGGCACHE_SIGNING_KEY=str(key))

    def start(self, *words):
        words = [str(word) for word in words]
        return Running(subprocess.Popen(
            [self.program] + words, env=self.env, cwd=str(self.folder),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ), words)

    def run(self, *words, code=0):
        """Runs a command and expects this exit code, or any if it is None."""
        done = self.start(*words).done()
        assert code is None or done.code == code, str(done)
        return done

    def egg(self, name, version="1.0", **more):
        """Makes an egg and adds it to the cache."""
        egg = eggs.make(self.folder / "eggs", name, version, **more)
        self.run("-q", "add", egg)
        return os.path.basename(egg)

    def trusts(self, url, *keys, name="team", more=()):
        """Adds a remote on which these keys are trusted."""
        options = [word for key in keys for word in ("--key", key)]
        self.run("-q", "remote", "add", name, url, *options, *more)

    def push(self, *words, code=0):
        return self.run("--json", "push", "--to", "team", *(words or ["--all"]), code=code)

    def pull(self, *words, code=0):
        return self.run("--json", "pull", "--python", eggs.PYTHON, *words, code=code)

    def has(self):
        """The sorted file names of the eggs in the cache."""
        return sorted(egg["file_name"] for egg in self.run("--json", "list").json["eggs"])

    def is_sound(self):
        """Asserts that nothing in the cache is damaged and that no temporary file of a transfer is left."""
        self.run("-q", "verify")
        tmp = self.cache / "tmp"
        left = [path.name for path in tmp.iterdir() if path.name.startswith(".eggcache")]
        assert not left, left

    def materialized(self, *names):
        """Materializes eggs and returns every file with its bytes."""
        into = self.folder / ("out%d" % len(list(self.folder.iterdir())))
        self.run("-q", "materialize", "--into", into, *names)
        return eggs.contents(into)


class Running:
    """A running command."""

    def __init__(self, process, words):
        self.process, self.words, self.began = process, words, time.monotonic()

    def done(self, timeout=LONGEST):
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("%s has not ended after %d s" % (" ".join(self.words), timeout))
        seconds = time.monotonic() - self.began
        return Done(self.process.returncode, out.decode(), err.decode(), self.words, seconds)


class Keys:
    """Key pairs, created when first used."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def __call__(self, name="builders"):
        """Returns the files of the secret and the public key."""
        secret = self.folder / name
        if not secret.exists():
            subprocess.run(
                [the_program(), "-q", "keygen", str(secret)], check=True, stdout=subprocess.DEVNULL
            )
        return secret, self.folder / (name + ".pub")


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys")


@pytest.fixture
def machine(tmp_path):
    """Creates machines by name."""
    return lambda name, **more: Machine(tmp_path / name, **more)


@pytest.fixture(scope="session")
def _weed(tmp_path_factory):
    weed = servers.Weed(str(tmp_path_factory.mktemp("weed")))
    yield weed
    weed.kill()  # a clean stop takes long, and its data is not needed
    shutil.rmtree(weed.folder)


@pytest.fixture
def weed(_weed):
    """SeaweedFS, restarted if a test has killed it."""
    if _weed.process.poll() is not None:
        _weed.start()
    return _weed


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    nginx = servers.Nginx(str(tmp_path_factory.mktemp("nginx")))
    yield nginx
    nginx.stop()


@pytest.fixture
def folder(tmp_path):
    return servers.Folder(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    if not servers.Azurite.program:
        pytest.skip(servers.WITHOUT_AZURITE)
    azurite = servers.Azurite(str(tmp_path_factory.mktemp("azurite")))
    yield azurite
    azurite.stop()


@pytest.fixture
def store(weed):
    """The store of the pool; tests of every kind of store override this fixture."""
    return weed


@pytest.fixture
def pool(store, machine, keys, request):
    """Creates machines that use a part of the store reserved for this test: builders, which push, have
    credentials and a key; readers, which only pull, have neither."""
    prefix = request.node.name.replace("[", "-").replace("]", "")

    class Pool:
        def __init__(self):
            self.prefix = prefix

        def builder(self, name="builder", credentials=store.credentials):
            return self._knowing(machine(name, credentials=credentials, key=keys()[0]))

        def reader(self, name="reader"):
            return self._knowing(machine(name, credentials=store.nobody))

        def _knowing(self, it):
            it.trusts(store.url(prefix), keys()[1], more=store.options() + ["--push"])
            return it

        def point_at(self, it, port=None, key=None):
            """Points a machine at another port instead of the store's, or back at the store."""
            it.run("-q", "remote", "remove", "team")
            it.trusts(store.url(prefix), key or keys()[1], more=store.options(port))

        def blobs_are_whole(self, builder):
            """Whether every blob in the store equals one of the builder's, none of them cut short."""
            files = (builder.cache / "blobs").rglob("*")
            whole = [path.read_bytes() for path in files if path.is_file()]
            return all(store.read(name) in whole for name in self.names("blobs"))

        def names(self, folder):
            return store.names("%s/v1/%s" % (prefix, folder))

        def lists(self):
            """The lines of every list, by the name of the list."""
            found = {}
            for name in self.names("projects"):
                found[name] = [json.loads(line) for line in store.read(name).splitlines()]
            return found

    return Pool()
