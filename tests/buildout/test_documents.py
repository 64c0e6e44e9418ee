"""Every command line of README.md and docs/ is run, in the order of its page, in a folder of its own.

A page begins in the folder of a buildout that has run with the cache. What is set up in ``prepare``
is what the examples name. A block that cannot be run here is listed in ``LEFT`` with the reason; one
that is neither run nor listed fails.
"""

import glob
import os
import re
import shutil
import subprocess
import textwrap

import pytest

from conftest import ROOT, needs

#: Page, beginning of the block, and why it is not run here.
LEFT = [
    ("README.md", "make demo", "builds from PyPI for minutes; make itself says what it prints"),
    ("README.md", "1. A buildout from PyPI", "what `make demo` prints"),
    ("README.md", "make wheel", "what these tests run with"),
    ("README.md", "make test", "runs this"),
    ("docs/tutorial.md", "make wheel", "what these tests run with"),
    ("docs/tutorial.md", "python3 -m venv env", "by tests/packages/test_wheel.py, and needs PyPI"),
    ("docs/tutorial.md", "eggcache: 0 hits", "what buildout prints"),
    ("docs/reference/format.md", "dd if=$BLOB", "needs zstd and b3sum; the_encoding_is_as_documented"),
    ("docs/explanation/performance.md", "make bench", "takes half an hour; tests/benches runs its parts"),
    ("docs/explanation/scale.md", "make scale", "takes most of a minute; tests/benches runs its parts"),
    ("docs/explanation/performance.md", "perf record", "needs perf, and root in some places"),
    ("docs/howto/remote.md", "python3 -m venv weed", "needs PyPI and a port; the store is tried elsewhere"),
    ("docs/howto/remote.md", "umask 077", "needs a secret of a CI"),
    ("docs/howto/container.md", "cd ../image\ndocker build", "no engine; test_bundle.py runs its file"),
]

#: Pages that begin in an empty folder.
FROM_NOTHING = ["docs/howto/rpm.md", "docs/tutorial.md"]

#: What the commands of a page need, and not every machine has.
NEEDS = {"docs/howto/rpm.md": ["rpm", "rpmbuild", "zstd"]}

#: What stands for something in the text of a page.
WORDS = {"BUILDOUT": "."}

#: First words of commands: a block that has one is run. Of others, see ``is_data``.
COMMANDS = (
    "buildout cat cd cp dd docker eggcache env/bin export first/bin make man mkdir mv path/to pip podman"
    " python3 rm rpm rpmbuild second/bin sed sqlite3 tar"
).split()

PAGES = ["README.md"] + sorted(
    os.path.relpath(page, ROOT)
    for page in glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)
)


def blocks(text):
    """Indented and fenced blocks, each with the language of its fence."""
    found, indented = [], []

    def end():
        if indented:
            found.append(("", textwrap.dedent("\n".join(indented)).strip("\n")))
            del indented[:]

    lines = iter(text.split("\n"))
    is_list, above = False, ""
    for line in lines:
        fence = re.match(r"```(\w*)$", line)
        # A paragraph of a list is indented too, by less than a block in it.
        if re.match(r"(- |\d+\. )", line):
            is_list = True
        elif line and not line.startswith(" "):
            is_list = False
        is_code = line.startswith(" " * (7 if is_list else 4)) and (indented or not above.strip())
        if is_code or (indented and not line):
            indented.append(line)
        else:
            end()
        if fence:
            body = []
            for line in lines:
                if line.startswith("```"):
                    break
                body.append(line)
            found.append((fence.group(1), "\n".join(body)))
        above = line
    end()
    return found


def is_command(line):
    words = line.split()
    return bool(words) and any(
        words[0] == name or words[0].startswith(name + "/") for name in COMMANDS
    )


def is_data(text):
    """A configuration, or JSON: it is read, not run."""
    return text.startswith(("[", "{"))


def kind(page, language, text):
    for where, beginning, _ in LEFT:
        if page == where and text.startswith(beginning):
            return "left"
    if language not in ("", "sh", "shell", "console") or is_data(text):
        return "data"
    if any(is_command(line) for line in text.splitlines()):
        return "run"
    return "unknown"


def prepare(world):
    """The folder that the examples expect, and the environment of their commands."""
    home = world.path
    world.cache = home / ".cache" / "eggcache"
    recipe, setuptools = world.buildout.recipe, world.buildout.setuptools
    for name, version in (("alpha", "1.0"), ("cowsay", "6.1")):
        world.wheel(name, version)
    (home / ".buildout").mkdir()
    (home / ".buildout" / "default.cfg").write_text(
        "[buildout]\nindex = %s\n[versions]\nzc.recipe.egg = %s\nsetuptools = %s\nzc.buildout = %s\n"
        % (world.index, recipe, setuptools, world.buildout.version)
    )
    (home / "srv").mkdir()
    for name in ("page", "srv/app", "srv/buildout", "srv/old-app"):
        world.project(name).run()
    for folder in ("page/eggs/v5", "srv/shared-eggs/v5"):
        for name in ("lxml-6.1.3-py3.11-linux-x86_64.egg", "zope.interface-8.0-py3.11.egg"):
            egg = home / folder / name / "EGG-INFO"
            egg.mkdir(parents=True)
            project, version = name.split("-")[:2]
            (egg / "PKG-INFO").write_text("Name: %s\nVersion: %s\n" % (project, version))
    (home / "page" / "requirements.txt").write_text("lxml==6.1.3\n")
    (home / "empty").mkdir()
    (home / "empty" / "env").symlink_to(world.buildout.venv)
    (home / "eggcache").symlink_to(ROOT)
    programs = home / "programs"
    programs.mkdir()
    (home / "scratch").mkdir()
    if shutil.which("rpm"):
        # Into a root of its own, whose database knows of no Python.
        shim = programs / "rpm"
        shim.write_text(
            "#!/bin/sh\nexec %s --root %s --dbpath /var/lib/rpm --nodeps \"$@\"\n"
            % (shutil.which("rpm"), home / "scratch")
        )
        shim.chmod(0o755)
    if not shutil.which("sqlite3"):
        shim = programs / "sqlite3"
        shim.write_text(
            "#!/usr/bin/env python3\nimport sqlite3, sys\n"
            "print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())\n"
        )
        shim.chmod(0o755)
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "EGGCACHE", "XDG_"))
    }
    venv = os.path.join(world.buildout.venv, "bin")
    environ.update(
        HOME=str(home),
        PATH=os.pathsep.join([str(programs), venv, environ["PATH"]]),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=os.path.join(world.buildout.archives, "pip"),
    )
    return environ


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page, newest_world):
    with open(os.path.join(ROOT, page)) as file:
        found = blocks(file.read())
    kinds = [kind(page, language, text) for language, text in found]
    unknown = [text for (_, text), kind in zip(found, kinds) if kind == "unknown"]
    assert not unknown, "neither run nor listed in LEFT"
    if "run" not in kinds:
        return
    if page in NEEDS:
        needs(*NEEDS[page])
    environ = prepare(newest_world)
    # One shell for the whole page, as for who reads it: what is exported holds for what follows.
    script = ["set -e"]
    for number, (_, text) in enumerate(found):
        if kinds[number] == "run":
            script += ["echo '--- block %d'" % number, text]
    script = "\n".join(script).replace("/srv/", "%s/srv/" % newest_world.path)
    script = script.replace("/opt/", "%s/scratch/opt/" % newest_world.path)
    for word, meaning in WORDS.items():
        script = re.sub(r"\b%s\b" % word, meaning, script)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=str(newest_world.path / ("empty" if page in FROM_NOTHING else "page")),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    last = re.findall(r"^--- block (\d+)$", done.stdout, re.M)[-1]
    assert done.returncode == 0, "%s\n%s" % (found[int(last)][1], done.stdout)


def test_what_is_left_is_there():
    """A page that does not exist here is a colleague's, which is yet to come."""
    for page, beginning, why in LEFT:
        path = os.path.join(ROOT, page)
        if os.path.exists(path) and beginning:
            with open(path) as file:
                assert any(text.startswith(beginning) for _, text in blocks(file.read())), page
        assert why


def test_every_kind_of_block_is_found():
    text = "Text\n\n    eggcache list\n\n    second line\n\n1. a list\n   goes on\n\n       buildout\n\n```sh\ncd x\n```\nEnd\n"
    assert blocks(text) == [("", "eggcache list\n\nsecond line"), ("", "buildout"), ("sh", "cd x")]
    assert kind("x.md", "", "frobnicate\n") == "unknown"
    assert kind("x.md", "", "[buildout]\n") == "data"
    assert kind("x.md", "", "env/bin/eggcache list") == "run"
