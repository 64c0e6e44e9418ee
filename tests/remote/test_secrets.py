"""No secret is printed, logged, kept in a cache, put on a command line, or sent to somebody else."""

import base64
import json
import os

import pytest

import eggs
import faults
import servers

PASSWORD = "correct-horse-battery-staple"
WRONG = "another-secret-that-is-not-the-right-one"


@pytest.fixture
def builder(pool):
    """A builder whose signing key has a password."""
    builder = logging(pool.builder())
    builder.env["EGGCACHE_SIGNING_KEY_PASSWORD"] = PASSWORD
    builder.run("-q", "keygen", "secret.key")
    builder.env["EGGCACHE_SIGNING_KEY"] = str(builder.folder / "secret.key")
    builder.run("-q", "trust", "team", "secret.key.pub")
    builder.egg("alpha")
    return builder


def logging(machine):
    """Lets a machine log all that it can."""
    machine.env.update(EGGCACHE_LOG=str(machine.folder / "log"), EGGCACHE_LOG_LEVEL="trace")
    return machine


def secret_line(builder):
    """The secret key itself: the last line of its file."""
    return (builder.folder / "secret.key").read_text().splitlines()[-1]


def assert_kept(builder, *done):
    """No output, no file of the cache and no line of the log has a secret."""
    secrets = [servers.SECRET_KEY, PASSWORD, WRONG, secret_line(builder)]
    said = {" ".join(it.words): it.out + it.err for it in done}
    said["the log"] = (builder.folder / "log").read_text()
    assert "started command=" in said["the log"]
    for name, data in eggs.contents(builder.cache).items():
        said[name] = data.decode("latin-1")
    for where, text in said.items():
        for secret in secrets:
            assert secret not in text, "%s tells a secret" % where


WAYS = [["-v"], ["--json"], ["-v", "--log-format", "json"]]


def test_successful_commands_print_no_secret(builder):
    done = [builder.run(*way, "push", "--all") for way in WAYS]
    done += [builder.run(*way, "pull", "--python", eggs.PYTHON, "alpha==1.0") for way in WAYS]
    done += [builder.run(*way, "remote", "list") for way in WAYS]
    done += [builder.run(*way, "verify") for way in WAYS]
    assert_kept(builder, *done)


def test_a_wrong_store_secret_is_not_printed(builder, pool):
    builder.env["AWS_SECRET_ACCESS_KEY"] = WRONG
    done = [builder.run(*way, "push", "--all", code=1) for way in WAYS]
    assert all("403" in it.out + it.err for it in done)
    assert_kept(builder, *done)
    assert pool.names("") == []


def test_a_wrong_password_is_not_printed(builder):
    builder.env["EGGCACHE_SIGNING_KEY_PASSWORD"] = WRONG
    done = [builder.run(*way, "push", "--all", code=1) for way in WAYS]
    assert all("secret.key" in it.err and "password" in it.err for it in done), str(done[0])
    assert_kept(builder, *done)


def test_a_missing_password_is_reported(builder):
    del builder.env["EGGCACHE_SIGNING_KEY_PASSWORD"]
    done = builder.run("push", "--all", code=1)
    assert "EGGCACHE_SIGNING_KEY_PASSWORD" in done.err
    assert_kept(builder, done)


def test_a_secret_key_given_as_a_public_one_is_not_printed(builder):
    for words in (
        ["trust", "team", "secret.key"],
        ["trust", "team", secret_line(builder)],
        ["trust", "team", "--remove", secret_line(builder)],
        ["remote", "add", "other", "/srv/eggs", "--key", "secret.key"],
    ):
        done = builder.run(*words, code=2)
        # The words themselves are whoever's that wrote them.
        done.words = words[:1]
        assert "is not a public key" in done.err or "does not trust" in done.err, str(done)
        assert_kept(builder, done)


def test_a_url_with_a_secret_is_refused_without_printing_it(builder):
    for url in ("s3://me:%s@eggs", "https://me:%s@a b/", "ftp://me:%s@eggs", "https://eggs.example/?a=%s"):
        done = builder.run("remote", "add", "other", url % WRONG, code=2)
        done.words = ["remote", "add"]
        assert_kept(builder, done)
    for url in ("http://me:%s@127.0.0.1:1", "http://127.0.0.1:1/?a=%s", "ftp://me:%s@127.0.0.1"):
        words = ["remote", "add", "other", "s3://eggs", "--endpoint", url % WRONG]
        done = builder.run(*words, code=2)
        done.words = words[:2]
        assert_kept(builder, done)


def test_a_secret_key_file_is_private_and_lacks_its_password(builder):
    secret = builder.folder / "secret.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in secret.read_text() + (builder.folder / "secret.key.pub").read_text()
    secret.chmod(0o644)
    done = builder.run("push", "--all", code=1)
    assert "others can read it" in done.err
    assert_kept(builder, done)


def test_no_secret_is_on_a_command_line_or_in_a_request(builder, pool, weed):
    """The store is silent, so that there is time to look."""
    with faults.Proxy(weed.ports["s3"], lambda request: faults.Silent()) as proxy:
        pool.point_at(builder, proxy.port, "secret.key.pub")
        running = builder.start("push", "--to", "team", "--all")
        servers.wait_until(lambda: proxy.requests, "nothing is asked of the store")
        shown = b""
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % process, "rb") as file:
                    shown += file.read()
            except OSError:
                continue  # it has ended
        assert b"push" in shown
        running.process.kill()
        running.done()
        sent = repr([(it.path, it.headers, it.body) for it in proxy.requests])
    for secret in (servers.SECRET_KEY, PASSWORD, secret_line(builder)):
        assert secret.encode() not in shown
        assert secret not in sent


def test_credentials_are_not_sent_to_a_redirect_target(builder, pool, weed):
    """Neither the signature of a request nor a token is anybody else's."""
    builder.env["AWS_SESSION_TOKEN"] = WRONG
    with faults.Proxy(weed.ports["s3"], lambda request: faults.Status(404)) as elsewhere:
        # Another name for the loopback is another host.
        leads = lambda request: faults.Status(  # noqa: E731
            307, Location="http://localhost:%d%s" % (elsewhere.port, request.path)
        )
        with faults.Proxy(weed.ports["s3"], leads) as proxy:
            pool.point_at(builder, proxy.port, "secret.key.pub")
            done = builder.run("push", "--to", "team", "--all", code=1)
    assert not elsewhere.requests
    assert "remote team: it answers 307 Temporary Redirect" in done.err, str(done)
    assert_kept(builder, done)


def test_store_errors_are_printed_without_echoed_secrets(builder, pool, weed):
    """Some servers repeat the request in their error."""
    repeats = lambda request: faults.Status(400, repr(request.headers))  # noqa: E731
    builder.env["AWS_SESSION_TOKEN"] = WRONG
    with faults.Proxy(weed.ports["s3"], repeats) as proxy:
        pool.point_at(builder, proxy.port, "secret.key.pub")
        done = builder.run("push", "--to", "team", "--all", code=1)
    assert "it answers 400 Bad Request" in done.err, str(done)
    assert_kept(builder, done)


def test_pushing_without_credentials_is_refused(pool):
    builder = pool.builder(credentials=None)
    builder.egg("alpha")
    done = builder.run("push", "--all", code=1)
    assert "remote team" in done.err and "403" in done.err, done.err


def test_a_logged_request_names_its_object_but_no_query(builder, pool):
    builder.run("push", "--all")
    log = (builder.folder / "log").read_text().splitlines()
    assert any(' op="put" object="v1/entries/alpha/' in line for line in log)
    http = [line for line in log if ": http " in line]
    assert any("method=PUT" in line and "status=200" in line for line in http), http
    assert not any("?" in line for line in http), http
    assert_kept(builder)


SECRET = base64.b64encode(b"a secret of a cloud that nobody may see").decode()

#: The address of a store, and the variables that hold its credentials.
CREDENTIALS = {
    "S3": ("s3://eggs", {
        "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET,
    }),
    "a key of Azure": ("az://eggs", {
        "AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
    }),
    "a signature of Azure": ("az://eggs", {
        "AZURE_STORAGE_ACCOUNT_NAME": "me",
        "AZURE_STORAGE_SAS_KEY": "sv=2022-11-02&sig=" + SECRET.replace("=", "%3D"),
    }),
    "a bad signature of Azure": ("az://eggs", {
        "AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_SAS_KEY": SECRET,
    }),
    "a bad key of Google": ("gs://eggs", {"GOOGLE_SERVICE_ACCOUNT_KEY": SECRET}),
    "a bad private key of Google": ("gs://eggs", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({
        "private_key": SECRET, "private_key_id": SECRET, "client_email": "me@eggs.example",
    })}),
}


@pytest.mark.parametrize("store", CREDENTIALS)
def test_store_credentials_are_never_printed_or_logged(store, machine, keys):
    url, credentials = CREDENTIALS[store]
    reader = logging(machine("reader", credentials=credentials))
    with faults.Proxy(9, lambda request: faults.Status(403, repr(request.headers))) as proxy:
        endpoint = ["--endpoint", "http://127.0.0.1:%d" % proxy.port]
        reader.trusts(url, keys()[1], more=endpoint)
        done = [reader.run(*way, "pull", "--python", eggs.PYTHON, "a==1", code=1) for way in WAYS]
        assert bool(proxy.requests) != ("bad" in store)
    log = (reader.folder / "log").read_text()
    assert "opened a remote" in log or "bad" in store
    secret = SECRET.rstrip("=")
    assert secret not in log
    assert not any(secret in it.out + it.err for it in done), str(done[0])
