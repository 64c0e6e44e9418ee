"""`eggcache bundle` of real buildouts: bundles run elsewhere, as an RPM and from a container image."""

import json
import os
import stat
import subprocess
import tarfile

import pytest

from conftest import needs

HOWTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "howto")
PINS = "app = 1.0\nbeta = 1.0\nnative = 1.0"


def project(world, name, options="relative-paths = true", **kw):
    """Build a buildout with the script `app`, which requires an egg that the buildout does not name."""
    if not (world.index / "app").exists():
        world.wheel("app", "1.0", requires=["beta"])
        world.wheel("beta", "1.0")
        world.c_sdist("native", "1.0")
    made = world.project(
        name, "app native", options=options, sections="interpreter = py", versions=PINS, **kw
    )
    made.run()
    return made


def bundle(project, archive, *options, code=0):
    """Bundle a buildout with the prefix `app`, and return the report."""
    command = ["--json", "bundle", str(project.path), "-o", str(archive), "--prefix", "app"]
    done = project.world.eggcache(*command, *options, check=False)
    assert done.returncode == code, done.stdout
    return json.loads(done.stdout)


def manifest(archive, unpacked):
    subprocess.check_call(["tar", "-xf", str(archive), "-C", str(unpacked), "app/.eggcache-bundle.json"])
    with open(str(unpacked / "app" / ".eggcache-bundle.json")) as file:
        return json.load(file)


def unpack(archive, into):
    into.mkdir()
    subprocess.check_call(["tar", "-xf", str(archive), "-C", str(into)])
    return into / "app"


def output(*command):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.check_output([str(it) for it in command], env=environ, universal_newlines=True).strip()


def runs_with_its_bytecode(project, app):
    """Run the unpacked `app`, and let Python compile everything that it would; assert that nothing changes,
    and return the bytecode in the bundle.
    """
    before = project.snapshot(app)
    assert output(app / "bin" / "app") == "app 1.0"
    found = output(app / "bin" / "py", "-c", "import app, beta, native; print(app.__file__, native.flavour)")
    assert found.startswith(str(app)) and found.endswith(" 0"), found
    python = os.path.join(project.world.buildout.venv, "bin", "python")
    subprocess.call([python, "-m", "compileall", "-q", str(app / "eggs")], stdout=subprocess.DEVNULL)
    after = project.snapshot(app)
    assert [path for path, it in before.items() if not stat.S_ISDIR(it[0]) and after[path] != it] == []
    return [path for path in before if path.endswith(".pyc")]


def without_times_of_folders(project, folder):
    """A snapshot without the mtimes of folders, which change when rpm writes the files into them."""
    found = project.snapshot(folder).items()
    return {path: (mode, not stat.S_ISDIR(mode) and mtime, it) for path, (mode, mtime, it) in found}


def problems(world, app, *options, cache=True):
    options = [] if cache else ["--cache", str(world.path / "no-such-cache")]
    done = world.eggcache("--json", "check", str(app), *options, check=False)
    return json.loads(done.stdout)["problems"]


def test_an_unpacked_bundle_runs_and_uses_its_bytecode(world):
    first = project(world, "first")
    assert output(first.path / "bin" / "app") == "app 1.0"
    archive = world.path / "app.tar.zst"
    report = bundle(first, archive)
    assert report["known_eggs"] == report["eggs"] > 0
    verified = world.eggcache("bundle", "--verify", str(archive))
    assert report["sha256"] in verified.stdout
    app = unpack(archive, world.path / "unpacked")
    first.path.rename(world.path / "out-of-reach")
    bytecode = runs_with_its_bytecode(first, app)
    # In other generations, the recipe has no package with bytecode.
    assert bytecode or world.buildout.generation < 5
    assert problems(world, app) == []
    assert problems(world, app, cache=False) == []


def test_bundles_differ_only_in_files_that_name_their_folder(newest_world):
    world = newest_world
    for options, differ in (
        ("relative-paths = true", {".installed.cfg"}),
        ("", {".installed.cfg", "bin/app", "bin/py"}),
    ):
        entries = []
        label = "relative" if options else "absolute"
        archives = []
        for name in ("one", "two-elsewhere"):
            made = project(world, "%s-%s" % (label, name), options=options)
            archive = world.path / ("%s-%s.tar.zst" % (label, name))
            bundle(made, archive)
            archives.append((made, archive))
            unpacked = world.path / ("manifest-%s-%s" % (label, name))
            unpacked.mkdir()
            found = manifest(archive, unpacked)
            entries.append({entry["path"]: entry for entry in found["entries"]})
        assert set(entries[0]) == set(entries[1])
        assert {path for path in entries[0] if entries[0][path] != entries[1][path]} == differ
        if options:
            reports = [bundle(made, path, "--exclude", ".installed.cfg") for made, path in archives]
            assert reports[0]["sha256"] == reports[1]["sha256"]


def test_a_buildout_with_a_shared_eggs_directory_is_not_bundled(newest_world):
    world = newest_world
    made = project(world, "first", options="eggs-directory = %s" % (world.path / "shared"))
    report = bundle(made, world.path / "app.tar.zst", code=4)
    assert "path" in {problem["kind"] for problem in report["problems"]}
    assert not (world.path / "app.tar.zst").exists()


def test_beside_its_original_a_bundle_has_no_problem(newest_world):
    world = newest_world
    first = project(world, "first")
    for number, options in enumerate([[], ["--exclude", ".installed.cfg"]]):
        archive = world.path / ("app-%d.tar.zst" % number)
        bundle(first, archive, *options)
        app = unpack(archive, world.path / ("unpacked-%d" % number))
        assert output(app / "bin" / "app") == "app 1.0"
        assert problems(world, app) == []


def develop_egg(folder, name, source="."):
    """Write the source of a develop egg with a script, below a folder of a buildout."""
    package = folder / "src" / name / source / name
    package.mkdir(parents=True)
    code = "import alpha\n\ndef main():\n    print(__name__, alpha.__name__, __file__)\n"
    (package / "__init__.py").write_text(code)
    (folder / "src" / name / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name=%r, version='1.0', packages=[%r], package_dir={'': %r}, install_requires=['alpha'],\n"
        "      entry_points={'console_scripts': ['%s = %s:main']})\n" % (name, name, source, name, name)
    )


def test_a_bundle_with_develop_eggs_runs_without_its_original(newest_world):
    world = newest_world
    world.wheel("alpha", "1.0")
    world.c_sdist("native", "1.0")
    options = "relative-paths = true\ndevelop = src/flat src/nested"
    custom = "[custom]\nrecipe = zc.recipe.egg:custom\negg = native\n"
    made = world.project(
        "app",
        "flat nested native",
        options=options,
        sections="interpreter = py\n" + custom,
        versions="alpha = 1.0\nnative = 1.0",
        parts="custom app",
    )
    # One is found by a finder, the other by a line of a .pth file.
    develop_egg(made.path, "flat")
    develop_egg(made.path, "nested", "src")
    made.run()
    finders = list((made.path / "develop-eggs").glob("__editable__*"))
    assert any(str(made.path) in path.read_text() for path in finders), finders
    report = bundle(made, world.path / "app.tar")
    assert report["path"] is None and report["bound"] == [], report["bound"]
    assert {"develop-eggs/%s" % path.name for path in finders} & set(report["records"])
    app = unpack(world.path / "app.tar", world.path / "unpacked")
    assert problems(world, app) == [], "beside the original"
    made.path.rename(world.path / "out-of-reach")
    for name in "flat", "nested":
        assert output(app / "bin" / name).startswith("%s alpha %s/src/" % (name, app))
    assert output(app / "bin" / "py", "-c", "import native; print(native.__file__)").startswith(str(app))
    done = world.eggcache("--json", "check", "--full", str(app))
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert "touched" not in {note["kind"] for note in report["notes"]}
    made.path = app
    made.run("-N", "-o")
    assert problems(world, app) == [], "built again"


def test_an_unpacked_bundle_can_be_built_again(newest_world):
    world = newest_world
    first = project(world, "first")
    archive = world.path / "app.tar.zst"
    bundle(first, archive)
    app = unpack(archive, world.path / "unpacked")
    first.path.rename(world.path / "out-of-reach")
    world.cut_network()
    first.path = app
    first.run("-N", "-o")
    assert output(app / "bin" / "app") == "app 1.0"
    assert problems(world, app) == []


def test_python_unpacks_the_same_as_tar(newest_world):
    world = newest_world
    first = project(world, "first")
    bundle(first, world.path / "app.tar")
    app = unpack(world.path / "app.tar", world.path / "by-tar")
    with tarfile.open(str(world.path / "app.tar")) as archive:
        assert {member.uname for member in archive} == {"root"}
        archive.extractall(str(world.path / "by-python"))
    files = {path: it for path, it in first.snapshot(app).items() if not os.path.isdir(str(app / path))}
    found = first.snapshot(world.path / "by-python" / "app")
    assert {path: found[path] for path in files} == files


def test_an_rpm_of_a_bundle_is_built_installed_and_runs(newest_world):
    needs("rpm", "rpmbuild", "zstd")
    world = newest_world
    first = project(world, "first")
    bundle(first, world.path / "app-1.0.tar.zst")
    first.path.rename(world.path / "out-of-reach")
    top, root = world.path / "rpmbuild", world.path / "root"
    defines = {"_topdir": top, "_sourcedir": world.path, "app_name": "app", "app_version": "1.0"}
    command = ["rpmbuild", "-bb", os.path.join(HOWTO, "app.spec")]
    for name, value in defines.items():
        command += ["--define", "%s %s" % (name, value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    [rpm] = top.glob("RPMS/*/app-1.0-1.*.rpm")
    root.mkdir()
    subprocess.check_call(
        ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "--nodeps", "-i", str(rpm)]
    )
    app = root / "opt" / "app"
    expected = unpack(world.path / "app-1.0.tar.zst", world.path / "unpacked")
    assert without_times_of_folders(first, app) == without_times_of_folders(first, expected)
    assert runs_with_its_bytecode(first, app)
    assert problems(world, app) == []
    assert problems(world, app, cache=False) == []


def test_a_bundle_runs_in_an_image_of_the_containerfile(newest_world, buildah):
    world = newest_world
    first = project(world, "first")
    image = world.path / "image"
    image.mkdir()
    bundle(first, image / "app.tar.zst")
    first.path.rename(world.path / "out-of-reach")
    buildah.build(image, os.path.join(HOWTO, "Containerfile"), "bundled")
    container = buildah.container("bundled")
    assert container.run(*container.command) == "app 1.0" and container.user() == "nobody"
    app = container.root / "app"
    assert runs_with_its_bytecode(first, app)
    assert problems(world, app) == []
