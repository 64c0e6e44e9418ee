"""Files of hashes, and which archives and cached eggs may be installed."""

import logging
import types

import pytest
from packaging.version import InvalidVersion, Version

import fakes
from eggcache import _checks, _hashes, _session
from eggcache._hashes import Hashes, Refused

ONE, TWO, WRONG = "1" * 64, "2" * 64, "3" * 64


def parse_version(text):
    try:
        return Version(text)
    except InvalidVersion as error:
        raise ValueError(str(error))


def hashes(text="[hashes]\nalpha =\n  1.0 sha256:%s # a.whl\n  1.0 sha256:%s\n" % (ONE, TWO), warns=False):
    return Hashes("/srv/hashes.cfg", _hashes.parse("hashes.cfg", text), parse_version, warns)


# -- The file


def test_a_file_is_read(tmp_path):
    text = (
        "# SHA-256 of archives\n; mine\n\n[hashes]\nZope.Interface = 1.0 sha256:%s # caf\u00e9 x.zip\r\n\n"
        "\t1.0.1  sha256:%s#y\nnone =\n" % (ONE, TWO)
    )
    path = tmp_path / "hashes.cfg"
    path.write_bytes(text.encode("utf-8"))
    assert _hashes.read(str(path)) == {"zope-interface": [("1.0", ONE), ("1.0.1", TWO)], "none": []}


@pytest.mark.parametrize(
    "text, line",
    [
        ("a = 1\n", 1),
        ("[versions]\na = 1\n", 1),
        ("[hashes]\n    1.0 sha256:%s\n" % ONE, 2),
        ("[hashes]\na\n", 2),
        ("[hashes]\na += 1.0 sha256:%s\n" % ONE, 2),
        ("[hashes]\n<= other\n", 2),
        ("[hashes]\na =\n  1.0\n", 3),
        ("[hashes]\na =\n  1.0 md5:%s\n" % ONE, 3),
        ("[hashes]\na =\n  1.0 sha256:%s0\n" % ONE, 3),
        ("[hashes]\na =\n  1.0 sha256:%s x\n" % ONE, 3),
        ("[hashes]\na.b =\na-B =\n", 3),
        ("[hashes]\na =\n[hashes: linux]\n", 3),
        ("[hashes]\n[hashes]\n", 2),
    ],
)
def test_any_other_line_fails_the_run(text, line):
    with pytest.raises(Refused, match="^hashes.cfg, line %d is not in the format of hashes: " % line):
        _hashes.parse("hashes.cfg", text)


def test_a_file_that_cannot_be_used_fails_the_run(tmp_path):
    with pytest.raises(Refused, match="cannot read the hashes in .*: No such file or directory$"):
        _hashes.read(str(tmp_path / "missing"))
    with pytest.raises(Refused, match="Is a directory$"):
        _hashes.read(str(tmp_path))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Refused, match=r"empty has no section \[hashes\]$"):
        _hashes.read(str(tmp_path / "empty"))
    (tmp_path / "latin").write_bytes(b"[hashes]\n# caf\xe9\n")
    with pytest.raises(Refused, match="cannot read the hashes in "):
        _hashes.read(str(tmp_path / "latin"))


# -- Comparisons


def test_a_listed_archive_may_be_installed_whatever_the_spelling():
    found = hashes()
    found.check("Alpha", "1.0", ONE, "alpha.whl")
    found.check("alpha", "1", TWO, "alpha.zip")
    assert hashes("[hashes]\nb =\n  r12-x sha256:%s\n" % ONE).of("b", "r12-x") == [ONE]


@pytest.mark.parametrize("warns", [False, True])
def test_a_wrong_archive_is_refused_with_both_values(warns):
    with pytest.raises(Refused) as caught:
        hashes(warns=warns).check("Alpha", "1.0", WRONG, "http://x/alpha\x1b.whl")
    assert str(caught.value).splitlines() == [
        "Alpha 1.0 does not have a SHA-256 that is listed for it.",
        "  expected: sha256:" + ONE,
        "  expected: sha256:" + TWO,
        "  found:    sha256:" + WRONG,
        "  archive:  http://x/alpha\\x1b.whl",
        "  hashes:   /srv/hashes.cfg",
    ]


@pytest.mark.parametrize("warns", [False, True])
def test_without_a_hash_a_listed_version_is_refused(warns):
    with pytest.raises(Refused, match="\n  found:    not known\n"):
        hashes(warns=warns).check("alpha", "1.0", None, "git+https://x")


@pytest.mark.parametrize("project, version", [("beta", "1.0"), ("alpha", "1.1"), ("alpha", "1.0+local")])
def test_a_version_that_is_not_listed_is_refused(project, version):
    with pytest.raises(Refused) as caught:
        hashes().check(project, version, ONE, "x.whl")
    lines = str(caught.value).splitlines()
    assert lines[0] == "no SHA-256 is listed for %s %s." % (project, version)
    assert lines[1] == "  found:    sha256:" + ONE
    assert "eggcache lock" in lines[-1]


def test_versions_that_are_not_listed_are_named_in_one_warning(caplog):
    found = hashes(warns=True)
    for project, version in [("Beta", "1.0"), ("beta", "1.0"), ("alpha", "1.1"), ("gamma", "1")]:
        found.check(project, version, ONE, "x.whl")
        found.check(project, version, None, "x")
    found.warn()
    found.warn()
    assert [record.getMessage() for record in caplog.records] == [
        "/srv/hashes.cfg lists no SHA-256 for alpha 1.1, beta 1.0, gamma 1; `eggcache lock -o /srv/hashes.cfg` adds the hashes."
    ]


def test_a_long_warning_is_cut(caplog):
    found = hashes(warns=True)
    for number in range(_hashes.FEW + 2):
        found.check("p%d" % number, "1", ONE, "x")
    found.warn()
    assert caplog.records[0].getMessage().endswith(" and 2 more; `eggcache lock -o /srv/hashes.cfg` adds the hashes.")


# -- Cached eggs


def egg(version, sha256, digest="d"):
    return fakes.egg("alpha", version, digest="alpha-" + digest, source_sha256=sha256)


def choose(eggs, dest="eggs"):
    """The digest of what is offered for a pin, and of what is offered offline."""
    chooser = fakes.chooser(*eggs, hashes=hashes())
    installer = fakes.Installer(dest=dest)
    offered = chooser.choose(installer, fakes.Requirement("alpha==1.0"), None)
    return offered and offered.eggcache.digest


def test_of_several_archives_the_listed_one_is_offered():
    eggs = [egg("1.0", WRONG, "wrong"), egg("1.0", TWO, "right"), egg("1.0", "", "unknown")]
    assert choose(eggs) == "alpha-right"
    assert choose(eggs, dest=None) == "alpha-right"


def test_what_is_not_listed_is_not_offered_where_buildout_can_fetch(caplog):
    caplog.set_level(logging.INFO)
    assert choose([egg("1.0", WRONG)]) is None
    assert choose([egg("1.0", WRONG)], dest=None) == "alpha-d"
    assert [record.getMessage() for record in caplog.records] == [
        "the cached alpha-1.0-py3.11.egg is not used: its archive is not listed."
    ]


def offered(version, sha256):
    dist = fakes.Distribution("alpha", version)
    dist.eggcache = types.SimpleNamespace(
        file_name="alpha-%s-py3.egg" % version, version=version, source_sha256=sha256
    )
    return dist


def session_with(found):
    options = {"directory": "/srv/app", "eggs-directory": "eggs", "develop-eggs-directory": "develop"}
    session = _session.Session(None, options, None, found)
    session.bridge = fakes.Bridge()
    return session


@pytest.mark.parametrize("version, sha256", [("1.0", WRONG), ("1.0", ""), ("1.1", ONE)])
def test_a_cached_egg_is_compared_before_it_is_copied(version, sha256):
    session = session_with(hashes())
    with pytest.raises(Refused, match="cached egg alpha-%s-py3.egg" % version):
        session.materialize(offered(version, sha256), "eggs")
    assert session.bridge.calls == []


def test_after_the_cache_has_failed_nothing_of_it_is_compared():
    session = session_with(hashes())
    session.bridge = None
    assert session.materialize(offered("1.0", WRONG), "eggs") is None


# -- What is replaced


def easy_install(installer="pip", **more):
    """A module with an installer class, as `Checks` needs it."""

    class Installer:
        _index = types.SimpleNamespace(download=lambda location, tmp: tmp + "/downloaded.whl")

        def _fetch(self, dist, tmp, download_cache):
            return dist.clone(location=dist.location if "://" in dist.location else dist.local)

    return types.SimpleNamespace(Installer=Installer, installer=lambda: installer, **more)


def dist(location, local=None):
    found = types.SimpleNamespace(project_name="alpha", version="1.0", location=location, local=local)
    found.clone = lambda location: dist(location)
    return found


def test_a_fetched_archive_is_compared(tmp_path):
    module = easy_install()
    calls = []
    found = types.SimpleNamespace(check=lambda *args: calls.append(args))
    _checks.Checks(module, found).apply()
    archive = tmp_path / "alpha.whl"
    archive.write_bytes(b"abc")
    module.Installer()._fetch(dist("here", str(archive)), str(tmp_path), None)
    module.Installer()._fetch(dist("here", str(tmp_path)), str(tmp_path), None)
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert calls == [("alpha", "1.0", sha256, "here"), ("alpha", "1.0", None, "here")]


def test_what_uv_would_download_later_is_downloaded_and_compared(tmp_path):
    module = easy_install(
        "uv",
        install_pinned_dists=lambda pinned, dest: pinned,
        _unpack_dist_for_build=lambda dist, build_tmp: dist,
    )
    calls = []
    found = types.SimpleNamespace(check=lambda *args: calls.append(args))
    _checks.Checks(module, found).apply()
    (tmp_path / "downloaded.whl").write_bytes(b"abc")
    fetched = module.Installer()._fetch(dist("http://me:secret@x/alpha.whl"), str(tmp_path), None)
    assert fetched.location == str(tmp_path / "downloaded.whl")
    assert calls[0][3] == "http://x/alpha.whl"
    module._unpack_dist_for_build(fetched, "build")
    assert calls[1][2] == calls[0][2]


@pytest.mark.parametrize(
    "module",
    [
        types.SimpleNamespace(Installer=type("Installer", (), {})),
        easy_install("poetry"),
        easy_install("uv"),
        easy_install("uv", install_pinned_dists=lambda pins, dest: 0, _unpack_dist_for_build=lambda d, t: d),
    ],
)
def test_a_buildout_that_cannot_be_checked_fails(module):
    with pytest.raises(Refused, match="egg-cache-hashes cannot check what .* (installs|uv)"):
        _checks.Checks(module, hashes()).apply()
