"""The replaced methods: what they pass on, and when they leave everything to buildout."""

import contextlib
import os
import types

import pytest

import fakes
from eggcache import _chooser, _patches, _seam
from fakes import Distribution, Environment, Requirement, egg


class Session:
    """A session whose cache has failed, or one with a few eggs."""

    def __init__(self, is_active=False):
        self.is_active = is_active
        self.calls = []
        self.offers = {}
        self.arrived = None
        self.custom = types.SimpleNamespace(variant="", bound_variant=None, building=self._building)
        self.root = types.SimpleNamespace(
            add_locations=lambda locations: self.calls.append(("used", sorted(locations))),
            add_part=lambda name: self.calls.append(("part", name)),
            finish=lambda parts: self.calls.append(("parts", parts)),
        )
        self.chooser = types.SimpleNamespace(paused=contextlib.nullcontext, has_offered=False)
        self.places = types.SimpleNamespace(of_part=contextlib.nullcontext)
        self.conflicts = types.SimpleNamespace(
            resolve=lambda installer, asked, working_set, chooser, install, is_misled: install(),
            hide=lambda env: None,
            are_open=False,
        )
        self.await_listing = lambda: None
        self.ahead = None

    def give_up(self, error):
        self.calls.append(("give_up", str(error)))
        self.is_active = False

    @contextlib.contextmanager
    def _building(self, name, build_ext):
        self.custom.variant = "variant"
        yield
        self.custom.variant = ""

    def choose(self, installer, requirement, source):
        return self.offers.get(requirement.key) if self.is_active else None

    def materialize(self, dist, dest):
        self.calls.append(("materialize", dist.eggcache.digest, dest))
        return self.arrived

    def __getattr__(self, name):
        return lambda *args, **kw: self.calls.append((name,))


def stock():
    """Fakes of the modules and classes of buildout, whose methods note how they were called."""
    calls = []

    def noted(name, answer=None):
        def method(*args, **kw):
            calls.append((name, args[1:], kw))
            return answer() if callable(answer) else answer

        return method

    class Installer:
        _download_cache = None
        _dest = "eggs"
        _path = _links = ()
        _allow_hosts = _index = _install_from_cache = _newest = _prefer_final = None
        _constrain = _fix_file_links = _obtain = None
        install = noted("install", list)
        _satisfied = noted("_satisfied", (None, None))
        _get_dist = noted("_get_dist", list)
        _fetch = noted("_fetch")
        _env_rescan_dest = noted("_env_rescan_dest")
        _get_dest_dist_paths = noted("_get_dest_dist_paths", list)
        _make_env = noted("_make_env")
        build = noted("build", list)

        def __init__(self):
            self._env = Environment()

    class Options(dict):
        name = "app"
        _call = noted("_call", list)

    class Buildout(dict):
        offline = False
        _unload_extensions = noted("_unload_extensions")

    def move(dist, dest, *args, **kw):
        calls.append(("_move_to_eggs_dir_and_compile", (dist, dest) + args, kw))
        return Distribution(dist.project_name, dist.version, "eggs/built.egg")

    def call_pip_install(*args, **kw):
        calls.append(("call_pip_install", args, kw))
        return ["dest/of-pip.egg"]

    easy_install = types.SimpleNamespace(
        Installer=Installer,
        call_pip_install=call_pip_install,
        pkg_resources=fakes.RESOURCES,
        MissingDistribution=LookupError,
        _move_to_eggs_dir_and_compile=move,
    )
    buildout = Buildout(
        buildout=Options({"eggs-directory": "eggs", "develop-eggs-directory": "develop-eggs", "parts": "app"})
    )
    return easy_install, buildout, calls


class World:
    """Patched fakes. ``methods`` are some of the methods of stock, by name."""

    def __init__(self, methods=(), **kw):
        self.easy_install, self.buildout, self.calls = stock()
        for name, method in dict(methods).items():
            setattr(self.easy_install.Installer, name, method)
        self.session = Session(**kw)
        self.patches = _patches.Patches(self.session, self.buildout, self.easy_install)
        self.patches.apply()
        self.installer = self.easy_install.Installer()

    def offer(self, name="alpha", version="1.0"):
        dist = Distribution(name, version)
        dist.eggcache = _chooser.Offer(
            egg(name, version), Requirement("%s==%s" % (name, version)), None, self.installer
        )
        self.session.offers[name] = dist
        return dist


ALPHA = Requirement("alpha")
DIST = Distribution("alpha", "1.0", "alpha.tar.gz")


@pytest.mark.parametrize(
    "name, args",
    [
        ("install", (["alpha"], None)),
        ("_satisfied", (ALPHA, 1)),
        ("_get_dist", (ALPHA, "ws")),
        ("_fetch", (DIST, "tmp", "cache")),
        ("_env_rescan_dest", ()),
        ("_get_dest_dist_paths", ()),
        ("_make_env", ()),
        ("build", ("alpha", {})),
    ],
)
@pytest.mark.parametrize("more, named", [((), {}), (("new",), {"keyword": 1})], ids=["today", "later"])
def test_without_a_cache_the_stock_method_gets_all_arguments(name, args, more, named):
    world = World()
    getattr(world.installer, name)(*(args + more), **named)
    assert world.calls == [(name, args + more, named)]


def test_version_specific_arguments_reach_the_stock_function():
    # Versions 4.1.4 to 4.1.7 pass the name of the project.
    world = World(is_active=True)
    world.easy_install._move_to_eggs_dir_and_compile(DIST, "eggs", project_name="alpha")
    assert world.calls == [("_move_to_eggs_dir_and_compile", (DIST, "eggs"), {"project_name": "alpha"})]
    assert world.session.calls == [("built",)]
    offered = world.offer()
    offered.eggcache.arrived = arrived = Distribution("alpha", "1.0", "eggs/alpha.egg")
    moved = world.easy_install._move_to_eggs_dir_and_compile(offered, "eggs", project_name="alpha")
    assert moved is arrived and len(world.calls) == 1


@pytest.mark.parametrize("is_build", [True, False])
def test_a_build_that_fails_is_not_blamed_on_an_offered_egg(is_build):
    # The build of buildout 2 fails with a ValueError.
    error = ValueError("not enough values to unpack")

    def install(self, specs, working_set):
        if is_build:
            patched._move_to_eggs_dir_and_compile(DIST, "eggs")
        raise error

    def fail(*args):
        raise error

    patched, buildout, _ = stock()
    patched.Installer.install, patched._move_to_eggs_dir_and_compile = install, fail
    session = Session(is_active=True)
    session.chooser.has_offered = True
    session.conflicts.resolve = lambda installer, asked, working_set, chooser, install, is_misled: (
        misled.append(is_misled(installer, pytest.raises(ValueError, install).value)) or []
    )
    misled = []
    _patches.Patches(session, buildout, patched).apply()
    patched.Installer().install(["alpha"], None)
    assert misled == [not is_build] and session.is_active == is_build


def test_nothing_is_replaced_if_a_method_is_missing():
    easy_install, buildout, _ = stock()
    del easy_install.Installer._get_dest_dist_paths
    before = dict(vars(easy_install.Installer))
    with pytest.raises(_seam.Unfit, match="_get_dest_dist_paths"):
        _patches.Patches(Session(), buildout, easy_install).apply()
    assert dict(vars(easy_install.Installer)) == before


def test_a_custom_build_works_after_the_cache_has_failed():
    world = World()
    # Buildout fetches here without a call of `_get_dist`.
    assert world.installer._fetch(DIST, "tmp", None) is None
    assert world.calls == [("_fetch", (DIST, "tmp", None), {})]


def test_a_cached_egg_is_offered_as_available():
    world = World(is_active=True)
    offered = world.offer()
    assert world.installer._satisfied(ALPHA) == (None, offered)
    assert not world.calls


def test_offline_a_cached_egg_is_copied_and_counts_as_installed():
    world = World(is_active=True)
    world.offer()
    world.installer._dest = None
    world.session.arrived = arrived = Distribution("alpha", "1.0", "eggs/alpha.egg")
    assert world.installer._satisfied(ALPHA) == (arrived, None)
    assert world.session.calls == [("materialize", "alpha-1.0", "eggs")]
    assert world.installer._env["alpha"] == [arrived]


def test_only_a_missing_egg_of_an_offline_buildout_is_lacking_offline():
    world = World(is_active=True)
    world.patches.is_offline = True
    world.installer._satisfied(ALPHA)
    assert ("lacks_offline",) not in world.session.calls
    world.installer._dest = None
    world.installer._satisfied(ALPHA)
    assert ("lacks_offline",) in world.session.calls


def test_a_recipe_that_only_looks_online_lacks_nothing():
    world = World(is_active=True)
    world.installer._dest = None
    world.installer._satisfied(ALPHA)
    assert ("lacks_offline",) not in world.session.calls


def test_an_offer_that_cannot_be_copied_comes_from_the_index():
    world = World(is_active=True, methods={"_get_dist": get_dist})
    offered = world.offer()
    world.patches.stock._satisfied = lambda installer, requirement, source: (None, DIST)
    directories(world, offered)
    [(_, (fetched, _, _), _)] = [call for call in world.calls if call[0] == "_fetch"]
    assert fetched is DIST


def test_an_offer_that_cannot_be_copied_nor_fetched_is_missing():
    world = World(is_active=True, methods={"_get_dist": get_dist})
    offered = world.offer()
    # The fake index has nothing.
    with pytest.raises(LookupError):
        directories(world, offered)


def test_an_egg_from_the_cache_needs_no_temporary_directory():
    world = World(is_active=True, methods={"_get_dist": get_dist})
    offered = world.offer()
    world.session.arrived = Distribution("alpha", "1.0", "eggs/alpha.egg")
    assert directories(world, offered) == [""]
    assert "_fetch" not in [name for name, _, _ in world.calls]


def test_an_archive_gets_a_temporary_directory_that_is_removed():
    world = World(is_active=True, methods={"_get_dist": get_dist})
    assert directories(world, DIST) == [""]
    [(_, (_, directory, download_cache), _)] = [call for call in world.calls if call[0] == "_fetch"]
    assert "get_dist" in directory and not os.path.exists(directory) and download_cache is None


def get_dist(self, requirement, ws):
    """As `_get_dist` of buildout; ``ws`` has what is available, and gets what counts as the download cache."""
    [dist] = ws
    ws.append(self._download_cache)
    self._fetch(dist, self._download_cache, self._download_cache)


def directories(world, dist):
    """Fetch a distribution; return what buildout takes for the download cache meanwhile."""
    seen = [dist]
    world.installer._get_dist(ALPHA, seen)
    # Buildout finds its own setting again.
    assert world.installer._download_cache is None
    return seen[1:]


def test_only_new_eggs_are_added_to_the_environment():
    world = World(is_active=True)
    world.easy_install._move_to_eggs_dir_and_compile(DIST, "eggs")
    world.installer._env_rescan_dest()
    [added] = world.installer._env["alpha"]
    assert added.location == "eggs/built.egg" and added.precedence == fakes.RESOURCES.EGG_DIST
    assert "_env_rescan_dest" not in [name for name, _, _ in world.calls]
    # Nothing is known to be new: everything is read.
    world.installer._env_rescan_dest()
    assert world.calls[-1] == ("_env_rescan_dest", (), {})


def test_an_egg_in_another_directory_makes_buildout_read_all():
    world = World(is_active=True)
    world.easy_install._move_to_eggs_dir_and_compile(DIST, "eggs")
    world.installer._dest = "other-eggs"
    world.installer._env_rescan_dest()
    assert world.calls[-1] == ("_env_rescan_dest", (), {})


def test_a_custom_build_is_copied_from_the_cache():
    world = World(is_active=True)
    world.offer()
    world.session.arrived = Distribution("alpha", "1.0", "develop-eggs/alpha.egg")
    world.installer._constrain = lambda requirement: requirement
    assert world.installer.build("alpha", {}) == ["develop-eggs/alpha.egg"]
    assert world.session.calls[-1] == ("used", ["develop-eggs/alpha.egg"])
    assert not world.calls


def test_a_part_is_noted_and_the_result_of_its_recipe_is_kept():
    world = World(is_active=True)
    assert world.buildout["buildout"]._call(len) == []
    assert world.session.calls == [("part", "app")]


def test_the_session_ends_after_the_extensions():
    world = World(is_active=True)
    world.buildout._unload_extensions()
    assert world.calls == [("_unload_extensions", (), {})]
    assert world.session.calls == [("parts", ["app"]), ("register",), ("close",)]


def test_a_wheel_is_converted_or_left_to_pip():
    world = World(is_active=True)
    world.session.convert = lambda wheel, dest: "dest/converted.egg"
    assert world.easy_install.call_pip_install("a.whl", "dest") == ["dest/converted.egg"]
    assert world.calls == [] and world.session.calls == []
    world.session.convert = lambda wheel, dest: None
    assert world.easy_install.call_pip_install("a.whl", "dest") == ["dest/of-pip.egg"]
    assert world.calls == [("call_pip_install", ("a.whl", "dest", False), {})]
    assert world.session.calls == [("compare",), ("replace_compared",)]


def test_an_editable_project_is_left_to_pip():
    world = World(is_active=True)
    world.session.convert = lambda wheel, dest: "dest/converted.egg"
    world.easy_install.call_pip_install("/src/a", "dest", editable=True)
    assert world.calls == [("call_pip_install", ("/src/a", "dest", True), {})]
    assert world.session.calls == []


def test_without_a_converter_the_function_of_buildout_stays():
    easy_install, buildout, _ = stock()
    session = Session(is_active=True)
    session.converter = None
    before = easy_install.call_pip_install
    _patches.Patches(session, buildout, easy_install).apply()
    assert easy_install.call_pip_install is before


@pytest.mark.parametrize("error", [None, LookupError("there is none"), KeyboardInterrupt()])
def test_what_buildout_lacks_and_that_it_has_failed_are_noted(error):
    def get_dist(self, requirement, ws):
        if error is not None:
            raise error
        return []

    patched, buildout, _ = stock()
    patched.Installer._get_dist = get_dist
    patched.Installer.install = lambda self, specs, working_set: self._get_dist(DIST, working_set)
    session = Session(is_active=True)
    session.has_failed = False
    _patches.Patches(session, buildout, patched).apply()
    installer = patched.Installer()
    if error is None:
        installer.install(["alpha"], None)
    else:
        with pytest.raises(type(error)):
            installer.install(["alpha"], None)
    assert installer._eggcache_lacks == (None if error is None else (DIST, None))
    assert session.has_failed == (error is not None)
    assert (("lacks",) in session.calls) == isinstance(error, LookupError)
