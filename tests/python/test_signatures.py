"""The digest of a directory comes from the cache as long as no file of it can have changed."""

import os
import types

import pytest

from eggcache import _signatures


class Session:
    """Keeps signatures."""

    def __init__(self):
        self.kept = {}

    def signature(self, state):
        return self.kept.get(state)

    def note_signature(self, state, signature):
        self.kept[state] = signature


@pytest.fixture
def folder(tmp_path):
    """A directory whose files are old enough."""
    for name in ("a.py", "b/c.py", "b/entry_points.txt", "b/__pycache__/c.pyc", ".git/index"):
        path = tmp_path / "site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "site-packages"


@pytest.fixture
def later(monkeypatch):
    """Let an hour pass for the code, so that no file was changed within the last seconds."""
    now = _signatures.time.time()
    monkeypatch.setattr(_signatures.time, "time", lambda: now + 3600)


def buildout(read):
    """A module like buildout's, whose `_dir_hash` notes what it reads."""
    parser = types.SimpleNamespace(__file__=__file__)
    module = types.SimpleNamespace(
        _dir_hashes={},
        ignore_directories=(".git", "__pycache__"),
        zc=types.SimpleNamespace(buildout=types.SimpleNamespace(configparser=parser)),
    )

    def dir_hash(directory):
        if directory not in module._dir_hashes:
            read.append(directory)
            module._dir_hashes[directory] = "%032x" % len(read)
        return module._dir_hashes[directory]

    return module, dir_hash


def signature(session, folder, read):
    """What a new process gets for a directory, when it asks twice."""
    module, stock = buildout(read)
    signatures = _signatures.Signatures(session, module)
    [found] = {signatures._dir_hash(stock, str(folder)) for _ in range(2)}
    return found


@pytest.mark.usefixtures("later")
def test_a_directory_is_read_once_for_each_of_its_states(folder):
    session, read = Session(), []
    assert signature(session, folder, read) == signature(session, folder, read) == "%032x" % 1
    assert len(read) == 1


def replaced(path):
    """Replace a file by one with the same size and mtime."""
    before = path.stat()
    path.with_name("new").write_bytes(path.read_bytes()[::-1])
    os.utime(str(path.with_name("new")), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("new").rename(path)


def rewritten(path):
    """Change the content of a file, and set its mtime to what it was."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "replaced": lambda folder: replaced(folder / "b" / "c.py"),
    "rewritten": lambda folder: rewritten(folder / "b" / "c.py"),
    "added": lambda folder: (folder / "b" / "d").write_text(""),
    "empty folder": lambda folder: (folder / "b" / "d").mkdir(),
    "removed": lambda folder: (folder / "a.py").unlink(),
    "renamed": lambda folder: (folder / "a.py").rename(folder / "A.py"),
    "link to a folder": lambda folder: (folder / "link").symlink_to(folder / "b"),
    "mode": lambda folder: (folder / "a.py").chmod(0o600),
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_directory_is_read(folder, change):
    session, read = Session(), []
    signature(session, folder, read)
    CHANGES[change](folder)
    assert signature(session, folder, read) == "%032x" % 2


@pytest.mark.usefixtures("later")
def test_what_buildout_does_not_read_changes_nothing(folder):
    session, read = Session(), []
    signature(session, folder, read)
    (folder / "b" / "__pycache__" / "c.pyc").write_text("other")
    (folder / "b" / "d.pyo").write_text("other")
    (folder / ".git" / "index").write_text("other")
    (folder / "dangling").symlink_to("nothing")
    signature(session, folder, read)
    assert len(read) == 1


def test_a_directory_that_was_changed_just_now_is_read_each_time(folder):
    session, read = Session(), []
    signature(session, folder, read)
    signature(session, folder, read)
    assert len(read) == 2 and session.kept == {}


@pytest.mark.usefixtures("later")
def test_a_directory_with_a_fifo_is_left_to_buildout(folder):
    os.mkfifo(str(folder / "fifo"))
    session, read = Session(), []
    signature(session, folder, read)
    assert session.kept == {} and len(read) == 1


@pytest.mark.usefixtures("later")
def test_a_cache_that_has_failed_knows_nothing(folder):
    session, read = Session(), []
    session.note_signature = lambda state, signature: None
    assert [signature(session, folder, read) for _ in range(2)] == ["%032x" % 1, "%032x" % 2]


@pytest.mark.usefixtures("later")
def test_a_directory_whose_file_system_counts_in_seconds_is_read_each_time(folder, monkeypatch):
    session, read, real = Session(), [], os.stat

    def whole_seconds(path):
        status = real(path)
        names = [name for name in dir(status) if name.startswith("st_")]
        found = types.SimpleNamespace(**{name: getattr(status, name) for name in names})
        found.st_ctime_ns -= found.st_ctime_ns % 10**9
        return found

    monkeypatch.setattr(os, "stat", whole_seconds)
    assert [signature(session, folder, read) for _ in range(2)] == ["%032x" % 1, "%032x" % 2]
    assert not session.kept
