"""The variant of a custom build: a digest of everything on which its result depends.

Options and environment can name files in the folder of the buildout, such as headers and libraries in
``parts/``. Two builds in different folders are interchangeable if all else is equal, if the files are the
same, and if the egg does not contain the path of the folder. So the variant has the path replaced by a
placeholder, and has a digest of the files. Headers count by their content, shared libraries by their names,
since another build of a library has other bytes. A static library becomes part of the egg, so it counts by
its content, unless there is a shared one, which linkers prefer. Whether the egg contains the path shows only after the build:
if it does, its variant is the *bound* one, which also depends on the folder.
"""

import hashlib
import os
import re

from eggcache import _compat, _host

#: What stands for the folder of the buildout.
_PLACEHOLDER = "${buildout:directory}"
#: More files than that are not read.
_MOST_FILES = 20000
_SHARED = re.compile(r"^(lib.*?)\.(so|dylib)(\.|$)")

#: Options and environment variables that name folders of headers, and of libraries.
_OF_HEADERS = ("include-dirs", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "PKG_CONFIG_PATH")
_OF_LIBRARIES = ("library-dirs", "rpath", "LIBRARY_PATH", "LD_LIBRARY_PATH", "LD_RUN_PATH")
#: In any other text, the flag before a path says what is there.
_HEADER_FLAG = r"-I *|-isystem *|-idirafter *"
_LIBRARY_FLAG = r"-L *|-R *|-rpath[ ,=](?:-Wl,)?|-rpath-link[ ,=](?:-Wl,)?"

#: Variables of the environment whose values are shown to people.
_OF_COMPILERS = re.compile(
    "^(CC|CXX|CPP|LD|AR|LDSHARED|[A-Z]*FLAGS|PATH|CPATH|[A-Z_]*INCLUDE_PATH|[A-Z_]*LIBRARY_PATH|LD_RUN_PATH"
    "|PKG_CONFIG_PATH|MACOSX_DEPLOYMENT_TARGET)$"
)


class _Unreadable(Exception):
    """It is not known what of a folder a build uses, or that is too much."""


def of(build_ext, environ_before, folders, installer=""):
    """The variant and the bound variant of a build in the folder that has these paths, and its options.

    The bound variant is None if neither options nor environment name the folder, or if it is not known
    which files in it the build uses. In this case, paths count as they are. ``installer`` is what installs
    eggs, if it is not pip. The options are for people: they hold no value of the environment that may be a
    secret.
    """
    plain = {"build_ext": build_ext, "environment": _host.environment_since(environ_before)}
    if installer:
        plain["installer"] = installer
    pattern = "(?:%s)" % "|".join(_path_pattern(folder) for folder in folders)
    portable = _replaced(plain, re.compile(pattern))
    if portable == plain:
        return _digest(plain), None, _shown(plain)
    try:
        portable["files"] = _files(plain, pattern)
    except (EnvironmentError, UnicodeError, _Unreadable):
        return _digest(plain), None, _shown(plain)
    variant = _digest(portable)
    return variant, "%s.%s" % (variant, _digest(folders)), _shown(portable)


def _shown(parts):
    """What a variant is a digest of, as texts. Files count by a few digits."""
    found = {name: _text(value) for name, value in parts["build_ext"].items()}
    for name, value in parts["environment"].items():
        is_open = value is None or _OF_COMPILERS.match(name)
        found[name] = _text(value) if is_open else _digits(value)
    if "installer" in parts:
        found["installer"] = parts["installer"]
    for name, files in parts.get("files", ()):
        found["files of " + name] = _digits([files, found.get("files of " + name)])
    return found


def _text(value):
    """A value on one line of ASCII: anything else may have no form in JSON."""
    text = "unset" if value is None else " ".join(str(value).split())
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def _digits(value):
    return _digest(value)[:8]


def _path_pattern(folder):
    """Where a text names a folder or something in it: not within a longer path or name."""
    return r"(?:(?<=-[ILR])|(?<=-isystem)|(?<![\w.+~@%%/-]))%s(?![\w.+~@%%-])" % re.escape(folder)


def _replaced(value, pattern):
    """A value with the folder replaced in all its texts."""
    if isinstance(value, dict):
        return {key: _replaced(item, pattern) for key, item in value.items()}
    if hasattr(value, "split"):
        return pattern.sub(lambda match: _PLACEHOLDER, value)
    return value


def _files(plain, pattern):
    """What the paths in the folder lead to that options and environment name."""
    named = re.compile("(?P<headers>%s)?(?P<libraries>%s)?(?P<path>%s[^\\s:;,\"']*)" % (
        _HEADER_FLAG, _LIBRARY_FLAG, pattern))
    found = []
    for texts in (plain["build_ext"], plain["environment"]):
        for name, text in sorted(texts.items()):
            for match in named.finditer(text if hasattr(text, "split") else ""):
                found.append([name, _found_at(name, match, re.compile(pattern))])
    return found


def _found_at(name, match, pattern):
    """What counts of a path: the content of a file or of headers, or the names of libraries."""
    path = match.group("path")
    if os.path.isfile(path):
        return _digest_of_file(path, pattern)
    if not os.path.isdir(path):
        return None
    if name in _OF_HEADERS or match.group("headers"):
        return _contents(path, pattern)
    if name in _OF_LIBRARIES or match.group("libraries"):
        return _libraries(path, pattern)
    raise _Unreadable


def _libraries(folder, pattern):
    """The names of the shared libraries in a folder, and digests of those that are only static."""
    names = sorted(os.listdir(folder))
    shared = [name for name in names if _SHARED.match(name)]
    stems = {_SHARED.match(name).group(1) for name in shared}
    static = [name for name in names if name.startswith("lib") and name.endswith(".a")]
    digests = [
        [name, _digest_of_file(os.path.join(folder, name), pattern)]
        for name in static
        if name[: -len(".a")] not in stems
    ]
    return shared + digests


def _contents(folder, pattern):
    """Paths and digests of all files below a folder; the path of the buildout in them does not count."""
    found = []
    for path, directories, files in os.walk(folder):
        directories.sort()
        for name in sorted(files):
            if len(found) == _MOST_FILES:
                raise _Unreadable
            file_name = os.path.join(path, name)
            found.append([os.path.relpath(file_name, folder), _digest_of_file(file_name, pattern)])
    return found


def _digest_of_file(path, pattern):
    # Any byte is a character of this encoding.
    with open(path, "rb") as file:
        text = file.read().decode("latin-1")
    return _digest(pattern.sub(lambda match: _PLACEHOLDER, text))


def _digest(value):
    return hashlib.sha256(_compat.hashable_json(value, sort_keys=True, default=str)).hexdigest()
