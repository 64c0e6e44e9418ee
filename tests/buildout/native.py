"""A C library, and source distributions of extension modules that use it. Wheels of the stable ABI."""

import os
import subprocess
import sysconfig

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


#: An extension module of the stable ABI of Python 3.8, which has the name of its project.
STABLE = """#define Py_LIMITED_API 0x03080000
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_%(n)s", 0, -1, 0};
PyMODINIT_FUNC PyInit__%(n)s(void) { return PyModule_Create(&module); }
"""


def abi3_wheel(index, name, version, requires=()):
    """Make a wheel for several Pythons, with an extension module that is compiled for the stable ABI."""
    folder = os.path.join(str(index), name)
    os.makedirs(folder, exist_ok=True)
    source, module = os.path.join(folder, "_.c"), os.path.join(folder, "_.so")
    with open(source, "w") as file:
        file.write(STABLE % {"n": name})
    include = sysconfig.get_paths()["include"]
    subprocess.check_call(["cc", "-shared", "-fPIC", "-I", include, "-o", module, source])
    with open(module, "rb") as file:
        more = {"_%s.abi3.so" % name: file.read()}
    os.unlink(source)
    os.unlink(module)
    platform = "abi3-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return dists.wheel(index, name, version, requires, python="cp38", platform=platform, more=more)


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
