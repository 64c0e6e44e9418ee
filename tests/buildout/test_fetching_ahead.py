"""Pages and archives that are fetched ahead: the same choices, and no request that is not documented.

Stock buildout is the same environment with an empty ``egg-cache``. The index notes all requests.
"""

import collections
import glob
import itertools
import json
import os
import random
import re
import shutil
import threading
import time

import pytest

import index
from conftest import World, summary
from configurations import WHEELS, Configuration
from outcomes import differences, outcomes
from test_converting import contents, counts, hook, lines, scripts
from universe import Universe

#: The number of random configurations; `make differential` tries 100.
COUNT = int(os.environ.get("EGGCACHE_CONFIGURATIONS", 2))


class WatchedIndex(index.Index):
    """An index that knows how many requests wait for an answer at once."""

    def __init__(self):
        super().__init__()
        #: As from a machine that is not near.
        self.delay = 0.01
        #: How many requests it answers at once. It refuses others.
        self.limit = None
        self.refused = 0
        self.damaged = set()
        self.most = self._now = 0
        self._lock = threading.Lock()

    def clear(self):
        self.most = 0
        del self.requests[:]

    def answer(self, request):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            is_refused = self.limit is not None and self._now > self.limit
        time.sleep(0 if is_refused else self.delay)
        # Before it is answered: a client that has the answer may ask again before this thread goes on.
        with self._lock:
            self._now -= 1
        if is_refused:
            self.refused += 1
            request.send_error(503)
        elif os.path.basename(request.path) in self.damaged:
            self._damage(request)
        else:
            super().answer(request)

    def _damage(self, request):
        """Answer with another content than the page says."""
        request.send_response(200)
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Content-Length", "7")
        request.end_headers()
        request.wfile.write(b"another")


@pytest.fixture
def web():
    return WatchedIndex()


@pytest.fixture(scope="session")
def recipes(tmp_path_factory):
    """Returns the path of the egg of the recipe, for a buildout."""
    known, web = {}, index.Index()

    def egg_for(buildout):
        if buildout not in known:
            world = World(tmp_path_factory.mktemp("recipe"), buildout, web)
            project = world.project("project", eggs="zc.recipe.egg")
            project.run(cache=False)
            [known[buildout]] = project.eggs_directory.glob("zc*recipe*.egg")
        return known[buildout]

    return egg_for


@pytest.fixture
def world(tmp_path, buildout, web, recipes):
    world = World(tmp_path, buildout, web).after_comparison()
    world.recipe = recipes(buildout)
    world.wheel("alpha", "1.0", requires=["beta", "nosuch; sys_platform == 'win32'", "delta; extra == 'x'"], extras=["x"])
    world.wheel("beta", "1.0", requires=["gamma"])
    world.wheel("gamma", "1.0")
    world.wheel("gamma", "2.0")
    world.wheel("delta", "1.0")
    world.wheel("epsilon", "1.0")
    web.delay = 0.05
    web.clear()
    return world


def eggs_of(project):
    """What is in the eggs of a buildout. Before 5, stock buildout compiles the recipe when it imports it."""
    is_compiled = project.world.buildout.generation >= 5
    return {path: it for path, it in contents(project).items() if is_compiled or "__pycache__" not in path}


def with_recipe(world, name, **kw):
    """A project in which the recipe is installed."""
    project = world.project(name, **kw)
    shutil.copytree(str(world.recipe), str(project.eggs_directory / world.recipe.name))
    return project


PINS = "alpha = 1.0\nbeta = 1.0\ngamma = 1.0\nepsilon = 1.0\n"
EGGS = "alpha epsilon"


def both(world, web, eggs=EGGS, versions=PINS, options="", env=None, check=True):
    """Run stock buildout, and one with the cache, which must say the same.

    Return the second, its output, and the requests of both.
    """
    stock = with_recipe(world, "stock", eggs=eggs, versions=versions, options=options)
    said = stock.run(cache=False, env=env, check=check)
    before, web.most = list(web.requests), 0
    del web.requests[:]
    project = with_recipe(world, "project", eggs=eggs, versions=versions, options=options)
    output = project.run(env=env, check=check)
    assert stock.returncode == project.returncode
    if check:
        assert eggs_of(project) == eggs_of(stock) and scripts(project) == scripts(stock)
    assert lines(output, project) == lines(said, stock)
    assert not glob.glob(str(project.eggs_directory / ".eggcache-*"))
    assert "continuing without the cache" not in output and "nothing more is fetched" not in output
    return project, output, before, list(web.requests)


def has_missed(world, output, count):
    """Whether this many eggs were not in the cache. Where pip would install them, all were converted."""
    converted = (count, 0) if count and world.buildout.generation >= 5 else None
    return (summary(output)["misses"], counts(output)) == (count, converted)


# -- What is fetched


def test_pinned_projects_are_fetched_ahead_with_the_requests_of_stock(world, web):
    project, output, stock, ours = both(world, web)
    assert has_missed(world, output, 4)
    assert sorted(ours) == sorted(stock) and len(ours) == 8
    assert web.most > 1
    assert project.script("alpha") == "alpha 1.0"


def test_an_index_that_refuses_several_requests_at_once_is_asked_as_by_stock(world, web):
    web.limit = 1
    _, output, stock, _ = both(world, web)
    assert web.refused and has_missed(world, output, 4)


def test_what_is_required_by_an_extra_is_fetched_only_with_it(world, web):
    _, _, stock, ours = both(world, web, eggs="alpha[x]", versions=PINS + "delta = 1.0\n")
    assert sorted(ours) == sorted(stock) and len(ours) == 8


def test_projects_that_are_not_pinned_are_not_fetched_ahead(world, web):
    _, output, stock, ours = both(world, web, versions="")
    assert has_missed(world, output, 4)
    assert ours == stock and web.most == 1


def test_archives_of_cached_eggs_are_not_fetched(world, web):
    world.project("filling", eggs="beta epsilon", versions=PINS).run()
    web.clear()
    project, output, stock, ours = both(world, web)
    assert has_missed(world, output, 1)
    assert set(ours) < set(stock) and len([path for path in ours if path.endswith(".whl")]) == 1


# -- What is not


def with_credentials(world, web):
    url = world.index_url.replace("//", "//user:secret@")
    return {"options": "index = " + url}


def with_pypirc(world, web):
    text = "[distutils]\nindex-servers = own\n[own]\nrepository = %s\nusername = u\npassword = p\n"
    (world.path / ".pypirc").write_text(text % world.index_url)
    return {}


def with_find_links(world, web):
    folder = world.path / "page"
    folder.mkdir()
    return {"options": "find-links = " + web.serve(folder)}


def with_local_links(world, web):
    folder = world.path / "links"
    folder.mkdir()
    for name in ("alpha", "beta", "gamma", "epsilon"):
        shutil.copy(glob.glob(str(world.index / name / "*-1.0-*.whl"))[0], str(folder))
    return {"options": "find-links = %s" % folder}


def with_handler(world, web):
    code = (
        "import urllib.request\n"
        "class Handler(urllib.request.HTTPHandler): pass\n"
        "Handler.__module__ = 'somebody'\n"
        "urllib.request.install_opener(urllib.request.build_opener(Handler))\n"
        # The handler of an index that does not use what is installed.
        "try:\n"
        "    from setuptools.ssl_support import VerifyingHTTPSHandler\n"
        "    VerifyingHTTPSHandler.__module__ = 'somebody'\n"
        "except ImportError:\n"
        "    pass\n"
    )
    return {"env": hook(world, code)}


def with_replaced_index(world, web):
    code = (
        "import zc.buildout.easy_install as it\n"
        "stock = it.AllowHostsPackageIndex.open_url\n"
        "def open_url(self, *args, **kw):\n"
        "    return stock(self, *args, **kw)\n"
        "open_url.__module__ = 'somebody'\n"
        "it.AllowHostsPackageIndex.open_url = open_url\n"
    )
    return {"env": hook(world, code)}


def with_download_cache(world, web):
    return {"options": "download-cache = %s" % world.path}


def with_hosts(world, web):
    return {"options": "allow-hosts = 127.0.0.1*"}


def with_option(world, web):
    return {"options": "egg-cache-convert = false"}


@pytest.mark.one_version
@pytest.mark.parametrize(
    "change",
    [
        with_credentials,
        with_pypirc,
        with_find_links,
        with_local_links,
        with_handler,
        with_replaced_index,
        with_download_cache,
        with_hosts,
        with_option,
    ],
)
def test_where_requests_may_be_others_nothing_is_fetched_ahead(world, web, change):
    changed = change(world, web)
    if change is with_download_cache:
        # The first run would leave the archives for the second one.
        project = with_recipe(world, "project", eggs=EGGS, versions=PINS, **changed)
        project.run()
        assert web.most == 1
        return
    _, _, stock, ours = both(world, web, **changed)
    assert ours == stock and web.most == 1


def test_where_pip_installs_wheels_in_another_way_nothing_is_fetched_ahead(world, web):
    _, _, stock, ours = both(world, web, env={"PIP_NO_COMPILE": "1"})
    # Before 5, buildout installs wheels without pip.
    assert (ours == stock and web.most == 1) == (world.buildout.generation >= 5)


def test_offline_nothing_is_fetched_ahead(world, web):
    missing = with_recipe(world, "missing", eggs=EGGS, versions=PINS)
    missing.run("-o", check=False)
    # Offline, stock buildout asks for the first project as well.
    assert missing.returncode != 0 and len(web.requests) == 1


# -- Failures


def test_an_archive_with_another_sha256_fails_as_in_stock(world, web):
    web.damaged.add("beta-1.0-py3-none-any.whl")
    _, output, _, _ = both(world, web, check=False)
    assert "sha256 validation failed for beta-1.0-py3-none-any.whl" in output


def test_an_archive_that_does_not_come_fails_as_in_stock(world, web):
    # The page names a file that the server does not have.
    name = "beta-1.0-py3-none-any.whl"
    answer = web.answer

    def missing(request):
        if os.path.basename(request.path) == name:
            request.send_error(404)
        else:
            answer(request)

    web.answer = missing
    _, output, stock, ours = both(world, web, check=False)
    assert "404" in output
    # Buildout has repeated the request, unless it was the first to make it.
    [path] = [it for it in stock if it.endswith(name)]
    assert ours.count(path) in (1, 2)


def test_a_page_that_does_not_come_fails_as_in_stock(world, web):
    answer = web.answer

    def hanging_up(request):
        if request.path.endswith("/beta/"):
            request.close_connection = True
        else:
            answer(request)

    web.answer = hanging_up
    _, output, _, _ = both(world, web, check=False)
    assert "Couldn't find a distribution for 'beta==1.0'" in output


# -- Any configuration


def counted(web):
    found = collections.Counter(web.requests)
    del web.requests[:]
    return found


def pinned_configuration(seed):
    """The configuration of a seed, with more pins."""
    configuration, rng = Configuration(seed), random.Random(seed)
    for name, versions in sorted(WHEELS.items()):
        if rng.random() < 0.8:
            same = [it for it in configuration.versions if normalized(it) == normalized(name)]
            for spelled in same:
                del configuration.versions[spelled]
            configuration.versions[name] = rng.choice(sorted(versions))
    configuration.has_links = configuration.has_links and rng.random() < 0.5
    return configuration


def seeds():
    """Seeds of configurations that need the network, and say no more than by default."""
    for seed in itertools.count(300):
        configuration = Configuration(seed)
        first = configuration.runs[0]
        if not first and not configuration.is_verbose(first) and configuration.options.get("newest") is None:
            yield seed


def pins_of(configuration):
    """The pins of a configuration, in its section of versions or among the eggs of a part."""
    pins = dict(configuration.versions)
    for section in configuration.sections.values():
        for text in section.get("eggs", "").split():
            name, _, pin = text.partition("==")
            if pin:
                pins[name.split("[")[0]] = pin
    return {normalized(name): pin for name, pin in pins.items()}


def normalized(name):
    return re.sub("[-_.]+", "-", name).lower()


def is_documented(path, pins):
    """Whether a request may be made beyond those of stock: a page or the wheel of a pinned project."""
    _, _, project, name = path.split("/")
    pin = pins.get(normalized(project))
    return pin is not None and (not name or "-%s-" % pin in name)


def compare(universe, web, configuration):
    """What differs between the runs of a configuration without the cache and with an empty one, as lines."""
    found = []
    for cache in (None, universe.path / "empty"):
        web.clear()
        found.append([(it, counted(web)) for it in outcomes(universe, configuration, cache)])
        shutil.rmtree(str(universe.path / "empty"), ignore_errors=True)
    wrong = []
    for number, ((stock, before), (ours, after)) in enumerate(zip(*found)):
        arguments = configuration.runs[number]
        if {"-N", "-o"} & set(arguments):
            # There, what the run before has stored counts as installed.
            break
        for outcome in (stock, ours):
            # The compiler makes another file each time.
            outcome.files = {name: it for name, it in outcome.files.items() if not name.endswith(".so")}
        lines = differences(stock, ours, configuration.is_verbose(arguments))
        pins = pins_of(configuration)
        extra = after - before
        lines += ["requests %s" % path for path in extra if not is_documented(path, pins)]
        # A page that the index does not have is asked for again.
        found_again = [path for path in extra if after[path] > 1 and (universe.index / path.split("/")[2]).is_dir()]
        lines += ["repeats %s" % path for path in found_again if stock.status == 0]
        wrong += ["run %d %s: %s" % (number, arguments, line) for line in lines]
    return wrong


def test_random_configurations_choose_and_request_what_stock_does(buildout, web, tmp_path, monkeypatch):
    universe = Universe(tmp_path, buildout, web)
    wanted = tmp_path / "wanted"
    code = (
        "import eggcache._fetcher as it\n"
        "stock = it.Fetcher.want\n"
        "def want(self, url, *args):\n"
        "    with open(%r, 'a') as file:\n"
        "        file.write(url + '\\n')\n"
        "    return stock(self, url, *args)\n"
        "it.Fetcher.want = want\n" % str(wanted)
    )
    monkeypatch.setenv("PYTHONPATH", hook(universe, code)["PYTHONPATH"])
    wrong = {}
    for seed in itertools.islice(seeds(), COUNT):
        found = compare(universe, web, pinned_configuration(seed))
        if found:
            wrong[seed] = found
    assert not wrong, json.dumps(wrong, indent=1)[:20000]
    assert len(wanted.read_text().splitlines()) > COUNT, "something was fetched ahead"
