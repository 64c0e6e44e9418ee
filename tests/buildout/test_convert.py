"""Eggs that `eggcache convert` makes are those of stock buildout, file for file.

Real wheels come from PyPI, once, into ``build/convert-wheels``. ``eggcache convert --check`` makes
each egg twice: with the zc.buildout and the pip of an environment, and itself.
"""

import glob
import json
import os
import subprocess
import zipfile

import pytest

from conftest import BUILD, Buildout

WHEELS = os.path.join(os.path.dirname(BUILD), "convert-wheels")

#: Wheels of all backends, with what is special about them.
PINS = {
    "attrs": "24.2.0",  # hatch, two packages
    "cffi": "1.17.1",  # compiled, a module at the top
    "contourpy": "1.3.0",  # meson, no top_level.txt
    "flask": "3.0.3",  # flit, a console script
    "greenlet": "3.1.1",  # headers
    "idna": "3.10",  # flit
    "lxml": "5.3.0",  # compiled, many files
    "markdown-it-py": "3.0.0",  # flit, a console script
    "packaging": "24.2",  # flit
    "pillow": "10.4.0",  # compiled with bundled libraries
    "psutil": "6.1.0",  # abi3
    "pycparser": "2.22",  # setuptools
    "pyflakes": "3.2.0",  # setuptools, a console script
    "requests": "2.32.3",  # setuptools
    "rich": "13.9.4",  # poetry
    "six": "1.16.0",  # one module
    "sphinxcontrib-applehelp": "2.0.0",  # flit, in a namespace
    "SQLAlchemy": "2.0.41",  # setuptools, compiled
    "urllib3": "2.2.3",  # hatch
    "zope.event": "5.0",  # setuptools, in a namespace
    "zope.interface": "7.1.1",  # setuptools, in a namespace, compiled
}


@pytest.fixture(scope="module", params=["6.0.1", "5.2.0"])
def stock(request):
    return Buildout(request.param)


@pytest.fixture(scope="module")
def wheels(stock):
    """The paths of all pinned wheels, downloaded if they are missing."""
    if len(glob.glob(os.path.join(WHEELS, "*.whl"))) < len(PINS):
        pins = ["%s==%s" % pin for pin in sorted(PINS.items())]
        python = os.path.join(stock.venv, "bin", "python")
        subprocess.check_call(
            [python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            + ["--disable-pip-version-check", "-d", WHEELS]
            + pins
        )
    return sorted(glob.glob(os.path.join(WHEELS, "*.whl")))


def convert(stock, *args, **kw):
    """Run `eggcache convert` for the Python of a buildout, and return its report."""
    python = os.path.join(stock.venv, "bin", "python")
    command = [stock.program, "--json", "convert", "--python", python] + list(args)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environ.update(kw)
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environ)
    return done.returncode, json.loads(done.stdout.decode())["wheels"]


def test_real_wheels_become_the_eggs_of_stock_buildout(stock, wheels):
    assert len(wheels) == len(PINS)
    code, compared = convert(stock, "--check", *wheels)
    wrong = [it for it in compared if it["verdict"] != "same"]
    assert (code, wrong) == (0, [])
    assert sum(it["compiled"] for it in compared) > 300


def make_wheel(folder, name, files, top_level=None, entry_points=None):
    """Write a wheel of version 1.0 with these files, and return its path."""
    info = "%s-1.0.dist-info" % name
    files = dict(files)
    metadata = "Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name.replace("_", ".")
    files.setdefault(info + "/METADATA", metadata)
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if top_level is not None:
        files[info + "/top_level.txt"] = top_level
    if entry_points is not None:
        files[info + "/entry_points.txt"] = entry_points
    record = ["%s,," % ('"%s"' % path if "," in path else path) for path in files]
    files[info + "/RECORD"] = "\n".join(record + [info + "/RECORD,,\n"])
    path = os.path.join(str(folder), "%s-1.0-py3-none-any.whl" % name)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            entry = zipfile.ZipInfo(member, (2024, 5, 6, 7, 8, 10))
            entry.external_attr = (0o100755 if member.endswith(".sh") else 0o100644) << 16
            archive.writestr(entry, content)
    return path


NAMESPACE = "__import__('pkg_resources').declare_namespace(__name__)\n"
SCRIPTS = "[console_scripts]\nrun = a.b:main\nlong-one = a.b:Class.method [x]\n[gui_scripts]\nwin = a:w\n"


def odd_wheels(folder):
    """Wheels with everything that has a rule of its own."""
    data = "odd_data-1.0.data/"
    return [
        make_wheel(folder, "scripts", {"a/__init__.py": "", "a/b.py": "x = 1\n"}, "a\n", SCRIPTS),
        make_wheel(folder, "namespaces", {"ns/__init__.py": NAMESPACE, "ns/a/__init__.py": "1\n"}, "ns\n"),
        make_wheel(folder, "namespaces_flat", {"ns/__init__.py": NAMESPACE, "ns/a/__init__.py": "1\n"}),
        make_wheel(folder, "lonely", {"ns/__init__.py": NAMESPACE}, "ns\n"),
        make_wheel(folder, "lonely_flat", {"ns/__init__.py": NAMESPACE, "b.py": ""}),
        make_wheel(folder, "wrong", {"a/__init__.py": "", "a/bad.py": "def\n"}, "a\n"),
        make_wheel(folder, "wrong_flat", {"a/bad.py": "def\n", "a/nul.py": "x = '\0'\n"}),
        make_wheel(folder, "all_wrong", {"a/__init__.py": "return 1\n"}, "a\n"),
        make_wheel(folder, "modules", {"m.py": "", "n.py": "", "data.txt": "", "p.pth": ""}, "m\nmissing\n"),
        make_wheel(folder, "modes", {"a/__init__.py": "", "a/run.sh": "", "a/x,y.txt": ""}, "a\n"),
        make_wheel(folder, "own_metadata", {"own_metadata-1.0.dist-info/licenses/tool.py": "x = 1\n"}),
        make_wheel(
            folder,
            "odd_data",
            {
                data + "purelib/a/__init__.py": "",
                data + "platlib/a/b.py": "",
                data + "scripts/shell": "#!/bin/sh\n",
                data + "scripts/tool": "#!python\nx = 1\n",
                data + "scripts/tool2.py": "#!pythonw -x\nx = 1\n",
                data + "scripts/run": "#!python\n",
                data + "headers/a.h": "",
                data + "data/share/doc/x.py": "x = 1\n",
                data + "data/etc/bad.py": "def\n",
            },
            "a\n",
            "[console_scripts]\nrun = a:main\n",
        ),
    ]


def test_odd_wheels_become_the_eggs_of_stock_buildout(stock, tmp_path):
    code, compared = convert(stock, "--check", *odd_wheels(tmp_path))
    wrong = [it for it in compared if it["verdict"] != "same"]
    assert (code, wrong) == (0, [])


def refused_wheels(folder):
    """Wheels that every pip refuses."""
    start = "Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n"
    wheels = []
    for name, metadata in [
        ("mark", "\ufeff" + start),
        ("garbage", start.replace("Version: 1", "garbage\nVersion: 1")),
    ]:
        files = {"a.py": "", name + "-1.0.dist-info/METADATA": metadata % name}
        wheels.append(make_wheel(folder, name, files))
    wheels.append(make_wheel(folder, "line", {"a.py": ""}, None, "[other]\njust a line\n"))
    wheels.append(make_wheel(folder, "two", {"a.py": "", "other-1.0.dist-info/": ""}))
    wheels.append(make_wheel(folder, "zip", {"a.py": ""}))
    with open(wheels[-1], "r+b") as archive:
        content = archive.read()
        archive.seek(content.index(b"PK\1\2") + 6)
        archive.write(b"\x40")
    return wheels


def installs(stock, wheel, folder):
    """Whether the pip of a buildout installs a wheel."""
    command = [os.path.join(stock.venv, "bin", "python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    command += ["--disable-pip-version-check", "-t", str(folder), wheel]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def test_wheels_that_pip_refuses_are_left_to_it(stock, tmp_path):
    wheels = refused_wheels(tmp_path)
    _, compared = convert(stock, "--check", *wheels)
    assert [it for it in compared if it["verdict"] != "left"] == []
    assert [wheel for wheel in wheels if installs(stock, wheel, tmp_path / "into")] == []


def test_wheels_on_which_versions_of_pip_disagree_are_left_to_it(stock, tmp_path):
    wheels = [
        make_wheel(tmp_path, "spaces", {"a.py": ""}, None, "[ console_scripts ]\nrun = a:main\n"),
        make_wheel(tmp_path, "before", {"a.py": ""}, None, "run = a:main\n[console_scripts]\n"),
        make_wheel(tmp_path, "sections", {"a.py": ""}, None, "[a]\nb = c\n[a]\nd = e\n"),
    ]
    start = "Metadata-Version: 2.1\nVersion: 1.0\nName: "
    for name, header in [
        ("bad", "bad\nRequires-Dist: !!!bad"),
        ("compared", "compared\nRequires-Dist: a; platform_release >= '20'"),
        ("encoded", "=?utf-8?q?encoded?="),
        ("folded", "\n folded"),
    ]:
        metadata = "%s%s\n" % (start, header)
        wheels.append(make_wheel(tmp_path, name, {name + "-1.0.dist-info/METADATA": metadata}))
    code, compared = convert(stock, "--check", *wheels)
    assert code == 0
    assert [it for it in compared if it["verdict"] != "left"] == []


def test_sources_are_compiled_if_pip_can_decode_them(stock, tmp_path):
    # pip 26.3 imports nothing while it installs, also no module for an encoding.
    python = os.path.join(stock.venv, "bin", "python")
    pip = subprocess.check_output([python, "-m", "pip", "--version"]).decode().split()[1]
    blocks = tuple(int(part) for part in pip.split(".")[:2]) >= (26, 3)
    built_in = ["utf8", "UTF-8", "utf-8-sig", "latin-1", "latin1", "iso8859-1", "us-ascii"]
    expected = dict.fromkeys(built_in, "same")
    expected.update(dict.fromkeys(["cp1252", "gbk", "utf-7"], "left" if blocks else "same"))
    wheels = {}
    for encoding in expected:
        (tmp_path / encoding).mkdir()
        source = "# -*- coding: %s -*-\nx = 1\n" % encoding
        wheels[make_wheel(tmp_path / encoding, "alpha", {"a/__init__.py": source}, "a\n")] = encoding
    code, compared = convert(stock, "--check", *wheels)
    assert code == 0
    assert {wheels[it["wheel"]]: it["verdict"] for it in compared} == expected


def test_the_environment_counts_as_for_pip(stock, tmp_path):
    wheel = make_wheel(tmp_path, "plain", {"a/__init__.py": "assert x\n"}, "a\n")
    for environ in [{"SOURCE_DATE_EPOCH": "1500000000"}, {"PYTHONOPTIMIZE": "1"}, {"PYTHONOPTIMIZE": "2"}]:
        code, compared = convert(stock, "--check", wheel, **environ)
        assert (code, compared[0]["verdict"]) == (0, "same"), compared


def test_a_difference_has_an_exit_code_of_its_own(stock, tmp_path):
    # A sitecustomize that changes what pip writes, in the environment of pip alone.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'pip' in sys.argv[0] or '-m' in sys.orig_argv:\n"
        "    os.umask(0o077)\n"
    )
    wheel = make_wheel(tmp_path, "plain", {"a/__init__.py": ""}, "a\n")
    code, compared = convert(stock, "--check", wheel, PYTHONPATH=str(tmp_path))
    assert (code, compared[0]["verdict"]) == (4, "differs")
    assert {"path": "a/__init__.py", "what": "kind or mode"} in compared[0]["files"]
