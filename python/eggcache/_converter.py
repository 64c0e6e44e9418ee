"""Let the program make eggs of wheels, where buildout would run pip."""

import hashlib
import logging
import os
import shutil
import sys
import tempfile

from eggcache import _bridge, _host, _options, _pip
from eggcache._log import logger

#: The functions of ``zc.buildout.easy_install`` that make an egg of a wheel. If somebody has replaced one,
#: it may do something else.
_FUNCTIONS = ("call_pip_install", "make_egg_after_pip_install", "get_subprocess_output")

#: Others that only zc.buildout 5.3 has.
_FUNCTIONS_OF_53 = ("_run_pip", "_pip_install_args", "_pip_install_env")


def converter_for(bridge, easy_install, options, version):
    """The converter of a run; None if this buildout does not install wheels with pip, or shall not.

    ``version`` returns the version of a project that is installed beside buildout, or None.
    """
    if _host.generation(easy_install) < 5 or _options.is_changed(options, "egg-cache-convert"):
        return None
    if not all(_is_own(easy_install, name) for name in _functions_of(easy_install)):
        logger.debug("wheels are not converted: somebody has changed how buildout installs them.")
        return None
    return Converter(bridge, easy_install, version, _options.compile_variant(options))


class Converter(object):
    """Passes wheels to the program.

    The first wheel for a new combination of Python, zc.buildout and pip is installed by pip, and the
    program compares the result with what it makes itself.
    """

    def __init__(self, bridge, easy_install, version, variant=""):
        self._bridge = bridge
        self._easy_install = easy_install
        self._version = version
        #: The modules of buildout that install wheels.
        homes = {_home(easy_install, name) for name in _functions_of(easy_install)}
        self._homes = sorted(homes, key=lambda module: module.__name__)
        #: What is compiled, as the variant of the eggs; empty for what stock buildout compiles.
        self.variant = variant
        #: Whether the last wheel was compared, and its egg equals the one that the program makes.
        self.is_equal = False
        #: The functions that make eggs after pip, which somebody may replace later.
        self._functions = self._found_functions()
        #: What does not change during a run.
        self._fixed = None
        #: The request for the wheel that buildout is to install, to compare the result.
        self._uncompared = None
        #: The file name of the egg that was made last.
        self.made = None
        #: Why the last wheel was not converted; None if it was, or if there was none.
        self._obstacle = None
        #: What is odd about the last wheel that was converted; None if nothing is.
        self.warning = None

    def is_usable(self):
        """Whether buildout would let pip install wheels in the way that the program knows."""
        return self._obstacle_of_all() is None

    def prepare(self, wheel, sha256, dest):
        """Let the program make the egg of a wheel ahead, in an eggs directory, without its name."""
        request = self._request(wheel, dest)
        self._bridge.post("prepare", lambda answer, refusal: None, sha256=sha256, convert=request)

    def convert(self, wheel, dest):
        """Make the egg of a wheel in the empty directory ``dest``; return its path, or None."""
        self.made = self._uncompared = self._obstacle = self.warning = None
        self.is_equal = False
        if not str(wheel).endswith(".whl") or not os.path.isfile(wheel):
            return None
        self._obstacle = self._obstacle_in(dest)
        if self._obstacle is not None:
            return None
        try:
            request = self._request(wheel, dest)
            answer = self._bridge.call("convert", **request)
        except (_bridge.Refusal, EnvironmentError) as error:
            self._obstacle = str(error)
            return None
        egg = answer.get("egg")
        if egg:
            self.made = os.path.basename(egg)
            self.warning = _summary(wheel, answer.get("warnings"))
            return os.path.join(dest, self.made)
        self._obstacle = answer.get("left")
        if answer.get("compare"):
            self._uncompared = request
            self._obstacle = "the first wheel of this Python and pip is installed by pip, to compare the eggs"
        return None

    def take_obstacle(self):
        """Why the last wheel was not converted, if nobody has asked yet."""
        obstacle, self._obstacle = self._obstacle, None
        return obstacle

    def compare(self, found):
        """Let the program compare what buildout has made of the last wheel; return a warning or None."""
        request, self._uncompared = self._uncompared, None
        if request is None or len(found) != 1:
            return None
        warning = self._bridge.call("convert", **dict(request, stock=found[0])).get("warning")
        self.is_equal = not warning
        return warning

    def replace(self, wheel, found, convert):
        """Replace the egg of pip by the equal one that the program makes, which is the same on all machines.

        ``convert`` makes the egg of a wheel in a directory, and returns its path or None.
        """
        self.is_equal = False
        [stock] = found
        other = tempfile.mkdtemp(dir=os.path.dirname(stock))
        made = None
        try:
            egg = convert(wheel, other)
            if egg is not None and os.path.basename(egg) == os.path.basename(stock):
                _replace(stock, egg, os.path.join(other, "stock"))
                made = os.path.basename(egg)
        finally:
            self.made = made
            shutil.rmtree(other, ignore_errors=True)

    def _obstacle_in(self, dest):
        """Why pip may not install exactly the wheel, or in another way than the program knows; else None."""
        if not os.path.isdir(dest) or os.listdir(dest):
            return "the directory that pip installs into is not empty"
        return self._obstacle_of_all()

    def _obstacle_of_all(self):
        """Why pip may install wheels in another way than the program knows; else None."""
        if self._easy_install.logger.getEffectiveLevel() <= logging.DEBUG:
            return "buildout runs with -v"
        if self._found_functions() != self._functions:
            return "somebody has changed how buildout makes eggs"
        oddity = _pip.oddity(os.environ)
        return None if oddity is None else "%s may change what pip installs" % oddity

    def _found_functions(self):
        """The functions that make eggs after pip, in all modules that buildout may call them through."""
        names = _functions_of(self._easy_install)[1:]
        modules = [self._easy_install] + self._homes
        return [getattr(module, name, None) for module in modules for name in names]

    def _request(self, wheel, dest):
        if self._fixed is None:
            self._fixed = self._describe()
        umask = os.umask(0o077)
        os.umask(umask)
        names = [name for name in _pip.FOLLOWED if name in os.environ]
        return dict(
            self._fixed,
            wheel=os.path.abspath(wheel),
            into=os.path.abspath(dest),
            environment={name: os.environ[name] for name in names},
            umask=umask,
            variant=self.variant,
        )

    def _describe(self):
        """What decides how this buildout makes eggs of wheels."""
        code = hashlib.sha256()
        for module in self._homes:
            path = module.__file__
            with open(path[:-1] if path.endswith(".pyc") else path, "rb") as file:
                code.update(file.read())
        python = {
            "executable": sys.executable,
            "implementation": sys.implementation.name,
            "version": list(sys.version_info[:3]),
            "cache_tag": sys.implementation.cache_tag or "",
            "platform": self._easy_install.pkg_resources.get_supported_platform(),
            "is_virtual": sys.prefix != sys.base_prefix,
            "pip": self._version("pip"),
            "buildout": self._version("zc.buildout"),
        }
        return {"python": python, "setuptools": self._version("setuptools"), "code": code.hexdigest()}


def _summary(wheel, warnings):
    """What is odd about a wheel, in one sentence without its end; None if nothing is."""
    if not warnings:
        return None
    more = " (and %d more)" % (len(warnings) - 1) if len(warnings) > 1 else ""
    return "%s: %s%s" % (os.path.basename(wheel), warnings[0], more)


def _replace(path, new, aside):
    """Put a directory in the place of another one, which goes aside. If that fails, it stays."""
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except EnvironmentError:
        os.rename(aside, path)
        raise


def empty(directory):
    """Remove what a program that has failed may have left in a directory."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _functions_of(easy_install):
    """The names of the functions that make an egg of a wheel in this zc.buildout."""
    return _FUNCTIONS + tuple(name for name in _FUNCTIONS_OF_53 if hasattr(easy_install, name))


def _home(easy_install, name):
    """The module of a function that buildout calls through ``easy_install``.

    zc.buildout 5.3 has moved some of these functions to other modules.
    """
    function = getattr(easy_install, name, None)
    module = sys.modules.get(getattr(function, "__module__", None))
    is_of_buildout = getattr(module, "__name__", "").startswith("zc.buildout.")
    return module if is_of_buildout else easy_install


def _is_own(easy_install, name):
    """Whether a function of a module is the one that buildout defines."""
    function = getattr(easy_install, name, None)
    home = _home(easy_install, name)
    code = getattr(function, "__code__", None)
    is_global = getattr(function, "__globals__", None) is vars(home)
    return is_global and getattr(home, name) is function and code is not None and code.co_name == name
