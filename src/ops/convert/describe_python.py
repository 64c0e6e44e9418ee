# Describes this Python for eggcache, as one line of JSON.
import sys

sys.path[:] = [path for path in sys.path if path]  # no module comes from the current directory

import json
import sysconfig


def version(project):
    try:
        from importlib.metadata import version
    except ImportError:
        return None
    try:
        return version(project)
    except Exception:
        return None


print(
    json.dumps(
        {
            "executable": sys.executable,
            "implementation": sys.implementation.name,
            "version": list(sys.version_info[:3]),
            "cache_tag": sys.implementation.cache_tag or "",
            "platform": sysconfig.get_platform(),
            "is_virtual": sys.prefix != getattr(sys, "base_prefix", sys.prefix),
            "pip": version("pip"),
            "buildout": version("zc.buildout"),
        }
    )
)
