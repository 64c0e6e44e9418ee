"""Pure functions on requirements and links. They need neither a buildout run nor a cache."""

import os
import re

from eggcache import _compat, _host

#: As in setuptools: one letter is a drive.
_SCHEME = re.compile("([-+.a-z0-9]{2,}):", re.I)


def canonical(name):
    """The name of a project as PEP 503 normalizes it."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def same_version(parse_version, left, right):
    """Whether two spellings mean one version: ``1.0`` and ``1.0.0`` do."""
    try:
        return parse_version(left) == parse_version(right)
    except ValueError:
        return left == right


def finds_by_file_name(pkg_resources, name, file_name):
    """Whether this ``pkg_resources`` finds the egg of this file name by the name of its project.

    That of setuptools up to 75.8.0 does not find ``zc.recipe.egg`` in ``zc_recipe_egg-2.0.7-py3.9.egg``, as
    newer versions of setuptools name the egg.
    """
    found = file_name.split("-")[0]
    if found.replace("_", "-").lower() == name.replace("_", "-").lower():
        return True
    working_set = pkg_resources.WorkingSet([])
    # Any version will do. That of the egg may be one that this pkg_resources cannot read.
    working_set.add(pkg_resources.Distribution.from_filename(found + "-1.0-py3.egg"))
    # A new requirement: `find` may change its key.
    return working_set.find(pkg_resources.Requirement.parse(name)) is not None


def pinned_version(requirement):
    """The version of a requirement that allows exactly one, as written there; else None."""
    specs = requirement.specs
    if len(specs) == 1 and specs[0][0] in ("==", "===") and not specs[0][1].endswith(".*"):
        return specs[0][1]
    return None


def excludes_local_versions(requirement):
    """Whether a requirement may allow a version but not a local version of it, such as ``1.0+abc``.

    Buildout prefers local versions to the version itself, also for ``==1.0``.
    """
    return any(operator == "===" or "+" in version for operator, version in requirement.specs)


def extras_of(dist, requirement):
    """The extras of a requirement that the distribution has. Buildout reports the missing ones."""
    return [extra for extra in requirement.extras if extra in dist.extras]


def egg_of_link(location):
    """The name, and perhaps the version, that a link with ``#egg=`` gives to its archive; else None.

    The archive behind such a link, such as the newest state of a branch, may be another one tomorrow.
    """
    items = [item.partition("=") for item in location.partition("#")[2].split("&")]
    values = {name: value for name, _, value in items}
    return None if "sha256" in values else values.get("egg")


def sha256_of_link(location):
    """The SHA-256 of the archive behind a link of the index; None if it is not known.

    It comes from the fragment of the link (``#sha256=...``) or, for a local archive, from its content.
    """
    location, _, fragment = location.partition("#")
    for item in fragment.split("&"):
        name, _, value = item.partition("=")
        if name == "sha256":
            return value.lower()
    path = location
    if location.startswith("file://"):
        path = _compat.url2pathname(location[len("file://") :])
    if os.path.isfile(path):
        return _host.sha256_of(path)
    return None


def scheme_of(address):
    """The scheme of a URL, in lower case; empty for a path."""
    found = _SCHEME.match(address)
    return found.group(1).lower() if found else ""
