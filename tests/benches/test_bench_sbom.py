"""The buildout of benches/sbom.py is one that every command to measure accepts."""

import json
import os

import pytest

from test_scale import program

EGGS = 11


@pytest.fixture
def bench(monkeypatch):
    """The module, which keeps the key in the environment."""
    path = program()
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setenv("EGGCACHE_SIGNING_KEY", "")
    import sbom

    monkeypatch.setattr(sbom, "EGGCACHE", path)
    return sbom


def test_every_command_describes_all_eggs(bench, tmp_path):
    app = bench.made(str(tmp_path), EGGS)
    left_out = {}
    ready = bench.ready(str(tmp_path), app, EGGS)
    figures = bench.measure.alternate(ready, str(tmp_path), 1, "warm", left_out, warm_up=False)
    assert not left_out
    assert list(figures) == ["sbom", "sbom --format spdx", "bundle", "bundle --sbom --provenance"]
    with open(str(tmp_path / "warm-sbom-1" / "app.cdx.json")) as bill:
        [first] = [it for it in json.load(bill)["components"] if it["name"] == "project0"]
    assert [it["type"] for it in first["components"]] == ["library", "file"]
    assert os.path.exists(str(tmp_path / "warm-bundle --sbom --provenance-1" / "app.intoto.json"))


@pytest.mark.parametrize(
    "bill",
    [
        {"components": [{"purl": "a"}, {"name": "lib.so"}]},
        {"packages": [{"externalRefs": []}, {"SPDXID": "SPDXRef-Buildout"}]},
    ],
)
def test_a_bill_that_lacks_an_egg_is_a_failure(bench, bill, tmp_path):
    (tmp_path / "bill").write_text(json.dumps(bill))
    bench.check_bill(str(tmp_path / "bill"), 1)
    with pytest.raises(bench.Failed, match="bill describes 1 eggs of 2"):
        bench.check_bill(str(tmp_path / "bill"), 2)
