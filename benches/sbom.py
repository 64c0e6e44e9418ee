"""Measure how long a bill of materials takes, alone and beside a bundle.

The buildout is synthetic: small eggs, each with metadata that names a license and other eggs, and every tenth with an
extension module and a library that it carries. Its cache has all of them.

    SBOM=334    the number of eggs
"""

import json
import os
import subprocess
import sys

import filesystems
import measure
import sections
from contenders import EGGCACHE
from measure import Contender, Failed

EGGS = int(os.environ.get("SBOM", "334"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
PACKAGES, MODULES = 8, 10  # of each egg
REQUIRED = 5  # eggs that an egg asks for, at most
NATIVE = 10  # of so many eggs, one has shared objects
OBJECT = b"\x7fELF" + bytes(range(256)) * (1 << 12)
METADATA = """\
Metadata-Version: 2.4
Name: %(name)s
Version: 1.%(number)d
Summary: The synthetic project %(number)d
License-Expression: MIT OR Apache-2.0
%(required)s
%(text)s
"""
TEXT = "As long as the description of many projects is. " * 100


def sbom():
    with filesystems.fresh(filesystems.chosen()[0]) as place:
        app = made(place.path, EGGS)
        left_out = {}
        figures = measure.alternate(ready(place.path, app, EGGS), place.path, ROUNDS, "warm", left_out)
        sections.put("sbom", "synthetic", place, "warm", os.path.join(app, "eggs"), figures, left_out)


def made(folder, count):
    """Make a buildout that uses so many eggs, a cache of them, and a key; return the buildout."""
    source, app = os.path.join(folder, "source"), os.path.join(folder, "app")
    for number in range(count):
        make_egg(source, number)
    run(folder, "add", source)
    run(folder, "materialize", "--all", "--into", os.path.join(app, "eggs"))
    run(folder, "keygen", os.path.join(folder, "key"))
    write(os.path.join(app, "buildout.cfg"), b"[buildout]\n")
    write(os.path.join(app, "bin", "app"), script(sorted(os.listdir(source))).encode(), 0o755)
    return app


def program(folder):
    return [EGGCACHE, "-q", "--cache", os.path.join(folder, "cache")]


def run(folder, *words):
    subprocess.check_call(program(folder) + list(words))


def make_egg(folder, number):
    egg = os.path.join(folder, "project%d-1.%d-py3.11.egg" % (number, number))
    write(os.path.join(egg, "EGG-INFO", "PKG-INFO"), metadata(number).encode())
    project = os.path.join(egg, "project%d" % number)
    for package in range(PACKAGES):
        for module in range(MODULES):
            text = "value = %d\n" % number + "# a line of %d\n" % module * 20
            write(os.path.join(project, "part%d" % package, "module%d.py" % module), text.encode())
    if number % NATIVE == 0:
        write(os.path.join(project, "_native.cpython-311-x86_64-linux-gnu.so"), OBJECT)
        write(os.path.join(project + ".libs", "libz-1f2e.so.1"), OBJECT)


def metadata(number):
    required = range(max(0, number - REQUIRED), number)
    lines = "".join("Requires-Dist: project%d>=1.0\n" % other for other in required)
    return METADATA % {"name": "project%d" % number, "number": number, "required": lines, "text": TEXT}


def script(eggs):
    """A script as buildout writes it."""
    paths = "".join("  join(base, 'eggs/%s'),\n" % egg for egg in eggs)
    return (
        "#!%s\n\nimport os\n\njoin = os.path.join\n"
        "base = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))\n"
        "base = os.path.dirname(base)\n\nimport sys\nsys.path[0:0] = [\n%s  ]\n" % (sys.executable, paths)
    )


def write(path, content, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def ready(folder, app, count):
    """The commands to compare. Each writes into a folder of its own, and describes so many eggs."""
    os.environ["EGGCACHE_SIGNING_KEY"] = os.path.join(folder, "key")

    def contender(name, words, bill=None):
        def command(into):
            return program(folder) + [word.replace("INTO", into) for word in words]

        def check(into):
            if bill:
                check_bill(os.path.join(into, bill), count)

        return Contender(name, command, [app], os.mkdir, check)

    cyclonedx, spdx = "app.cdx.json", "app.spdx.json"
    bundle = ["bundle", app, "-o", "INTO/app.tar.zst"]
    beside = ["--sbom", "INTO/" + cyclonedx, "--provenance", "INTO/app.intoto.json"]
    return [
        contender("sbom", ["sbom", app, "-o", "INTO/" + cyclonedx], cyclonedx),
        contender("sbom --format spdx", ["sbom", app, "--format", "spdx", "-o", "INTO/" + spdx], spdx),
        contender("bundle", bundle),
        contender("bundle --sbom --provenance", bundle + beside, cyclonedx),
    ]


def check_bill(file, count):
    """Raise `Failed` unless a bill describes so many eggs."""
    with open(file) as bill:
        document = json.load(bill)
    parts = document.get("components") or document["packages"]
    # Shared objects, and the buildout itself, have no package URL.
    described = [part for part in parts if "purl" in part or "externalRefs" in part]
    if len(described) != count:
        raise Failed("%s describes %d eggs of %d" % (os.path.basename(file), len(described), count))
