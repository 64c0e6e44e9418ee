"""Make docs/images/stats.png: the page of `eggcache stats --html` for a cache of real eggs.

    python3 docs/screenshot.py EGGS_DIRECTORY...

The eggs are real, from any buildouts. A new cache has no history, so this script invents one: dates, build
times, daily counts, buildouts, pins and remotes are the same every time. Needs Chromium.
"""

import argparse
import datetime
import json
import pathlib
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EGGCACHE = ROOT / "target/release/eggcache"
POLICY = '[gc]\nmax-age = "30d"\nmax-size = "20GiB"\n'
DAY = 86_400
DAYS = 80


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("eggs", nargs="+", metavar="EGGS_DIRECTORY")
    parser.add_argument("--size", default="1280x1312")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--html", help="also write the page to this file")
    parser.add_argument("--out", default=ROOT / "docs/images/stats.png")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        cache, page = folder / "cache", folder / "stats.html"
        run("--cache", cache, "-q", "add", *options.eggs)
        make_history(cache)
        make_users(cache, folder)
        (cache / "eggcache.toml").write_text(POLICY)
        run("--cache", cache, "stats", "--html", page)
        # The page must not show where it was made.
        shown = page.read_text()
        for path, other in [(cache, "/srv/egg-cache"), (folder, "/srv")]:
            for slash in ["/", "/<wbr>"]:
                shown = shown.replace(str(path).replace("/", slash), other.replace("/", slash))
        page.write_text(shown)
        if options.html:
            shutil.copy(page, options.html)
        shoot(chromium, page, folder, options)


def run(*words):
    subprocess.run([EGGCACHE, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def make_history(cache):
    chance = random.Random(1)
    index = sqlite3.connect(cache / "index.sqlite")
    # Counted from the start of the current day, so that no bar depends on the hour.
    today = int(datetime.datetime.now(datetime.timezone.utc).timestamp()) // DAY * DAY
    index.execute("DELETE FROM days")
    eggs = index.execute("SELECT digest, blob_bytes FROM eggs ORDER BY name, version, digest").fetchall()
    stored = {}
    for digest, blob_bytes in eggs:
        # Most came with the first buildouts, the others one by one.
        added = DAYS if chance.random() < 0.45 else chance.randrange(DAYS)
        used = min(added, int(chance.expovariate(1 / 18)))
        index.execute(
            "UPDATE eggs SET added_at = ?, used_at = ?, uses = ? WHERE digest = ?",
            (today - added * DAY, today - used * DAY, chance.randrange(40) * (used < added), digest),
        )
        count, total = stored.get(added, (0, 0))
        stored[added] = count + 1, total + blob_bytes
    for ago in range(DAYS, -1, -1):
        day = today - ago * DAY
        is_weekend = (day // DAY + 3) % 7 >= 5
        count, total = stored.get(ago, (0, 0))
        runs = chance.randrange(2) if is_weekend and not count else chance.randrange(2, 9)
        hits = sum(chance.randrange(30, 100) for _ in range(runs))
        # The more eggs the cache has, the fewer are missing.
        misses = count + (chance.randrange(4 + ago // 2) if runs else 0)
        index.execute(
            "INSERT INTO days VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
            (day, runs, hits, misses, hits * 1_400_000, hits * 1.3, hits // 25, misses * 1.3, count, total),
        )
    index.commit()
    index.close()


def make_users(cache, folder):
    """Buildouts, of which one is gone for a while and one on another machine, and pins and remotes."""
    index = sqlite3.connect(cache / "index.sqlite")
    eggs = index.execute("SELECT digest, file_name FROM eggs ORDER BY name, version, digest").fetchall()
    index.close()
    now = int(datetime.datetime.now(datetime.timezone.utc).timestamp())
    records = cache / "roots"
    records.mkdir(exist_ok=True)
    for number, (name, machine, days, first, count) in enumerate([
        ("shop", None, 0, 0, 71), ("shop-staging", None, 3, 4, 66), ("intranet", None, 9, 30, 38),
        ("ci/nightly", "build-2", 1, 10, 60), ("old-shop", None, 41, 60, 32),
    ]):
        directory = folder / "buildouts" / name
        there = machine is None and name != "old-shop"
        if there:
            directory.mkdir(parents=True)
        status = (directory if there else folder).stat()
        used = [
            {"file_name": egg, "digest": digest.hex() if isinstance(digest, bytes) else digest,
             "stamp": {"identity": [1, 1], "mtime": [1, 1]}}
            for digest, egg in eggs[first:first + count]
        ]
        record = {
            "directory": str(directory), "identity": [status.st_dev, status.st_ino],
            "machine": machine or platform.node(), "eggs_directory": str(directory / "eggs"),
            "python": "cp311", "buildout": "5.2.0", "first_run": now - DAYS * DAY,
            "last_run": now - days * DAY, "eggs": used,
        }
        (records / f"{number}.json").write_text(json.dumps(record))
        if name == "old-shop":
            (records / f"{number}.gone").write_text(json.dumps(now - 33 * DAY))
    run("--cache", cache, "pin", "lxml==6.1.3", "--note", "last version that the importer was tested with")
    run("--cache", cache, "pin", "sqlalchemy>=2")
    for name, url, *words in [
        ("team", "s3://eggs/pool", "--endpoint", "https://store.example:8333", "--push"),
        ("mirror", "https://eggs.example/pool"),
    ]:
        run("keygen", folder / name)
        run("--cache", cache, "remote", "add", name, url, "--key", folder / f"{name}.pub", *words)


def shoot(chromium, page, folder, options):
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={folder}/profile",
        f"--window-size={options.size.replace('x', ',')}", f"--screenshot={options.out}",
    ]
    if options.dark:
        command.append("--blink-settings=preferredColorScheme=0")
    subprocess.run([*command, page.as_uri()], check=True, stderr=subprocess.DEVNULL)


main()
