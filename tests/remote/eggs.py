"""Small synthetic eggs, and a real one with native code, made from a wheel."""

import os
import random
import subprocess
import sys
import zipfile

PYTHON = "%d.%d" % sys.version_info[:2]


def file_name(name, version="1.0"):
    return "%s-%s-py%s.egg" % (name, version, PYTHON)


def make(folder, name, version="1.0", text="", data=()):
    """Makes an egg with a module that contains `text`, and incompressible files of the given lengths."""
    egg = os.path.join(str(folder), file_name(name, version))
    info = os.path.join(egg, "EGG-INFO")
    os.makedirs(info)
    with open(os.path.join(info, "PKG-INFO"), "w") as file:
        file.write("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version))
    with open(os.path.join(egg, "%s.py" % name), "w") as file:
        file.write("NAME = %r\nTEXT = %r\n" % (name, text))
    source = random.Random("%s %s %s" % (name, version, text))
    for number, length in enumerate(data):
        with open(os.path.join(egg, "data%d.bin" % number), "wb") as file:
            while length:
                file.write(source.randbytes(min(length, 1 << 20)))
                length -= min(length, 1 << 20)
    return egg


def native(folder, wheels):
    """Makes the egg of a real project with native code, as buildout would install its wheel."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.check_call(pip + ["--only-binary=:all:", "-d", str(wheels), "zope.interface==7.2"])
    [wheel] = os.listdir(str(wheels))
    egg = os.path.join(str(folder), "zope.interface-7.2-py%s-linux-%s.egg" % (PYTHON, os.uname().machine))
    with zipfile.ZipFile(os.path.join(str(wheels), wheel)) as archive:
        archive.extractall(egg)
    return egg


def contents(folder):
    """Returns every file below a folder with its bytes."""
    found = {}
    for path, _, files in os.walk(str(folder)):
        for name in files:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.relpath(os.path.join(path, name), str(folder))] = file.read()
    return found
