"""Whether an archive of sources needs a compiler that this machine lacks."""

import tarfile
import zipfile

import pytest

from eggcache import _archive


@pytest.fixture
def archive(tmp_path):
    def make(name, member):
        path = tmp_path / name
        source = tmp_path / "source"
        source.write_text("")
        if name.endswith(".tar.gz"):
            with tarfile.open(str(path), "w:gz") as tar:
                tar.add(str(source), member)
        else:
            with zipfile.ZipFile(str(path), "w") as zipped:
                zipped.write(str(source), member)
        return str(path)

    return make


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)

    def install(name):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)

    return install


@pytest.mark.parametrize("name", ["alpha-1.0.tar.gz", "alpha-1.0.zip"])
@pytest.mark.parametrize(
    "member, expected", [("a/_a.c", True), ("a/src/_a.pyx", True), ("a/a.py", False), ("a/tests/a.c", False)]
)
def test_sources_without_a_compiler_are_found(archive, programs, name, member, expected):
    assert _archive.needs_missing_compiler(archive(name, member)) == expected


def test_cc_names_the_compiler(archive, programs, monkeypatch):
    c = archive("c-1.0.tar.gz", "_a.c")
    programs("gcc")
    monkeypatch.setenv("CC", "mycc -O2")
    assert _archive.needs_missing_compiler(c)
    programs("mycc")
    assert not _archive.needs_missing_compiler(c)


@pytest.mark.parametrize("configured, expected", [("gcc -pthread", "gcc"), ("/opt/mycc", None), (None, "cc")])
def test_without_cc_only_the_compiler_of_this_python_counts(archive, programs, monkeypatch, configured, expected):
    c = archive("c-1.0.tar.gz", "_a.c")
    monkeypatch.setattr(_archive.sysconfig, "get_config_var", {"CC": configured}.get)
    for name in {"cc", "gcc", "clang", "c++", "g++"} - {expected}:
        programs(name)
    assert _archive.needs_missing_compiler(c)
    if expected:
        programs(expected)
        assert not _archive.needs_missing_compiler(c)


def test_a_wheel_needs_no_compiler(archive, programs):
    assert not _archive.needs_missing_compiler(archive("alpha-1.0-py3-none-any.whl", "_a.c"))


def test_what_is_no_archive_has_no_sources(tmp_path, programs):
    path = tmp_path / "alpha-1.0.tar.gz"
    path.write_text("no archive")
    assert not _archive.needs_missing_compiler(str(path))
