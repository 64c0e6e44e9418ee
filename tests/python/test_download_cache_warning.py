"""A download cache that lacks the archives of eggs from the cache is mentioned once."""

import pytest

from fakes import Distribution
from test_patches import World


def hits(tmp_path, *have, **options):
    """Messages about the download cache after two hits, if it has the archives of some projects."""
    world = World(is_active=True)
    world.buildout["buildout"].update(options)
    world.patches.__init__(world.session, world.buildout, world.easy_install)
    world.session.places.has_archive = lambda folder, dist: dist.project_name in have
    world.session.arrived = Distribution("alpha", "1.0", "eggs/alpha.egg")
    for name in ("alpha", "beta"):
        offered = world.offer(name)
        assert world.patches._fetch(None, world.installer, offered, str(tmp_path), str(tmp_path)) is offered


@pytest.mark.parametrize("have, named", [((), "alpha 1.0"), (("alpha",), "beta 1.0")])
def test_a_missing_archive_is_one_warning_that_names_the_option(tmp_path, caplog, have, named):
    hits(tmp_path, *have)
    [record] = caplog.records
    assert named in record.getMessage()
    assert "egg-cache-fetch-archives = true" in record.getMessage()


def test_a_complete_download_cache_is_not_mentioned(tmp_path, caplog):
    hits(tmp_path, "alpha", "beta")
    assert caplog.records == []


def test_who_has_set_the_option_is_not_warned(tmp_path, caplog):
    hits(tmp_path, **{"egg-cache-fetch-archives": "false"})
    assert caplog.records == []
