"""The oldest Pythons that the package supports, where this machine has them."""

import glob
import os
import re
import subprocess
import sys

#: The versions with which the package is tried in addition to that of the tests.
OLD = ("2.7", "3.6", "3.7")


def find(version):
    """The path of a Python of this version, in PATH or below ``~/.pyenv``; None if there is none.

    ``3.9`` is CPython, and ``pypy3.9`` is PyPy.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    name, separator = (version, "-") if version.startswith("pypy") else ("python" + version, ".")
    found = [os.path.join(folder, name) for folder in folders]
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    pattern = version + separator + "*"
    builds = glob.glob(os.path.join(glob.escape(root), "versions", pattern, "bin", "python"))
    builds.sort(key=lambda path: [int(part) for part in re.findall(r"\d+", path[len(root) :])])
    return next((path for path in found + builds[::-1] if _is_of(path, version)), None)


def _is_of(path, version):
    """Whether a Python can be run and has this version; a shim of pyenv may have none."""
    if not os.access(path, os.X_OK):
        return False
    code = (
        "import sys; pypy = 'pypy' if hasattr(sys, 'pypy_version_info') else ''; "
        "sys.stdout.write(pypy + '%d.%d' % sys.version_info[:2])"
    )
    done = subprocess.run([path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode() == version


if __name__ == "__main__":
    print(next(filter(None, map(find, OLD)), sys.executable))
