"""Make docs/images/stats.png: the page of `eggcache stats --html` for a cache of real eggs.

    python3 docs/screenshot.py EGGS_DIRECTORY...

The eggs are real, from any buildouts. A new cache has no history, so this script invents one: dates, build
times and daily counts are the same every time. Needs Chromium.
"""

import argparse
import datetime
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EGGCACHE = ROOT / "target/release/eggcache"
POLICY = '[gc]\nmax-age = "45d"\nmax-size = "20GiB"\n'
DAY = 86_400
DAYS = 80


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("eggs", nargs="+", metavar="EGGS_DIRECTORY")
    parser.add_argument("--size", default="1280x1450")
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
        (cache / "eggcache.toml").write_text(POLICY)
        run("--cache", cache, "stats", "--html", page)
        # The page must not show where it was made.
        page.write_text(page.read_text().replace(str(cache), "/srv/egg-cache"))
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
        runs = chance.randrange(2) if is_weekend else chance.randrange(2, 9)
        count, total = stored.get(ago, (0, 0))
        hits = sum(chance.randrange(30, 100) for _ in range(runs))
        misses = count + (chance.randrange(12) if runs else 0)
        index.execute(
            "INSERT INTO days VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
            (day, runs, hits, misses, hits * 1_400_000, hits * 1.3, hits // 25, misses * 1.3, count, total),
        )
    index.commit()
    index.close()


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
