"""Demonstrate eggcache with a real buildout: `make demo`.

1. Run a buildout with eggs from PyPI, without a cache.
2. Run the same buildout with an empty cache, which it fills.
3. Run it in another folder, without network, from the cache.
4. Show that this buildout shares nothing with the cache or the other folders.
5. Move the cache and the other folders away, and run the application.

    python3 docs/demo/demo.py [--config FILE] [--buildout VERSION] [--setuptools VERSION]

The configuration may be any other with pyramid among its eggs.
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
    parser = argparse.ArgumentParser(description="Demonstrate eggcache with a real buildout.")
    parser.add_argument(
        "--config",
        default=os.path.join(HERE, "buildout.cfg"),
        help="a buildout configuration with pyramid among its eggs (default: buildout.cfg beside this script)",
    )
    parser.add_argument("--buildout", default="6.0.1", help="version of zc.buildout (default: %(default)s)")
    parser.add_argument("--setuptools", default="81.0.0", help="version of setuptools (default: %(default)s)")
    run_demo(parser.parse_args())


def run_demo(args):
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        sys.exit("The demo compiles a C extension and needs %s (Debian: apt install python3-dev)." % header)
    buildout = prepare(args.buildout, args.setuptools)
    print("1. Run a buildout without the cache. It downloads from PyPI, and pip builds the eggs.")
    stock = folder("stock", args.config)
    without, _ = run_buildout(stock, buildout, option="buildout:egg-cache=")
    print("   %.1f s for %d eggs\n" % (without, len(eggs(stock))))

    print("2. Run it with an empty cache. It makes eggs of the wheels without pip, and stores all eggs.")
    first = folder("first", args.config)
    cold, output = run_buildout(first, buildout)
    show(output)
    print("   %.1f s, %.1f times faster\n" % (cold, without / cold))

    print("3. Run it in another folder, without network. Its eggs come from the cache.")
    second = folder("second", args.config)
    warm, output = run_buildout(second, buildout, *without_network())
    show(output)
    print("   %.1f s, %.0f times faster than without the cache\n" % (warm, without / warm))

    print("4. Check that this buildout is independent.")
    check_independence(first, second)

    print("5. Move the cache and the other folders away. The application still runs.")
    for name in ("cache", "stock", "first"):
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
    """Install zc.buildout and eggcache into an environment; return the path of the buildout program."""
    if os.path.exists(DEMO):
        # Deleted at the end: some file systems create files slowly after deleting many.
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
    """Return a command prefix that disables the network, as far as this user may do that."""
    for wrapper in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        try:
            if subprocess.call(wrapper + ["true"], stderr=subprocess.DEVNULL) == 0:
                return wrapper
        except OSError:
            pass
    nowhere = "http://127.0.0.1:9"
    return ["env", "http_proxy=" + nowhere, "https_proxy=" + nowhere]


def run_buildout(path, buildout, *wrapper, option=None):
    options = [option] if option else []
    print("   $ cd %s; %s" % (relative(path), " ".join([*wrapper, "buildout", *options])))
    started = time.monotonic()
    done = subprocess.run(
        [*wrapper, buildout, *options],
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
    """Print the first lines of eggcache, which say where eggs come from, and its summary."""
    lines = [line for line in output.splitlines() if line.startswith("eggcache:")]
    for line in lines[:2] + (["..."] if len(lines) > 3 else []) + lines[2:][-1:]:
        print("   " + relative(line))


def check_independence(first, second):
    """Check that the second buildout has no hard link and no symlink that leads out of it, and the same
    eggs as the first."""
    cache = {identity(path) for path in entries(os.path.join(DEMO, "cache")) if is_file(path)}
    files = [path for path in entries(second) if is_file(path)]
    shared = [path for path in files if identity(path) in cache or os.lstat(path).st_nlink > 1]
    leaving = [
        path
        for path in entries(second)
        if os.path.islink(path) and not os.path.realpath(path).startswith(second + os.sep)
    ]
    same = contents(first) == contents(second)
    print("   files with hard links, to the cache or elsewhere: %d of %d" % (len(shared), len(files)))
    print("   symlinks that lead out of the buildout: %d" % len(leaving))
    print("   same eggs as in the folder before (names, bytes, modes, mtimes): %s\n" % ("yes" if same else "no"))
    if shared or leaving or not same:
        sys.exit("The second buildout is not independent: %s" % (shared or leaving or "its eggs differ"))


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
