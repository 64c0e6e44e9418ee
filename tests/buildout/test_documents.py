"""README.md, CONTRIBUTING.md, SECURITY.md and docs/ are right: every command runs and prints what its page shows,
and every link and every source file that a page names exists.

A page begins in the folder of a buildout that uses the cache, or in an empty folder (``FROM_NOTHING``).
``prepare`` sets up what the examples name. A block marked ``sh`` runs; a block marked ``output`` is what the
block before it prints, where numbers, digests and folders may differ and ``...`` stands for any lines. A
block that cannot run here is in ``LEFT`` with the reason.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, needs

#: Page, beginning of the block, and why it does not run here.
LEFT = [
    ("README.md", "(cd ../eggcache", "builds what these tests run with"),
    ("README.md", "python3 -m venv env", "by tests/packages/test_wheel.py, and needs PyPI"),
    ("CONTRIBUTING.md", "make", "these are the tests themselves"),
    ("CONTRIBUTING.md", "cargo", "these are the tests themselves"),
    ("CONTRIBUTING.md", "FUZZ_SECONDS", "needs cargo-fuzz"),
    ("CONTRIBUTING.md", "build/tools/bin/python", "these are the tests themselves"),
    ("docs/tutorial.md", "make wheel", "builds what these tests run with"),
    ("docs/tutorial.md", "python3 -m venv env", "by tests/packages/test_wheel.py, and needs PyPI"),
    ("docs/tutorial.md", "make demo", "builds from PyPI for minutes"),
    ("docs/reference/format.md", "dd if=$BLOB", "needs zstd and b3sum; the_encoding_is_as_documented"),
    ("docs/explanation/performance.md", "make bench", "takes half an hour; tests/benches runs its parts"),
    ("docs/explanation/performance.md", "perf record", "needs perf, and root in some places"),
    ("docs/explanation/reliability.md", "make reliability", "takes half an hour"),
    ("docs/explanation/scale.md", "make scale", "takes most of a minute; tests/benches runs its parts"),
    ("docs/howto/container.md", "docker build", "needs a registry; test_bundle.py builds its file"),
    ("docs/howto/remote.md", "python3 -m venv weed", "needs PyPI and a port; the store is tried elsewhere"),
    ("docs/howto/remote.md", "(umask 077", "needs a secret and a store; test_ci_recipes.py runs it"),
]

#: Pages that begin in an empty folder.
FROM_NOTHING = ["README.md", "docs/howto/rpm.md", "docs/howto/container.md", "docs/tutorial.md"]

#: Programs that a page needs and that may be missing.
NEEDS = {"docs/howto/rpm.md": ["rpm", "rpmbuild", "zstd"]}

#: Placeholders in the text of the pages.
WORDS = {"BUILDOUT": ".", "3.11": "%d.%d" % sys.version_info[:2]}

#: Languages of blocks that are read, not run.
DATA = {"cfg", "groovy", "json", "nginx", "sql", "text", "toml", "yaml"}

PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md"] + sorted(
    os.path.relpath(page, ROOT)
    for page in glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)
)


def read(page):
    with open(os.path.join(ROOT, page)) as file:
        return file.read()


def blocks(text):
    """Fenced blocks, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)\n?^```$", text, re.M | re.S)


def without_blocks(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def kind(page, language, text):
    if any(page == where and text.startswith(beginning) for where, beginning, _ in LEFT):
        return "left"
    if language in DATA:
        return "data"
    return {"sh": "run", "output": "output"}.get(language, "unknown")


def plain(line):
    """A line without what differs from run to run and from machine to machine."""
    for pattern, word in (
        (r"\bRW[A-Za-z0-9+/]{54}", "KEY"),
        (r"\b[0-9A-F]{16}\b", "KEY"),
        (r"\b[0-9a-f]{12,64}\b", "DIGEST"),
        (r"linux[-_]\w+", "PLATFORM"),
        (r"(?<![\w.~])~?/(?:[\w.+-]+/)*", "/"),
        (r"\d[\d.,:-]*( (B|[KMG]iB|[kMG]B)\b)?", "N"),
        (r"\bN (\w+?)s\b", r"N \1"),
        (r"\s+", " "),
    ):
        line = re.sub(pattern, word, line)
    return line.strip()


def prints(shown, printed):
    """Whether ``printed`` is what a page shows."""
    parts = [".*" if line.strip() == "..." else re.escape(plain(line)) + "\n" for line in shown.splitlines()]
    return re.fullmatch("".join(parts), "".join(plain(line) + "\n" for line in printed.splitlines()), re.S)


def prepare(world, page):
    """Create the folder that the examples of a page expect; return it and the environment of the commands."""
    home = world.path
    world.cache = home / ".cache" / "eggcache"
    recipe, setuptools = world.buildout.recipe, world.buildout.setuptools
    world.wheel("cowsay", "6.1")
    (home / ".buildout").mkdir()
    (home / ".buildout" / "default.cfg").write_text(
        "[buildout]\nindex = %s\n[versions]\nzc.recipe.egg = %s\nsetuptools = %s\nzc.buildout = %s\n"
        % (world.index_url, recipe, setuptools, world.buildout.version)
    )
    (home / "srv").mkdir()
    if page in FROM_NOTHING:
        folder = home / "empty"
        folder.mkdir()
        (folder / "env").symlink_to(world.buildout.venv)
    else:
        project = world.project("app", eggs="cowsay", options="relative-paths = true")
        project.run()
        folder = project.path
        shutil.copytree(str(project.eggs_directory), str(home / "srv" / "shared-eggs" / "v5"))
    (home / "eggcache").symlink_to(ROOT)
    programs = home / "programs"
    programs.mkdir()
    (home / "scratch").mkdir()
    if shutil.which("rpm"):
        # Install into a separate root, whose database does not contain Python.
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
            "for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):\n"
            "    print('|'.join(map(str, row)))\n"
        )
        shim.chmod(0o755)
    # A reader's Python compiles what it imports, which `bundle` notes.
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON", "EGGCACHE", "XDG_"))
    }
    venv = os.path.join(world.buildout.venv, "bin")
    environ.update(
        HOME=str(home),
        PATH=os.pathsep.join([str(programs), venv, environ["PATH"]]),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=os.path.join(world.buildout.archives, "pip"),
    )
    return folder, environ


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language(page):
    text = read(page)
    found = [(kind(page, *block), block[1]) for block in blocks(text)]
    assert not [text for kind, text in found if kind == "unknown"], "neither run nor recognised as data"
    assert not re.search(r"^\n {4,}\S", without_blocks(text), re.M), "a block is indented, not fenced"
    # Output belongs to a block that runs, or that is left with a reason.
    befores = [kind for kind, _ in found]
    assert all(befores[n - 1] in ("run", "left") for n, kind in enumerate(befores) if kind == "output")


@pytest.mark.parametrize("page", [page for page in PAGES if "```sh" in read(page)])
def test_every_command_of_a_page_runs(page, newest_world):
    found = blocks(read(page))
    kinds = [kind(page, language, text) for language, text in found]
    if "run" not in kinds:
        return
    needs(*NEEDS.get(page, []))
    folder, environ = prepare(newest_world, page)
    # One shell for the whole page, as for its reader: exported variables stay in effect.
    script = ["set -e"]
    for number, (_, text) in enumerate(found):
        if kinds[number] == "run":
            script += ["echo '--- block %d'" % number, text]
    script = "\n".join(script).replace("/srv/", "%s/srv/" % newest_world.path)
    script = script.replace("/opt/", "%s/scratch/opt/" % newest_world.path)
    for word, meaning in WORDS.items():
        script = re.sub(r"\b%s\b" % re.escape(word), meaning, script)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=str(folder),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    parts = re.split(r"^--- block (\d+)\n", done.stdout, flags=re.M)
    printed = dict(zip(map(int, parts[1::2]), parts[2::2]))
    assert done.returncode == 0, "%s\n%s" % (found[max(printed)][1], done.stdout)
    for number, (_, shown) in enumerate(found):
        if kinds[number] == "output" and kinds[number - 1] == "run":
            assert prints(shown, printed[number - 1]), "shown:\n%s\nprinted:\n%s" % (shown, printed[number - 1])


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    folder = os.path.dirname(page)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", without_blocks(read(page))):
        path, _, anchor = target.partition("#")
        path = os.path.normpath(os.path.join(folder, path)) if path else page
        assert os.path.exists(os.path.join(ROOT, path)), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", without_blocks(read(path)), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", it).lower().replace(" ", "-") for it in headings], target


@pytest.mark.parametrize("page", PAGES)
def test_every_source_file_that_a_page_names_exists(page):
    named = re.findall(r"(?<![\w/])((?:src|python|tests|benches|fuzz|migrations)/[\w./-]+)", read(page))
    gone = [path for path in named if not os.path.exists(os.path.join(ROOT, path.rstrip(".")))]
    assert not gone


def test_every_exception_in_left_exists():
    for page, beginning, why in LEFT:
        assert any(text.startswith(beginning) for _, text in blocks(read(page))), (page, beginning)
        assert why


def test_the_language_of_a_block_determines_its_kind():
    text = "Text\n\n```sh\neggcache list\n```\n\n```output\nEGG\n```\n"
    assert blocks(text) == [("sh", "eggcache list"), ("output", "EGG")]
    assert [kind("x.md", *block) for block in blocks(text)] == ["run", "output"]
    assert kind("x.md", "", "eggcache list") == "unknown"


def test_output_may_differ_only_in_numbers_and_folders():
    assert prints("1 egg, 2.5 KiB in /home/me/app", "12 egg, 300 B in /tmp/x/app\n")
    assert prints("first\n...\nlast", "first\nin between\nlast\n") and prints("...\nlast", "last\n")
    assert not prints("stored", "stored\nanother\n")
    assert not prints("0 problems", "0 warnings\n")
