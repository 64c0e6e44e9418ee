"""Custom builds: ``zc.recipe.egg:custom`` and everything else that calls ``Installer.build``.

Their eggs go to the develop-eggs directory. They depend on build options and on the environment, so
both are part of the egg key as the *variant*. The plain egg of such a project is never served.
"""

import contextlib
import functools
import os
import re

from eggcache import _compat, _variant
from eggcache._log import logger
from eggcache._requirements import canonical

_RECIPE = "zc.recipe.egg:custom"
_REFERENCE = re.compile(r"\$\{([^:}]*):([^}]*)\}")


class CustomBuilds(object):
    """The projects that a buildout builds with options, and the custom build that is running.

    ``projects`` holds canonical names. It is None if they are not known: then every project counts
    as one of them. ``installer`` is what installs eggs, if it is not pip.
    """

    def __init__(self, projects, directory, installer=""):
        self._projects = projects
        self._installer = installer
        self._environ = dict(os.environ)
        #: Paths of the folder of this buildout.
        self.folders = sorted({directory, os.path.realpath(directory)})
        #: The digest of options and environment of the running build; empty outside of one.
        self.variant = ""
        #: The variant if the egg works only in the folder of this buildout; None if no option names it.
        self.bound_variant = None
        #: What the variant is a digest of, as people read it.
        self.build_options = {}
        #: The path of the archive that is being built; None if not known.
        self.archive = None
        #: When it was fetched, by the monotonic clock.
        self._fetched_at = None
        #: The variant of eggs of wheels, if they are compiled in another way than in stock buildout.
        self.compile_variant = ""

    @property
    def key_variant(self):
        """The variant in the keys of eggs: eggs of another installer than pip are a variant, too.

        So are eggs with more bytecode than those of stock buildout.
        """
        return self.variant or self._installer or self.compile_variant

    def includes(self, project_name):
        """Whether a part may build this project with options."""
        return self._projects is None or canonical(project_name) in self._projects

    @contextlib.contextmanager
    def building(self, project_name, build_ext):
        """Meanwhile, the cache is asked for this variant, and stores it."""
        if self._projects is not None:
            self._projects.add(canonical(project_name))
        self.variant, self.bound_variant, self.build_options = _variant.of(
            build_ext, self._environ, self.folders, self._installer
        )
        self.archive = self._fetched_at = None
        try:
            yield
        finally:
            self.variant, self.bound_variant, self.build_options = "", None, {}
            self.archive = self._fetched_at = None

    def fetched(self, archive):
        """Note the archive of the running build."""
        self.archive, self._fetched_at = archive, _compat.monotonic()

    def build_seconds(self, seconds):
        """How long a build took of which the installation into the eggs directory took these seconds.

        Buildout builds any other egg in that step, but a custom build before it.
        """
        return seconds if self._fetched_at is None else _compat.monotonic() - self._fetched_at


def projects(buildout, pkg_resources):
    """Canonical names of the projects that a part of this buildout builds with options.

    None if one of the names cannot be parsed. Sections are read as they are written: to evaluate one
    would run its recipe.
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
    """An option of a section, or of the macros (``<``) that it extends, with references resolved."""
    options = raw.get(section, {})
    value = options.get(name)
    for macro in options.get("<", "").split():
        if value is None and depth > 0:
            value = _raw_option(raw, macro, name, depth - 1)

    def resolve(match):
        other, option = match.groups()
        found = depth > 0 and _raw_option(raw, other or section, option, depth - 1)
        return match.group() if not found else found

    return value and _REFERENCE.sub(resolve, value)


def is_custom_part(options):
    """Whether a part's recipe is ``zc.recipe.egg:custom``."""
    kind = getattr(options, "recipe", None).__class__
    return (kind.__module__, kind.__name__) == ("zc.recipe.egg.custom", "Custom")


def restore(options, easy_install, session):
    """Copy the egg of a custom part from the cache into the develop-eggs directory.

    Return the locations of what was copied. Offline, the recipe itself does nothing.
    """
    recipe = options.recipe
    spec = options.get("egg", options.get("eggs", options.name)).strip()
    installer = easy_install.Installer(None, path=[options["_d"], options["_e"]])
    parsed = easy_install.pkg_resources.Requirement.parse(spec)
    recipe._set_environment()
    try:
        with session.custom.building(parsed.project_name, recipe.build_ext):
            for requirement in session.copier.constrained(installer, parsed):
                offered = session.choose(installer, requirement, 1)
                dist = offered and session.materialize(offered, options["_d"])
                if dist:
                    return [dist.location]
                if not installer._env[parsed.project_name]:
                    logger.warning("the cache has no build of %s for part %s.", requirement, options.name)
                    session.lacks_offline(requirement)
    finally:
        recipe._restore_environment()
    return []
