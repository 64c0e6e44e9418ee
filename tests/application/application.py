"""An application of 90 eggs that eggcache has made of wheels does what it does with the eggs of pip.

``make application`` runs it: it builds Zope and Pyramid (benches/corpora/web.cfg) with stock buildout and with an
empty cache. Both import all modules, run all scripts, and answer requests from a database. Both do and write the
same, and ``eggcache check`` finds that no egg of the converted application has changed.

The archives and environments are those of the benchmarks, below build/bench.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "benches"))

import buildouts  # noqa: E402  benches/ is not a package
import corpora  # noqa: E402
import populate  # noqa: E402

NAME = "web"
IMPORT_ALL = os.path.join(HERE, "import_all.py")
PROGRAM = os.path.join(ROOT, "target", "release", "eggcache")
#: How long the server may take to start, in seconds.
PATIENCE = 60
USER, PASSWORD = "admin", "secret"
#: What is requested, whether by the manager of the site, and the status of the answer. One request adds a
#: folder to the database.
REQUESTS = (
    ("/", False, 200),
    ("/missing", False, 404),
    ("/manage_main", False, 401),
    ("/manage_addProduct/OFSP/manage_addFolder?id=shop", False, 401),
    ("/manage_addProduct/OFSP/manage_addFolder?id=shop", True, 200),
    ("/shop/title_or_id", True, 200),
    ("/manage_main", True, 200),
    ("/manage_findForm", True, 200),
)
#: What differs between two runs.
CHANGING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|Time .*")


def main():
    os.makedirs(corpora.BUILD, exist_ok=True)
    # It stays after a failure.
    folder = tempfile.mkdtemp(prefix="application-", dir=corpora.BUILD)
    # One after the other at one path, so that whatever names the path is the same.
    stock = what_it_does(folder, "buildout:egg-cache=")
    ours = what_it_does(folder, "buildout:egg-cache=" + os.path.join(folder, "cache"))
    there = [line for line in stock["modules"] if line.endswith(" is there")]
    assert len(there) > 800, stock["modules"]
    for what, expected in stock.items():
        assert_same(what, expected, ours[what])
    shutil.rmtree(folder)
    counts = tuple(len(stock[what]) for what in ("modules", "scripts", "answers", "files"))
    print("the same: %d modules, %d scripts, %d answers, and the names of %d files" % counts)


def what_it_does(folder, option):
    """Build the application, and return all that it does and writes, for comparison."""
    app = os.path.join(folder, "app")
    built(app, option)
    eggs = os.path.join(app, "eggs", "v5")
    is_converted = not option.endswith("=")
    if is_converted:
        check(app, folder)
    before = bytecode(eggs)
    found = {
        "modules": in_app(app, "bin/py", IMPORT_ALL, app).splitlines(),
        "scripts": {name: helped(app, name) for name in sorted(os.listdir(os.path.join(app, "bin")))},
        "answers": answers(app),
    }
    after = bytecode(eggs)
    assert_same("bytecode that was there", before, {path: after.get(path) for path in before})
    found["files"] = sorted(files(eggs))
    if is_converted:
        check(app, folder)
    os.rename(app, app + ("-converted" if is_converted else "-stock"))
    return found


def built(app, option):
    buildout, setuptools, _ = corpora.PINNED[NAME]
    venv = buildouts.with_package(corpora.venv(buildout, setuptools), buildout, setuptools)
    buildouts.begun(NAME, app)
    options = ["buildout:download-cache=" + populate.downloaded(NAME), "buildout:install-from-cache=true"]
    output = in_app(app, os.path.join(venv, "bin", "buildout"), "-U", option, *options)
    misses = re.search(r"^eggcache: .* (\d+) misses: (\d+) converted, 0 built", output, re.M)
    if option.endswith("="):
        assert not misses, output
    else:
        assert misses and misses[1] == misses[2] and int(misses[1]) >= 90, output


def check(app, folder):
    """Let the command compare all eggs with the cache, byte by byte."""
    command = PROGRAM, "--cache", os.path.join(folder, "cache"), "check", "--full", "."
    print(in_app(app, *command).splitlines()[-1])


def in_app(app, *command):
    """Run a command in a folder without settings of the user, and return what it prints."""
    done = run(app, command)
    if done.returncode != 0:
        sys.exit("%s fails:\n%s" % (" ".join(command), done.stdout))
    return done.stdout


def run(app, command, **kw):
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=app, env=environment(app), text=True, **streams, **kw)


def environment(app):
    theirs = ("PIP_", "PYTHON", "EGGCACHE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return dict(kept, HOME=app, PYTHONHASHSEED="0")


def helped(app, script):
    """What a script says about itself, its exit code and its text."""
    path = os.path.join(app, "bin", script)
    done = run(app, [path, "--help"], timeout=PATIENCE)
    with open(path) as file:
        return done.returncode, done.stdout, file.read()


def answers(app):
    """The answers of a server with a new database."""
    in_app(app, "bin/mkwsgiinstance", "-d", "instance", "-u", "%s:%s" % (USER, PASSWORD))
    with serving(app) as port:
        return {request: answer(port, *request) for request in REQUESTS}


@contextlib.contextmanager
def serving(app):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = os.path.join(app, "instance", "etc", "zope.ini")
    with open(settings) as file:
        text = file.read().replace("port = 8080", "port = %d" % port)
    with open(settings, "w") as file:
        # The log of requests needs Paste, which Zope does not require.
        file.write(text.replace("    translogger\n", ""))
    log = open(os.path.join(app, "server.log"), "w")
    command = ["bin/runwsgi", settings]
    server = subprocess.Popen(command, cwd=app, env=environment(app), stdout=log, stderr=log)
    try:
        wait_for(server, port)
        yield port
    finally:
        server.terminate()
        server.wait()
        log.close()


def wait_for(server, port):
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if server.poll() is not None or time.monotonic() > until:
            sys.exit("the server does not start")
        time.sleep(0.1)


def answer(port, path, is_manager, expected):
    """The page."""
    url = "http://127.0.0.1:%d" % port
    request = urllib.request.Request(url + path)
    if is_manager:
        manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
        manager.add_password(None, url, USER, PASSWORD, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    else:
        opener = urllib.request.build_opener()
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            status, page = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, page = error.code, error.read()
    assert status == expected, (path, status, page)
    return CHANGING.sub("...", page.decode().replace(str(port), "PORT"))


def bytecode(eggs):
    """Each compiled file, with its content."""
    found = {}
    for path in files(eggs):
        if path.endswith(".pyc"):
            with open(os.path.join(eggs, path), "rb") as file:
                found[path] = file.read()
    return found


def files(folder):
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), folder)


def assert_same(what, expected, found):
    if expected != found:
        one, other = (it if isinstance(it, dict) else dict(enumerate(it)) for it in (expected, found))
        keys = [key for key in [*one, *other] if one.get(key) != other.get(key)]
        sys.exit("%s: %r: %r and %r" % (what, keys[0], one.get(keys[0]), other.get(keys[0])))


if __name__ == "__main__":
    main()
