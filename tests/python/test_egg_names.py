"""Eggs whose file names this buildout's pkg_resources does not find are not offered."""

import types

import pytest

import fakes
from eggcache._requirements import finds_by_file_name
from fakes import Bridge, Installer, Requirement, WorkingSet, egg


class OldWorkingSet:
    """Distributions, which are found as setuptools up to 75.8.0 finds them."""

    def __init__(self, entries):
        self._by_key = {}

    def add(self, dist):
        self._by_key[dist.project_name.replace("_", "-").lower()] = dist

    def find(self, requirement):
        requirement.key = "changed"
        return self._by_key.get(requirement.project_name.replace("_", "-").lower())


def resources(working_set):
    return types.SimpleNamespace(**dict(vars(fakes.RESOURCES), WorkingSet=working_set))


OLD, NEW = resources(OldWorkingSet), resources(WorkingSet)


def named(file_name, digest):
    """An egg of ``zc.recipe.egg`` with this file name."""
    return dict(egg("zc.recipe.egg", "2.0.7", digest), file_name=file_name)


NEWER = named("zc_recipe_egg-2.0.7-py3.9.egg", "zc.recipe.egg-newer")
OLDER = named("zc.recipe.egg-2.0.7-py3.9.egg", "zc.recipe.egg-older")


class RejectingBridge(Bridge):
    """A bridge that offers rejected eggs no more, but those of ``remote``."""

    def __init__(self, *eggs, **kw):
        super(RejectingBridge, self).__init__(*eggs)
        self.remote = kw.get("remote", [])

    def call(self, op, **parameters):
        answer = super(RejectingBridge, self).call(op, **parameters)
        if op == "reject":
            rejected = parameters["digests"]
            self.eggs = [it for it in self.eggs if it["digest"] not in rejected] + self.remote
            self.remote = []
        return answer


def offered(bridge, pkg_resources, text="zc.recipe.egg==2.0.7", installer=None):
    chooser = fakes.chooser(bridge=bridge, resources=pkg_resources)
    requirement = Requirement(text)
    dist = chooser.choose(installer or Installer(), requirement, None)
    assert requirement.key != "changed"
    return dist and dist.eggcache.digest


@pytest.mark.parametrize(
    "name, file_name, by_old, by_new",
    [
        ("alpha", "alpha-1.0-py3.9.egg", True, True),
        ("Alpha", "alpha-1.0-py3.9.egg", True, True),
        ("ns-pkg", "ns_pkg-1.0-py3.9.egg", True, True),
        ("ns_pkg", "ns_pkg-1.0-py3.9.egg", True, True),
        ("ns.pkg", "ns.pkg-1.0.egg", True, True),
        ("ns.pkg", "ns_pkg-1.0.egg", False, True),
        ("zc.recipe.egg", "zc_recipe_egg-2.0.7-py3.9.egg", False, True),
    ],
)
def test_pkg_resources_decides_whether_a_file_name_is_found(name, file_name, by_old, by_new):
    assert finds_by_file_name(OLD, name, file_name) is by_old
    assert finds_by_file_name(NEW, name, file_name) is by_new


@pytest.mark.parametrize("eggs", [[NEWER, OLDER], [OLDER, NEWER]], ids=["first", "last"])
@pytest.mark.parametrize("options", [{}, {"newest": False}, {"dest": None}], ids=["pin", "-N", "-o"])
def test_only_an_egg_that_is_found_by_its_file_name_is_offered(eggs, options):
    installer = Installer(**options)
    assert offered(RejectingBridge(*eggs), OLD, installer=installer) == OLDER["digest"]
    assert offered(RejectingBridge(*eggs), NEW, installer=installer) == eggs[0]["digest"]
    assert offered(RejectingBridge(NEWER), OLD, installer=installer) is None


def test_an_egg_that_is_not_found_is_rejected_once():
    bridge = RejectingBridge(NEWER)
    chooser = fakes.chooser(bridge=bridge, resources=OLD)
    for _ in range(2):
        chooser.forget()
        assert not chooser.has("zc.recipe.egg", "2.0.7")
    assert bridge.calls.count(("reject", {"digests": [NEWER["digest"]]})) == 1


def test_a_remote_is_asked_for_an_egg_that_is_found():
    assert offered(RejectingBridge(NEWER, remote=[OLDER]), OLD) == OLDER["digest"]


def test_a_program_that_keeps_offering_a_rejected_egg_is_not_asked_for_ever():
    bridge = Bridge(NEWER)
    assert offered(bridge, OLD) is None
    assert bridge.ops() == ["find", "reject", "find"]


