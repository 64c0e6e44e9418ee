"""The configuration of pip and of Python, as far as it decides what pip installs.

pip runs as a process of its own and reads the environment and its configuration files. Whatever is set
there and is not known to be harmless is left to it.
"""

import os
import sys

#: Options of pip that change neither the files that it makes of a wheel on this machine, nor whether it
#: accepts the wheel.
_HARMLESS = frozenset(
    "break-system-packages cache-dir cert client-cert default-timeout disable-pip-version-check "
    "extra-index-url find-links index-url keyring-provider no-cache-dir no-color no-index no-input "
    "no-python-version-warning no-warn-script-location only-binary pre prefer-binary progress-bar "
    "proxy quiet retries root-user-action timeout trusted-host upgrade-strategy verbose".split()
)

#: Sections of a configuration file that count for ``pip install``.
_SECTIONS = ("global", "install")

#: Variables of Python that change bytecode, where it is, or which code compiles.
_OF_PYTHON = (
    "PYTHONCASEOK",
    "PYTHONDEVMODE",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONNODEBUGRANGES",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
)

#: Variables that count for the program as they do for pip.
FOLLOWED = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONOPTIMIZE", "SOURCE_DATE_EPOCH")


def oddity(environ):
    """What is set for pip, in variables or files, that may change what it installs; else None."""
    for name in _OF_PYTHON:
        if environ.get(name):
            return name
    for item in environ.get("PYTHONWARNINGS", "").split(","):
        action = item.split(":")[0].strip()
        if action and "error".startswith(action):
            return "PYTHONWARNINGS"
    for name in environ:
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and not _is_harmless(name[4:]):
            return name
    for path in _files(environ):
        found = _oddity_in(path)
        if found:
            return "%s in %s" % (found, path)
    return None


def _is_harmless(option):
    return option.lower().replace("_", "-").lstrip("-") in _HARMLESS


def _oddity_in(path):
    """The first option in a configuration file that may change what pip installs; else None."""
    if not os.path.exists(path):
        return None
    # Python 2 has it by another name, but no buildout that gets here.
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read(path)
    except Exception as error:
        # pip may read it in another way, or fail.
        return type(error).__name__
    for section in _SECTIONS:
        if parser.has_section(section):
            for option in parser.options(section):
                if not _is_harmless(option):
                    return option
    return None


def _files(environ):
    """The configuration files that pip reads, whether they exist or not."""
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    home = environ.get("HOME") or os.path.expanduser("~")
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    folders += ["/Library/Application Support", os.path.join(home, "Library", "Application Support")]
    folders += [environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")]
    files = [os.path.join(folder, "pip", "pip.conf") for folder in folders if folder]
    files += ["/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"), os.path.join(sys.prefix, "pip.conf")]
    return files + [chosen] if chosen else files
