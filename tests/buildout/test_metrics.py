"""`eggcache stats --format openmetrics`, and the units of systemd in the documents."""

import os
import re
import subprocess

from conftest import ROOT, needs
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic


def test_the_metrics_are_openmetrics(newest_world):
    newest_world.wheel("alpha", "1.0")
    newest_world.project("one", versions="alpha = 1.0").run()
    newest_world.project("two", versions="alpha = 1.0").run()
    text = newest_world.eggcache("stats", "--format", "openmetrics").stdout
    families = {family.name: family for family in openmetrics(text)}
    values = {sample.name: sample.value for it in families.values() for sample in it.samples}
    assert values["eggcache_runs_total"] == 2 and values["eggcache_hits_total"] >= 1
    assert families["eggcache_hits"].type == "counter"
    assert (families["eggcache_blobs_bytes"].type, families["eggcache_blobs_bytes"].unit) == ("gauge", "bytes")
    for family in families.values():
        assert family.documentation.endswith(".") and family.name.startswith("eggcache_")
        assert all(it.labels["cache"] == str(newest_world.cache) for it in family.samples)
    # The collector of text files reads the older format, in which the rest is comments.
    older = {sample.name: sample.value for family in classic(text) for sample in family.samples}
    assert older == values


def units(page):
    """The units of systemd in a page, by file name."""
    with open(os.path.join(ROOT, page)) as file:
        blocks = re.findall(r"^```cfg\n# (\S+\.(?:service|timer))\n(.*?)^```$", file.read(), re.M | re.S)
    return {os.path.basename(name): text for name, text in blocks}


def test_systemd_accepts_the_units_of_the_documents(newest_world, tmp_path):
    needs("systemd-analyze")
    for page, count in (("docs/howto/keep-it-small.md", 4), ("docs/howto/monitor.md", 2)):
        found = units(page)
        assert len(found) == count, page
        for name, text in found.items():
            program = newest_world.buildout.program
            (tmp_path / name).write_text(text.replace("%h/.local/bin/eggcache", program))
        paths = [str(tmp_path / name) for name in found]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user"] + paths,
            env=dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path), HOME=str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        assert done.returncode == 0, done.stdout
        assert str(tmp_path) not in done.stdout, done.stdout
