"""The wheels on a page of an index, and what they require. Nothing here makes a request.

This module is imported when something is fetched ahead (`_ahead`), and its functions run in threads.
"""

import re
import zipfile

from eggcache import _compat
from eggcache._requirements import canonical

#: The longest METADATA that is read, in bytes.
_LONGEST_METADATA = 4 << 20

_METADATA = re.compile(r"[^/]+\.dist-info/METADATA\Z")


def best_wheel(package_index, page, base, project, version):
    """The wheel of a version that buildout would choose among the links of a page; None if there is none.

    Only links with a SHA-256 count.
    """
    marker = "-%s-" % version
    found = []
    for match in package_index.HREF.finditer(page):
        if marker not in match.group(1):
            continue
        link = _compat.urljoin(base, package_index.htmldecode(match.group(1)))
        parts = _compat.urlsplit(link)
        if not parts.path.endswith(".whl") or not _is_sha256(parts.fragment):
            continue
        # For a wheel that does not fit this Python there is none.
        for dist in package_index.distros_for_url(link):
            if canonical(dist.project_name) == canonical(project) and dist.version == version:
                found.append(dist)
    # Of one version and one kind, the greatest location.
    return max(found, key=lambda dist: dist.hashcmp) if found else None


def _is_sha256(fragment):
    """Whether the fragment of a link is a SHA-256 and nothing else."""
    return re.match("sha256=[0-9a-f]{64}$", fragment)


def requirements_of(pkg_resources, wheel, extras):
    """What a wheel requires here, with these extras; nothing if it cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if _METADATA.match(name)]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > _LONGEST_METADATA:
                return []
            text = archive.read(names[0]).decode("utf-8", "replace")
    except Exception:
        # Whether that matters is up to buildout.
        return []
    headers = text.replace("\r\n", "\n").partition("\n\n")[0]
    found = []
    for line in headers.split("\n"):
        if line.lower().startswith("requires-dist:"):
            try:
                requirement = pkg_resources.Requirement.parse(line.partition(":")[2].strip())
            except ValueError:
                continue
            if _holds(requirement.marker, extras):
                found.append(requirement)
    return found


def _holds(marker, extras):
    """Whether a requirement with this marker applies here, with one of these extras if there are any."""
    if marker is None:
        return True
    return any(marker.evaluate({"extra": extra}) for extra in tuple(extras) or ("",))
