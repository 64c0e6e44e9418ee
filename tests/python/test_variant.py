"""The variant of a custom build: when builds in two folders are interchangeable."""

import os

import pytest

from eggcache import _variant


@pytest.fixture
def variant(tmp_path):
    """The variant and the bound variant of a build in the folder of this name."""

    def of(name, header="#define A 1\n", library="liba.so.1", **options):
        folder = tmp_path / name
        for part in ("include/a", "lib"):
            (folder / "parts" / part).mkdir(parents=True, exist_ok=True)
        (folder / "parts" / "include" / "a" / "a.h").write_text(header.replace("FOLDER", str(folder)))
        (folder / "parts" / "lib" / library).write_text(name)
        build_ext = {key: value.replace("FOLDER", str(folder)) for key, value in options.items()}
        return _variant.of(build_ext, os.environ, [str(folder)])

    return of


DIRS = {"include-dirs": "FOLDER/parts/include", "library-dirs": "FOLDER/parts/lib"}


def test_equal_builds_in_two_folders_have_one_variant_and_two_bound_ones(variant):
    one, other = variant("one", **DIRS), variant("other", **DIRS)
    assert one[0] == other[0] and one[1] != other[1]
    assert one[1].startswith(one[0] + ".")


def test_without_the_folder_nothing_is_bound(variant):
    assert variant("one", define="A") == variant("other", define="A")
    assert variant("one", define="A")[1] is None


@pytest.mark.parametrize("change", [{"header": "#define A 2\n"}, {"library": "liba.so.2"}])
def test_other_files_are_another_build(variant, change):
    one, other = variant("one", **DIRS), variant("other", **dict(DIRS, **change))
    assert one[0] != other[0]


def test_a_static_library_is_part_of_the_egg(variant, tmp_path):
    # Each folder has one with other bytes.
    static = dict(DIRS, library="liba.a")
    assert variant("one", **static)[0] != variant("other", **static)[0]
    assert variant("one", **static)[0] == variant("one", **static)[0]
    # A linker prefers the shared one.
    assert variant("one", **DIRS)[0] == variant("one", **static)[0] != variant("third", **static)[0]
    assert variant("other", **DIRS)[0] == variant("one", **DIRS)[0]


def test_the_path_in_a_header_does_not_count(variant):
    header = "#define PREFIX \"FOLDER/parts\"\n"
    assert variant("one", header, **DIRS)[0] == variant("other", header, **DIRS)[0]


@pytest.mark.parametrize("name", ["one-2", "one.old", "one2"])
def test_a_name_that_begins_with_that_of_the_folder_is_another(variant, name):
    assert variant("one", define="FOLDER" + name[len("one") :])[1] is None


def test_flags_in_the_environment_name_folders(variant, monkeypatch, tmp_path):
    def with_flags(name, before, header="#define A 1\n"):
        variant(name, header)
        monkeypatch.setenv("CFLAGS", before + str(tmp_path / name / "parts" / "include"))
        environ = {key: value for key, value in os.environ.items() if key != "CFLAGS"}
        return _variant.of({}, environ, [str(tmp_path / name)])

    for before in ("-O2 -I", "-isystem ", "-isystem"):
        assert with_flags("one", before)[0] == with_flags("other", before)[0]
        assert with_flags("one", before)[0] != with_flags("third", before, "other")[0]


def test_a_folder_of_unknown_use_counts_as_it_is(variant):
    one, other = variant("one", swig="FOLDER/parts"), variant("other", swig="FOLDER/parts")
    assert one[0] != other[0] and one[1] is None


def test_too_many_headers_are_not_read(variant, monkeypatch):
    monkeypatch.setattr(_variant, "_MOST_FILES", 0)
    assert variant("one", **DIRS)[1] is None


def test_people_read_the_options_and_no_secret(variant, monkeypatch, tmp_path):
    before = dict(os.environ)
    monkeypatch.setenv("CFLAGS", "-O3  -DNAME=\u00fc")
    monkeypatch.setenv("TOKEN_OF_THIS_TEST", "hunter2")
    _, _, options = _variant.of({"define": "A"}, before, [str(tmp_path)])
    assert options["define"] == "A" and options["CFLAGS"] == "-O3 -DNAME=?"
    assert len(options["TOKEN_OF_THIS_TEST"]) == 8, "a few digits of a digest"
    assert "hunter2" not in str(options)


def test_files_count_in_the_options_by_a_few_digits(variant):
    one, same, other = variant("one", **DIRS), variant("same", **DIRS), variant("other", header="X\n", **DIRS)
    assert one[2] == same[2]
    assert one[2]["include-dirs"] == "${buildout:directory}/parts/include"
    assert {name for name in one[2] if one[2][name] != other[2][name]} == {"files of include-dirs"}
