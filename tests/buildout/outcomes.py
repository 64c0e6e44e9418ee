"""What runs of a configuration have left, and how two of them differ."""

import difflib
import itertools
import os
import re
import shutil

from universe import run

#: Files in an egg that differ between two builds of it.
VOLATILE = re.compile(r".*\.pyc$|.*/RECORD$|.*/direct_url\.json$")

#: The time in a file of picked versions that a second run has extended.
ADDED_AT = re.compile(rb"(?<=# Added by buildout at )[\d .:-]+")


#: Files that name the option itself.
CONFIGURATION = "buildout.cfg", "base.cfg", "last.cfg"


class Outcome:
    """What a run has left."""

    def __init__(self, path, status, output, generation):
        self.status = status
        self.output = normalized(output)
        self.raw = output
        self.files = {name: it for name, it in files(path, generation) if name not in CONFIGURATION}

    def has_two_versions(self):
        """Whether eggs of two versions of one project are installed."""
        eggs = {egg_of(path) for path in self.files} - {None}
        return len({egg.split("-")[0].lower() for egg in eggs}) < len(eggs)


#: The begin of lines that the cache adds, or leaves out because nothing is requested or built: requests
#: to an index, in buildouts before 5, and the output of builds.
OWN = (
    "eggcache",
    "egg-cache = ",
    "root: ",
    "warning: ",
    "WARNING: The easy_install command is deprecated",
    "Couldn't find index page for ",
)
#: What setuptools writes when it builds an egg for buildout 2.
ANALYSIS = re.compile(r"zip_safe flag not set|\S+: module references ")
#: What buildout adds to the commands of pip after the first one, which may be of an egg that the cache has.
NOT_FIRST = ", '--no-python-version-warning'"
#: Lines of a traceback, where the cache has frames of its own.
FRAMES = ("Traceback ", '  File "', "    ")


def normalized(output):
    """The lines of a run that must be the same, without the names of temporary folders."""
    lines = [line for line in output.splitlines() if line and not line.startswith(OWN + FRAMES)]
    lines = [line.replace(NOT_FIRST, "") for line in lines if not ANALYSIS.match(line)]
    return [re.sub(r"/tmp\w*/(?!pytest)[^\s'\"]*|\btmp[a-z0-9_]{8}\b", "/tmp/...", line) for line in lines]


def files(path, generation):
    """The mode and content of each file that counts, by its path.

    Buildout before 5 gives the files of an egg the modes that its wheel says. With the cache, as with later
    buildouts, the umask decides on all but the executable bit.
    """
    in_eggs = 0o777 if generation >= 5 else 0o100
    for folder, directories, names in os.walk(str(path)):
        for name in names + [it for it in directories if os.path.islink(os.path.join(folder, it))]:
            full = os.path.join(folder, name)
            relative = os.path.relpath(full, str(path))
            if VOLATILE.match(relative) or not os.path.exists(full):
                continue
            with open(full, "rb") as file:
                content = ADDED_AT.sub(b"", file.read())
            if relative.endswith(".so"):
                # Its debugging information names the temporary folder in which it was built.
                content = b"%d bytes" % len(content)
            bits = in_eggs if relative.startswith("eggs" + os.sep) else 0o777
            yield relative, (os.stat(full).st_mode & bits, content)


def outcomes(universe, configuration, cache, runs=None, installed=()):
    """The outcomes of runs of a configuration in a new folder, which always has the same path.

    ``runs`` are those of the configuration unless others are given. The eggs ``installed`` are in the eggs
    directory before.
    """
    path = universe.app
    shutil.rmtree(str(path), ignore_errors=True)
    path.mkdir()
    if configuration.develops:
        source = path / "src"
        source.mkdir()
        (source / "setup.py").write_text(
            "from setuptools import setup\n"
            "setup(name='alpha', version='1.0.dev0', py_modules=['alpha'])\n"
        )
        (source / "alpha.py").write_text("")
    universe.install(installed, path)
    configure(universe, configuration, cache)
    for arguments in configuration.runs if runs is None else runs:
        yield outcome(universe, arguments)


def configure(universe, configuration, cache):
    """Write the files of a configuration into the folder of all runs."""
    configuration.versions.update(universe.own_pins())
    files = configuration.files(universe.options(cache, configuration.has_links))
    for name, text in files.items():
        (universe.app / name).write_text(text)


def outcome(universe, arguments):
    """The outcome of one more run in the folder of all runs."""
    status, output = run(universe, universe.app, arguments)
    return Outcome(universe.app, status, output, universe.buildout.generation)


#: What buildout says of eggs that it has not installed before, of their directory, and of scripts, in which
#: the eggs have another order then.
GOT = "Getting distribution for ", "Got ", "Creating directory ", "Generated "
#: Where Python warns that something is imported before its egg is known: an installed egg is added elsewhere.
WARNED = re.compile(r"(?<=\.py):\d+(?=: UserWarning: )|(?<=^  ws\.add\().*")
#: The end of a run that lacks an egg, offline.
OFFLINE = "and can't install one in offline (no-install) mode."


def differences(stock, ours, is_verbose, was_installed=False):
    """What differs between two outcomes of a run, as lines. A verbose log tells what is downloaded.

    With ``was_installed``, the eggs that come from the cache were installed before the run of stock
    buildout. It may have more, does not say that it gets them, and lists them in another order in scripts. It
    may not have been offline.
    """
    if stock.status != ours.status:
        return ["exit status %s, not %s" % (ours.status, stock.status)] + ours.output[-20:]
    names = sorted(set(stock.files) | set(ours.files))
    if was_installed:
        eggs = set(map(egg_of, ours.files)) | {None}
        names = [name for name in names if egg_of(name) in eggs]
    pairs = [(name, [file_of(it, name, was_installed) for it in (stock, ours)]) for name in names]
    found = ["%s: %s" % (name, other_content(*pair)) for name, pair in pairs if pair[0] != pair[1]]
    if is_verbose:
        return found
    if not was_installed:
        return found + other_lines(stock.output, ours.output)
    return found + other_lines(common_lines(stock.output, ours.output), common_lines(ours.output, stock.output))


def file_of(outcome, name, in_any_order):
    """The mode and the content of a file, perhaps with sorted lines if it is a script or lists them."""
    mode, content = outcome.files.get(name, (None, b""))
    if in_any_order and (name == ".installed.cfg" or name.startswith("bin" + os.sep)):
        content = b"\n".join(sorted(content.splitlines()))
    return mode, content


def other_content(stock, ours):
    """How the mode and the content of a file differ, in some characters."""
    if stock[0] != ours[0]:
        return "%.300r, not %.300r" % (ours, stock)
    texts = [content.decode("utf-8", "replace").splitlines() for _, content in (stock, ours)]
    return "; ".join(difflib.unified_diff(*texts, lineterm="", n=0))[:900]


def egg_of(path):
    """The name of the egg that has this file; None if it is in no egg."""
    found = re.search(r"^eggs/(?:v5/)?([^/]*\.egg)", path)
    return found and found.group(1)


def common_lines(output, other):
    """The lines of an output that do not depend on what was installed before."""
    if (OFFLINE in output) != (OFFLINE in other):
        output = itertools.takewhile(lambda line: not line.startswith("Error: "), output)
    return [WARNED.sub("", line) for line in output if not line.startswith(GOT)]


def other_lines(stock, ours):
    if stock == ours:
        return []
    found = difflib.unified_diff(stock, ours, lineterm="", n=1)
    return ["the lines of the log differ"] + list(found)[2:]
