"""The main job, shown: `make demo`.

A real buildout, from PyPI. The same buildout in another folder, without network, from the cache.
Then the cache and the first folder go away, and the application still runs.

    python3 docs/demo/demo.py [--config FILE] [--buildout VERSION] [--setuptools VERSION]

Any other configuration that has pyramid among its eggs can be shown as well.
"""

import argparse
import atexit

import glob
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEMO = os.path.join(ROOT, "build", "demo")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=os.path.join(HERE, "buildout.cfg"))
    parser.add_argument("--buildout", default="6.0.1")
    parser.add_argument("--setuptools", default="81.0.0")
    show_main_job(parser.parse_args())


def show_main_job(args):
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        sys.exit("The demo compiles C and needs %s (on Debian: apt install python3-dev)." % header)
    buildout = prepare(args.buildout, args.setuptools)
    print("1. A buildout from PyPI, in one folder. It fills the cache.")
    first = folder("first", args.config)
    cold, output = run_buildout(first, buildout)
    show(output)
    print("   %.1f s for %d eggs\n" % (cold, len(eggs(first))))

    print("2. The same buildout in another folder, without network. It takes from the cache.")
    second = folder("second", args.config)
    warm, output = run_buildout(second, buildout, *without_network())
    show(output)
    print("   %.1f s, %.0f times faster\n" % (warm, cold / warm))

    print("3. The second buildout stands on its own.")
    prove(first, second)

    print("4. The cache and the first folder go away. The application runs.")
    for name in ("cache", "first"):
        os.rename(os.path.join(DEMO, name), os.path.join(DEMO, name + "-moved-away"))
    if "netifaces" in open(args.config).read():
        code = "import netifaces; print('compiled:', netifaces.__file__)"
        print("   $ bin/py -c 'import netifaces; ...'")
        print("   " + relative(output_of([second + "/bin/py", "-c", code])).strip())
    print("   $ bin/pdistreport")
    report = output_of([second + "/bin/pdistreport"]).splitlines()
    packages = [line.strip() for line in report if line.startswith("  ") and line[2] != " "]
    print("   %s, packages: %s, ..." % (report[0].strip(), ", ".join(packages[:2])))


def prepare(buildout, setuptools):
    """Make an environment with a buildout and this eggcache; answer the path of the buildout."""
    if os.path.exists(DEMO):
        # Removed at the end: some file systems create files slowly after removing many.
        before = tempfile.mkdtemp(prefix="demo-before-", dir=os.path.dirname(DEMO))
        os.rename(DEMO, os.path.join(before, "demo"))
        atexit.register(shutil.rmtree, before, ignore_errors=True)
    os.makedirs(DEMO)
    venv = os.path.join(ROOT, "build", "demo-venv-" + buildout)
    [wheel] = glob.glob(os.path.join(ROOT, "dist", "eggcache-*.whl"))
    pip = [venv + "/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if not os.path.exists(pip[0]):
        subprocess.check_call([sys.executable, "-m", "venv", venv])
    pins = ["zc.buildout==" + buildout, "setuptools==" + setuptools, "wheel==0.48.0"]
    subprocess.check_call(pip + pins)
    subprocess.check_call(pip + ["--force-reinstall", "--no-deps", wheel])
    return venv + "/bin/buildout"


def folder(name, config):
    path = os.path.join(DEMO, name)
    os.makedirs(path)
    with open(config) as file:
        text = file.read()
    if "egg-cache" not in text:
        text = text.replace("[buildout]\n", "[buildout]\negg-cache = ../cache\n", 1)
    with open(os.path.join(path, "buildout.cfg"), "w") as file:
        file.write(text)
    return path


def without_network():
    """A command that runs another without network, as well as this user may do that."""
    for wrapper in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        try:
            if subprocess.call(wrapper + ["true"], stderr=subprocess.DEVNULL) == 0:
                return wrapper
        except OSError:
            pass
    nowhere = "http://127.0.0.1:9"
    return ["env", "http_proxy=" + nowhere, "https_proxy=" + nowhere]


def run_buildout(path, buildout, *wrapper):
    print("   $ cd %s; %s" % (relative(path), " ".join(wrapper + ("buildout",))))
    started = time.monotonic()
    done = subprocess.run(
        list(wrapper) + [buildout],
        cwd=path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        sys.exit("%s\nbuildout failed in %s" % (done.stdout, path))
    return seconds, done.stdout


def show(output):
    for line in output.splitlines():
        if line.startswith("eggcache:"):
            print("   " + relative(line))


def prove(first, second):
    """That nothing is shared with the cache and nothing leads out of the buildout; and that both
    buildouts have the same eggs."""
    cache = {identity(path) for path in entries(os.path.join(DEMO, "cache")) if is_file(path)}
    files = [path for path in entries(second) if is_file(path)]
    shared = [path for path in files if identity(path) in cache or os.lstat(path).st_nlink > 1]
    leaving = [
        path
        for path in entries(second)
        if os.path.islink(path) and not os.path.realpath(path).startswith(second + os.sep)
    ]
    same = contents(first) == contents(second)
    print("   %d files, %d of them share an inode with the cache" % (len(files), len(shared)))
    print("   %d links leave the buildout" % len(leaving))
    print("   names, bytes, modes and mtimes of its eggs equal the first's: %s\n" % same)
    if shared or leaving or not same:
        sys.exit("That should not be: %s" % (shared or leaving or "the eggs differ"))


def eggs(path):
    found = os.path.join(path, "eggs", "**", "*.egg")
    return [egg for egg in glob.glob(found, recursive=True) if os.path.isdir(egg)]


def contents(path):
    found = {}
    for egg in eggs(path):
        for entry in [egg] + list(entries(egg)):
            info = os.lstat(entry)
            data = open(entry, "rb").read() if is_file(entry) else None
            found[os.path.relpath(entry, path)] = info.st_mode, info.st_mtime_ns, data
    return found


def entries(path):
    for parent, directories, files in os.walk(path):
        for name in directories + files:
            yield os.path.join(parent, name)


def is_file(path):
    return stat.S_ISREG(os.lstat(path).st_mode)


def identity(path):
    info = os.lstat(path)
    return info.st_dev, info.st_ino


def output_of(command):
    return subprocess.check_output(command, universal_newlines=True)


def relative(text):
    return text.replace(ROOT + os.sep, "")


if __name__ == "__main__":
    main()
