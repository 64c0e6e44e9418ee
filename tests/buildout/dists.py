"""Small real distributions for the tests: wheels, and a source distribution that compiles C."""

import base64
import hashlib
import importlib.metadata
import io
import os
import re
import sys
import tarfile
import zipfile


def wheel(
    index,
    name,
    version,
    requires=(),
    script=True,
    marker="",
    recipe="",
    python="py3",
    extras=(),
    build="",
    more=None,
    platform="none-any",
):
    """Make a wheel with one module and a console script of the same name.

    `recipe` is the code of a class `Recipe`, which makes it a buildout recipe. `extras` are the names of
    the extras that `requires` mentions, `build` is a build tag, and `more` are further files, by path:
    texts, or bytes. The wheel is pure unless `platform` has the tags of another ABI and platform.
    """
    module = name.replace("-", "_").replace(".", "_")
    info = "%s-%s.dist-info" % (module, version)
    files = {
        "%s.py" % module: (
            "from __future__ import print_function\n\n"
            "VERSION = %r\nMARKER = %r\n\ndef main():\n    print(%r, VERSION, MARKER)\n"
            % (version, marker, name)
            + recipe
        ),
        "%s/METADATA" % info: "Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s%s"
        % (
            name,
            version,
            "".join("Provides-Extra: %s\n" % it for it in extras),
            "".join("Requires-Dist: %s\n" % it for it in requires),
        ),
        "%s/WHEEL" % info: "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: %s\n"
        "Tag: %s-%s\n" % (str(platform == "none-any").lower(), python, platform),
        "%s/top_level.txt" % info: module + "\n",
    }
    if script:
        files["%s/entry_points.txt" % info] = "[console_scripts]\n%s = %s:main\n" % (name, module)
    if recipe:
        files["%s/entry_points.txt" % info] = "[zc.buildout]\ndefault = %s:Recipe\n" % module
    files.update(more or {})
    record = ""
    for path, text in files.items():
        content = text if isinstance(text, bytes) else text.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        record += "%s,sha256=%s,%d\n" % (path, digest.decode(), len(content))
    files["%s/RECORD" % info] = record + "%s/RECORD,,\n" % info
    tags = "%s%s-%s" % (build and build + "-", python, platform)
    path = _place(index, name, "%s-%s-%s.whl" % (module, version, tags))
    _zip(path, files)
    return path


def c_sdist(index, name, version, marker=""):
    """Make a source distribution of a C extension that reports the macro it was compiled with."""
    setup = (
        "from setuptools import setup, Extension\n"
        "setup(name=%r, version=%r, py_modules=[%r],\n"
        "      ext_modules=[Extension('_%s', ['_%s.c'])])\n" % (name, version, name, name, name)
    )
    code = (
        "#include <Python.h>\n"
        "#if defined(FLAVOUR_7)\n#define FLAVOUR 7\n#elif defined(FLAVOUR_8)\n#define FLAVOUR 8\n"
        "#else\n#define FLAVOUR 0\n#endif\n"
        "#if PY_MAJOR_VERSION < 3\n"
        "PyMODINIT_FUNC init_%(n)s(void) {\n"
        "    PyModule_AddIntConstant(Py_InitModule(\"_%(n)s\", NULL), \"flavour\", FLAVOUR);\n"
        "}\n#else\n"
        "static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, \"_%(n)s\", 0, -1, 0};\n"
        "PyMODINIT_FUNC PyInit__%(n)s(void) {\n"
        "    PyObject *m = PyModule_Create(&module);\n"
        "    PyModule_AddIntConstant(m, \"flavour\", FLAVOUR);\n"
        "    return m;\n}\n#endif\n" % {"n": name}
    )
    files = {
        "setup.py": setup,
        "_%s.c" % name: code,
        "%s.py" % name: "from _%s import flavour\nMARKER = %r\n" % (name, marker),
        "PKG-INFO": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
    }
    return _sdist(index, name, version, files)


def sdist(index, name, version, setup=True, more=""):
    """Make a source distribution of one module, with a setup.py that has `more` arguments, or with a
    pyproject.toml alone."""
    files = {
        "%s.py" % name: "VERSION = %r\n" % version,
        "PKG-INFO": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
    }
    if setup:
        files["setup.py"] = "from setuptools import setup\nsetup(name=%r, version=%r, py_modules=[%r], %s)\n" % (
            name,
            version,
            name,
            more,
        )
    else:
        files["pyproject.toml"] = (
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            '[project]\nname = "%s"\nversion = "%s"\n[tool.setuptools]\npy-modules = ["%s"]\n'
            % (name, version, name)
        )
    return _sdist(index, name, version, files)


def zipped_egg(index, name, version, requires=()):
    """Make an egg of one module, as one file."""
    path = _place(index, name, "%s-%s-py%d.%d.egg" % (name, version, *sys.version_info[:2]))
    files = {
        "%s.py" % name: "VERSION = %r\n" % version,
        "EGG-INFO/PKG-INFO": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
        "EGG-INFO/requires.txt": "".join("%s\n" % it for it in requires),
        "EGG-INFO/top_level.txt": name + "\n",
        "EGG-INFO/zip-safe": "\n",
    }
    _zip(path, files)
    return path


def wheels_of(site_packages, folder):
    """Make a wheel of every pure distribution that pip has installed, except eggcache."""
    for distribution in importlib.metadata.distributions(path=[site_packages]):
        name = distribution.metadata["Name"].replace("-", "_").replace(".", "_")
        if name != "eggcache":
            path = os.path.join(str(folder), "%s-%s-py3-none-any.whl" % (name, distribution.version))
            _wheel_of(distribution, path)


def _wheel_of(distribution, path):
    files = {str(file): file.locate() for file in distribution.files if ".." not in file.parts}
    [info] = {file.split("/")[0] for file in files if re.match(r"[^/]+\.dist-info/METADATA$", file)}
    for name in ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json"):
        files.pop("%s/%s" % (info, name), None)
    files = {file: source for file, source in files.items() if not file.endswith(".pyc")}
    with zipfile.ZipFile(path, "w") as archive:
        for file, source in files.items():
            archive.write(str(source), file)
        record = ["%s,," % file for file in files] + ["%s/RECORD,," % info]
        archive.writestr("%s/RECORD" % info, "\n".join(record) + "\n")


def _sdist(index, name, version, files):
    base = "%s-%s" % (name, version)
    path = _place(index, name, base + ".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo("%s/%s" % (base, member))
            info.size, info.mtime = len(text), 1577934246
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def _zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            info = zipfile.ZipInfo(member, (2020, 1, 2, 3, 4, 6))
            # Builders write this mode. Without one, buildout unpacks a zipped egg for its owner alone.
            info.external_attr = 0o100644 << 16
            archive.writestr(info, text)


def _place(index, name, file_name):
    folder = os.path.join(str(index), name)
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, file_name)
