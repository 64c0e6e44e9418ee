"""The options of the cache in the section ``[buildout]``."""

import os

from eggcache._log import logger

#: Options with two values. The second one is the default, and what any other value counts as.
_VALUES = {
    "egg-cache-convert": ("false", "true"),
    "egg-cache-fetch-archives": ("true", "false"),
    "egg-cache-hashes-missing": ("warn", "fail"),
    "egg-cache-unknown-archives": ("use", "check"),
}

#: Values of ``egg-cache-compile``, and the variants of the eggs that are made so.
_COMPILE = {"all": "compile-all", "all-unchecked-hash": "compile-all-unchecked-hash"}


def mark_used(options):
    """Read each option: buildout reports options that nobody has read as unused."""
    for name in ["egg-cache-compile", "egg-cache-environment", "egg-cache-hashes"] + sorted(_VALUES):
        options.get(name)


def is_changed(options, name):
    """Whether an option has the first of its two values, which is not the default."""
    return options.get(name) == _VALUES[name][0]


def compile_variant(options):
    """The variant of eggs in which more is compiled than in those of stock buildout; else an empty string."""
    return _COMPILE.get(options.get("egg-cache-compile"), "")


def warn_of_values(options):
    """Log a warning for each option with a value that means nothing."""
    for name, values in sorted(_VALUES.items()):
        value = options.get(name)
        if value is not None and value not in values:
            on, off = values
            logger.warning("%s = %s is neither %s nor %s; it counts as %s.", name, value, on, off, off)
    value = options.get("egg-cache-compile", "stock")
    if value != "stock" and value not in _COMPILE:
        logger.warning(
            "egg-cache-compile = %s is none of stock, all and all-unchecked-hash; it counts as stock.", value
        )


def cache_directory(buildout):
    """The path of the cache. As in buildout, a relative path starts at the file that sets it.

    Raise ValueError if it names an environment variable, which would become a folder of that name.
    """
    base = buildout["buildout"]["directory"]
    value = buildout["buildout"]["egg-cache"].strip()
    # The folder of the buildout may have such a name.
    if "$" in value.replace(base, ""):
        reason = "buildout does not expand environment variables; ~ is your home directory"
        raise ValueError("egg-cache = %s: %s" % (value, reason))
    return _absolute(buildout, "egg-cache", value)


def hashes_file(buildout):
    """The path of the file of hashes; None without that option. Relative paths are as in `cache_directory`."""
    value = buildout["buildout"].get("egg-cache-hashes", "").strip()
    return _absolute(buildout, "egg-cache-hashes", value) if value else None


def _absolute(buildout, option, value):
    base = buildout["buildout"]["directory"]
    directory = os.path.expanduser(value)
    if os.path.isabs(directory):
        return directory
    try:
        source = buildout._annotated["buildout"][option].source
    except (AttributeError, KeyError):
        source = ""
    if os.path.isabs(source) and os.path.isfile(source):
        base = os.path.dirname(source)
    return os.path.abspath(os.path.join(base, directory))
