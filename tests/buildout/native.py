"""A C library, and source distributions of extension modules that use it."""

import os
import subprocess

import dists

CODE = """#include <Python.h>
#include <depth.h>
#if PY_MAJOR_VERSION < 3
PyMODINIT_FUNC init_native(void) {
    PyModule_AddIntConstant(Py_InitModule("_native", NULL), "depth", depth() * 10 + DEPTH);
}
#else
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", 0, -1, 0};
PyMODINIT_FUNC PyInit__native(void) {
    PyObject *m = PyModule_Create(&module);
    PyModule_AddIntConstant(m, "depth", depth() * 10 + DEPTH);
    return m;
}
#endif
"""
SETUP = """from setuptools import setup, Extension
setup(name='native', version='1.0', py_modules=['native'],
      ext_modules=[Extension('_native', ['_native.c'], %s)])
"""
MODULE = """try:
    from _native import depth
except ImportError as error:
    depth = 'none'
"""


def sdist(index, arguments="libraries=['depth']", code=CODE):
    """Make a source distribution of ``native``, whose extension module has these arguments."""
    files = {
        "setup.py": SETUP % arguments,
        "_native.c": code,
        "native.py": MODULE,
        "PKG-INFO": "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n",
    }
    return dists._sdist(index, "native", "1.0", files)


def library(folder, number):
    """Install version ``number`` of the library ``depth`` into a folder, in place of any other."""
    for name in ("include", "lib"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for old in (folder / "lib").iterdir():
        old.unlink()
    (folder / "include" / "depth.h").write_text("#define DEPTH %d\nint depth(void);\n" % number)
    source = folder / "depth.c"
    source.write_text("int depth(void) { return %d; }\n" % number)
    soname = "libdepth.so.%d" % number
    path = folder / "lib" / soname
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname," + soname, "-o", str(path), str(source)]
    subprocess.check_call(command)
    (folder / "lib" / "libdepth.so").symlink_to(soname)


def depth(project, env=None):
    """What the extension module of a project reports, in its develop-eggs or eggs directory."""
    folders = project.path / "develop-eggs", project.eggs_directory
    [egg] = [egg for folder in folders for egg in folder.glob("native-*.egg")]
    environ = dict(os.environ, **(env or {}), PYTHONPATH=str(egg))
    command = [os.path.join(project.world.buildout.venv, "bin", "python")]
    command += ["-c", "import native; print(native.depth)"]
    return subprocess.check_output(command, env=environ, universal_newlines=True).strip()
