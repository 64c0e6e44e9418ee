"""Custom builds: ``zc.recipe.egg:custom`` and whatever else calls ``Installer.build``.

Their eggs go to the develop-eggs directory and depend on build options and on the environment, so
these are part of their key, and the plain egg of such a project is never served.
"""

import contextlib
import functools
import re

from eggcache import _host
from eggcache._session import canonical

_RECIPE = "zc.recipe.egg:custom"
_REFERENCE = re.compile(r"\$\{([^:}]*):([^}]*)\}")


def projects(buildout, pkg_resources):
    """Canonical names of the projects that a part of this buildout builds with options; None where
    a name cannot be told.

    Sections are read as they are written: to evaluate one would run its recipe.
    """
    names = set()
    for section in buildout._raw:
        option = functools.partial(_raw_option, buildout._raw, section)
        if (option("recipe") or "").strip() == _RECIPE:
            spec = (option("egg") or option("eggs") or section).strip()
            try:
                names.add(canonical(pkg_resources.Requirement.parse(spec).project_name))
            except ValueError:
                return None
    return names


def _raw_option(raw, section, name, depth=8):
    """An option of a section or of the macros (``<``) that it extends, references followed."""
    options = raw.get(section, {})
    value = options.get(name)
    for macro in options.get("<", "").split():
        if value is None and depth > 0:
            value = _raw_option(raw, macro, name, depth - 1)

    def referred(match):
        other, option = match.groups()
        found = depth > 0 and _raw_option(raw, other or section, option, depth - 1)
        return match.group() if not found else found

    return value and _REFERENCE.sub(referred, value)


@contextlib.contextmanager
def building(session, spec, build_ext):
    """While an egg is built with options, the session asks for and stores that variant."""
    requirement = session.pkg_resources.Requirement.parse(spec)
    if session.custom is not None:
        session.custom.add(canonical(requirement.project_name))
    session.variant = _host.variant_of(build_ext, session.environ)
    session.custom_source = None
    try:
        yield
    finally:
        session.variant, session.custom_source = "", None


def restore_offline(buildout, easy_install, session):
    """Let custom parts work offline, where their recipe does nothing."""
    if not buildout.offline:
        return
    options_class = type(buildout["buildout"])
    stock_call = options_class._call

    def _call(self, f):
        installed = stock_call(self, f)
        recipe = getattr(self, "recipe", None)
        kind = type(recipe)
        if (kind.__module__, kind.__name__) != ("zc.recipe.egg.custom", "Custom"):
            return installed
        recipe._set_environment()
        try:
            restored = _restore(self, recipe.build_ext, easy_install, session)
        finally:
            recipe._restore_environment()
        return list(installed or ()) + restored

    options_class._call = _call


def _restore(options, build_ext, easy_install, session):
    """Copy the egg of a custom part into the develop-eggs directory; answer what was copied."""
    spec = options.get("egg", options.get("eggs", options.name)).strip()
    installer = easy_install.Installer(options["_d"], path=[options["_e"]], newest=False)
    requirement = installer._constrain(session.pkg_resources.Requirement.parse(spec))
    with building(session, spec, build_ext):
        offered = session.choose(installer, requirement, 1)
        dist = offered and session.materialize(offered, installer._dest)
    return [dist.location] if dist else []
