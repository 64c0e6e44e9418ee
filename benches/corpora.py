"""The eggs to measure with: pinned configurations, each built once below build/bench/corpora.

    python3 benches/corpora.py [NAME ...]     build what is missing and print the eggs directories

`BENCH_EGGS="NAME=DIRECTORY ..."` names existing eggs directories to measure instead; a directory without
a name is named after its last component.
"""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(HERE), "build", "bench")
# For each configuration: the versions of zc.buildout and setuptools, and its eggs directory.
PINNED = {
    "web": ("6.0.1", "81.0.0", "eggs/v5"),
    "web-generation4": ("4.2.0", "79.0.1", "eggs"),
    "plone": ("6.0.1", "81.0.0", "eggs/v5"),
    "scientific": ("6.0.1", "81.0.0", "eggs/v5"),
}


def eggs(name):
    """The eggs directory of a corpus, built if necessary."""
    given = named()
    if name in given:
        return given[name]
    buildout, setuptools, place = PINNED[name]
    folder = os.path.join(BUILD, "corpora", name)
    built = os.path.join(folder, *place.split("/"))
    if not os.path.exists(os.path.join(folder, "complete")):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        shutil.copy(os.path.join(HERE, "corpora", name + ".cfg"), os.path.join(folder, "buildout.cfg"))
        program = os.path.join(venv(buildout, setuptools), "bin", "buildout")
        print("building the eggs of %s, which takes minutes" % name, file=sys.stderr, flush=True)
        # Without the user's own configuration, which may set a cache or a shared eggs directory.
        run([program, "-U"], os.path.join(BUILD, name + ".log"), cwd=folder)
        open(os.path.join(folder, "complete"), "w").close()
    return built


def chosen(default=("web", "scientific")):
    """Names and eggs directories of the corpora to measure."""
    given = named()
    return given or {name: eggs(name) for name in default}


def named():
    given = {}
    for word in os.environ.get("BENCH_EGGS", "").split():
        name, _, directory = word.rpartition("=")
        directory = os.path.abspath(directory)
        if not os.path.isdir(directory):
            sys.exit("BENCH_EGGS: %s is not a directory" % directory)
        given[name or os.path.basename(directory)] = directory
    return given


def venv(buildout, setuptools):
    """An environment with these versions, made once."""
    folder = os.path.join(BUILD, "buildout-" + buildout)
    if not os.path.exists(os.path.join(folder, "bin", "buildout")):
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", folder])
        pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "-q"]
        pins = ["zc.buildout==" + buildout, "setuptools==" + setuptools, "wheel==0.48.0"]
        subprocess.check_call(pip + ["--disable-pip-version-check"] + pins)
    return folder


def run(command, log, **options):
    """Run a command with its output in a file, and name that file if the command fails."""
    with open(log, "w") as output:
        if subprocess.call(command, stdout=output, stderr=subprocess.STDOUT, **options) != 0:
            sys.exit("%s failed, see %s" % (os.path.basename(command[0]), log))


if __name__ == "__main__":
    for corpus in sys.argv[1:] or PINNED:
        print(eggs(corpus))
