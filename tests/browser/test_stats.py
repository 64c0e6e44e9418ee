"""The page of `eggcache stats --html` in a real browser.

It needs Chromium but no network; without Chromium, the tests are skipped with a message. ``make test``
builds the program.
"""

import json
import pathlib
import platform
import re
import sqlite3
import subprocess

import pytest

import devtools

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EGGCACHE = ROOT / "target/release/eggcache"
PROJECTS, VERSIONS = 70, 3
HOSTILE = "<img src=x onerror=document.title='owned'>"

pytestmark = pytest.mark.skipif(not devtools.program(), reason="CHROMIUM IS NOT INSTALLED")


def make_egg(folder, name, version, size):
    egg = folder / ("%s-%s-py3.11.egg" % (name, version))
    info = egg / "EGG-INFO"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version))
    # Hard to compress, and the same every time.
    (egg / "data.txt").write_text("".join("%x" % (i * i * 2654435761 % 2**31) for i in range(size)))


def eggcache(cache, *words):
    run = subprocess.run([EGGCACHE, "--cache", cache, *words], check=True, stdout=subprocess.PIPE)
    return run.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of a cache with a history, and the same report as JSON."""
    folder = tmp_path_factory.mktemp("stats")
    eggs, cache, page = folder / "eggs", folder / "cache", folder / "stats.html"
    for project in range(PROJECTS):
        for version in range(VERSIONS):
            make_egg(eggs, "project.number%d" % project, "1.%d" % version, 20 + project * project * (version + 1))
    make_egg(eggs, HOSTILE, "1.0", 9000)
    make_egg(eggs, "a_project_with_a_name_of_some_length", "2026.11.24.post1", 40000)
    eggcache(cache, "-q", "add", eggs)
    index = sqlite3.connect(str(cache / "index.sqlite"))
    # No egg gets older than 60 days between the two reports.
    index.execute("UPDATE eggs SET used_at = used_at - blob_bytes % 120 * 86400 - 43200")
    index.executemany(
        "INSERT INTO days (day, runs, hits, misses, saved_seconds)"
        " VALUES (unixepoch() / 86400 * 86400 - ? * 86400, 2, ?, ?, ?)",
        [(ago, ago * 7 % 50, ago % 5, ago * 3.5) for ago in range(1, 60) if ago not in (20, 22)],
    )
    index.commit()
    index.close()
    (cache / "eggcache.toml").write_text('[gc]\nmax-age = "60d"\nkeep-versions = 2\n')
    make_users(folder, cache)
    eggcache(cache, "-q", "stats", "--html", page)
    return page, json.loads(eggcache(cache, "--json", "stats"))


def make_users(folder, cache):
    """Adds a buildout that exists, one on another machine, a pin with a note, and remotes."""
    (cache / "roots").mkdir(exist_ok=True)
    for name, machine in [("app", platform.node()), (HOSTILE, "another")]:
        directory = folder / ("buildout of " + "a-name-of-some-length-" * 3) / name
        if name == "app":
            directory.mkdir(parents=True)
        record = {
            "directory": str(directory), "identity": [0, 0], "machine": machine,
            "eggs_directory": str(directory), "python": "cp311", "buildout": "5.2.0",
            "first_run": 0, "last_run": 86400, "eggs": [],
        }
        (cache / "roots" / ("%s.json" % machine)).write_text(json.dumps(record))
    eggcache(cache, "pin", "project.number1*", "--note", HOSTILE)
    eggcache(cache, "remote", "add", "team", "s3://eggs/" + "pool-of-some-length/" * 5, "--push")
    eggcache(cache, "remote", "add", "mirror", "https://eggs.example/pool")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The page of an empty cache."""
    folder = tmp_path_factory.mktemp("empty")
    eggcache(folder / "cache", "init")
    eggcache(folder / "cache", "-q", "stats", "--html", folder / "stats.html")
    return folder / "stats.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = devtools.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(params=["light", "dark"])
def page(request, browser, made):
    browser.resize(1280, 900)
    browser.prefer(request.param)
    browser.open(made[0].as_uri())
    return browser


def test_the_page_loads_nothing_and_logs_nothing(page):
    urls = [it["request"]["url"] for it in page.received("Network.requestWillBeSent")]
    assert [url for url in urls if not url.startswith("data:")] == urls[:1]
    assert page.received("Runtime.exceptionThrown") == []
    assert page.received("Log.entryAdded") == []
    assert page.received("Runtime.consoleAPICalled") == []


def test_hostile_names_are_shown_as_text(page):
    assert page.run("document.title").startswith("eggcache: ")
    assert page.run("document.querySelectorAll('img, b, [onerror], [onfocus]').length") == 0
    assert page.run("document.body.innerText.includes('<img src=x')")


#: For each visible rectangle: its bytes, its share of the area, and whether it lies inside the map.
AREAS = """(() => {
  const map = [...document.querySelectorAll('.map')].find((it) => it.offsetWidth);
  const whole = map.getBoundingClientRect();
  return [...map.querySelectorAll('.t')].map((it) => {
    const at = it.getBoundingClientRect();
    return [Number(it.dataset.bytes), at.width * at.height / (whole.width * whole.height),
      at.left >= whole.left - 1 && at.right <= whole.right + 1 &&
      at.top >= whole.top - 1 && at.bottom <= whole.bottom + 1];
  });
})()"""


@pytest.mark.parametrize("width", [1280, 360])
def test_areas_are_proportional_to_sizes(page, made, width):
    page.resize(width, 800)
    tiles = page.run(AREAS)
    total = made[1]["blob_bytes"]
    assert sum(size for size, _, _ in tiles) == total
    assert all(inside for _, _, inside in tiles)
    for size, area, _ in tiles:
        # A project has a border of one pixel that belongs to none of its versions.
        assert abs(area - size / total) < 0.006, (size / total, area)
    assert sum(area for _, area, _ in tiles) > 0.85


WIDER = """[...document.querySelectorAll('section *')]
  .filter((it) => !it.closest('.map, svg') &&
    it.getBoundingClientRect().right > it.closest('section').getBoundingClientRect().right + 0.5)
  .map((it) => it.outerHTML.slice(0, 80))"""


def assert_nothing_is_too_wide(page):
    page.run("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
    assert page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.run(WIDER) == []


@pytest.mark.parametrize("width", [1280, 768, 700, 390, 375, 360])
def test_nothing_is_wider_than_the_screen(page, width):
    page.resize(width, 800)
    assert_nothing_is_too_wide(page)


def test_labels_are_shown_where_they_fit(page):
    shown = """[...document.querySelectorAll('.map.wide .n')].filter((it) => it.offsetHeight)
      .map((it) => [it.textContent, it.offsetTop + it.offsetHeight <= it.parentNode.clientHeight + 1])"""
    shown = page.run(shown)
    assert len(shown) > 10
    assert all(fits for _, fits in shown), shown


#: The lowest contrast (WCAG 2) of any visible text, and that text.
CONTRAST = """(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const color = parse(getComputedStyle(it).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  let least = [99, ''];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const it = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !it.offsetHeight || it.closest('script, svg')) continue;
    const [a, b] = [light(parse(getComputedStyle(it).color)), light(behind(it))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least[0]) least = [contrast, walk.currentNode.data];
  }
  return least;
})()"""


def test_text_has_enough_contrast(page):
    page.run("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
    contrast, text = page.run(CONTRAST)
    assert contrast >= 4.5, text


def test_light_and_dark_differ(browser, made):
    seen = set()
    for scheme in ["light", "dark"]:
        browser.prefer(scheme)
        browser.open(made[0].as_uri())
        seen.add(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == 2


def test_the_hit_rate_is_a_line_with_gaps(page):
    lines = page.run("[...document.querySelectorAll('.rate.over')].map((it) => it.getAttribute('d'))")
    # Nothing was requested 20, 22 and 50 days ago, and today.
    assert [path.count("M") for path in lines] == [3, 1], lines
    whole = page.run("""(() => {
      const box = (it) => { const at = it.getBoundingClientRect(); return [at.top, at.bottom, at.left, at.right]; };
      const svg = document.querySelector('.chart svg');
      return [box(svg), ...[...svg.querySelectorAll('.rate.over')].map(box)];
    })()""")
    chart = whole[0]
    for top, bottom, left, right in whole[1:]:
        assert chart[0] - 3 <= top and bottom <= chart[1] + 3 and chart[2] <= left and right <= chart[3]


def test_the_hit_rate_differs_from_the_bars_by_more_than_its_colour(page):
    """The line has a rim whose contrast (WCAG 2) is enough for graphics, whatever is below it."""
    colors = page.run("""(() => {
      const stroke = (name) => getComputedStyle(document.querySelector(name)).stroke;
      return [stroke('.rate.under'), stroke('.rate.over')];
    })()""")
    assert contrast_of(*colors) >= 7


def contrast_of(*colors):
    def lightness(color):
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted(map(lightness, colors))
    return (high + 0.05) / (low + 0.05)


def test_axes_have_units_at_the_heights_that_they_name(page):
    charts = page.run("""[...document.querySelectorAll('.chart')].map((it) => {
      const whole = it.querySelector('svg').getBoundingClientRect();
      const height = (label) => {
        const at = label.getBoundingClientRect();
        return (whole.bottom - (at.top + at.bottom) / 2) / whole.height;
      };
      return [[...it.querySelectorAll('.units span')].map((it) => it.textContent),
        [...it.querySelectorAll('.ticks span')].filter((it) => it.textContent).map((it) => [it.textContent, height(it)])];
    })""")
    (requests, rates), (sizes, _) = charts
    assert requests == ["60 requests", "100% hit rate"]
    assert [label for label, _ in rates] == ["30", "0", "50%", "0%"]
    assert [abs(at - 0.5) < 0.02 for _, at in rates] == [True, False, True, False]
    assert sizes[0].endswith("iB")


def test_one_word_names_the_last_ages(page):
    text = page.run("document.body.innerText")
    assert len(re.findall(r"\bolder\b", text)) == 3 and "longer ago" not in text and "or more" not in text


def test_every_chart_has_its_data_as_a_table(page):
    for name in ["sizes", "hits", "growth"]:
        page.run("document.querySelector('[aria-labelledby=%s] summary').click()" % name)
        rows = page.run("document.querySelectorAll('[aria-labelledby=%s] tbody tr').length" % name)
        assert rows > 0, name
    assert page.run("document.querySelector('[aria-labelledby=hits] tbody').innerText.includes('%')")


def section(page, name):
    return page.run("document.querySelector('[aria-labelledby=%s]').innerText" % name)


def test_buildouts_pins_and_remotes_are_listed(page):
    buildouts = section(page, "buildouts")
    assert "/app" in buildouts and "kept" in buildouts
    assert HOSTILE in buildouts and "expired 1970-02-01: folder on another" in buildouts
    assert "project.number1*" in section(page, "pins") and HOSTILE in section(page, "pins")
    remotes = section(page, "remotes")
    assert "s3://eggs/pool" in remotes and "eggcache trust mirror KEY" in remotes


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_an_empty_cache_says_what_to_do(browser, empty, width, scheme):
    browser.resize(width, 800)
    browser.prefer(scheme)
    browser.open(empty.as_uri())
    assert browser.received("Runtime.exceptionThrown") == []
    text = section(browser, "sizes")
    assert "egg-cache = %s" % (empty.parent / "cache") in text and "add EGGS_DIRECTORY" in text
    assert browser.run("document.querySelectorAll('svg, table, details, .map, .legend').length") == 0
    assert_nothing_is_too_wide(browser)
    contrast, text = browser.run(CONTRAST)
    assert contrast >= 4.5, text


FOCUS = "document.activeElement.getAttribute('aria-label')"
TIP = "(() => { const it = document.getElementById('tip'); return it.hidden ? null : it.textContent; })()"


def test_the_keyboard_reaches_every_mark_and_shows_its_tip(page):
    page.press("Tab")
    first = page.run(FOCUS)
    assert "last used" in first and page.run(TIP) == first
    page.press("ArrowRight")
    second = page.run(FOCUS)
    assert second != first and page.run(TIP) == second
    page.press("End")
    page.press("Home")
    assert page.run(FOCUS) == first
    page.press("Escape")
    assert page.run(TIP) is None
    # The map is a single tab stop.
    page.press("Tab")
    assert page.run("document.activeElement.tagName") == "SUMMARY"
    page.press("Tab")
    page.settle()
    assert "misses" in page.run(FOCUS) and page.run(TIP) == page.run(FOCUS)


def test_pointing_at_a_bar_shows_its_tip(page):
    page.run("document.querySelector('.chart').scrollIntoView()")
    page.settle()
    at = page.run("""(() => {
      const at = document.querySelector('.chart .t:nth-child(5)').getBoundingClientRect();
      return [at.left + at.width / 2, at.top + at.height / 2];
    })()""")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    assert re.search(r": \d+ hits?, \d+ miss(es)?, [\d.]+% hit rate, ", page.run(TIP))
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert page.run(TIP) is None


def test_everything_is_shown_without_scripts(browser, made):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(made[0].as_uri())
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    titles = browser.run("[...document.querySelectorAll('.map.wide .t')].map((it) => it.title)")
    assert len(titles) > 60 and all(titles)
    assert browser.run("document.querySelectorAll('svg .t title').length") > 50


def test_the_next_eviction_is_listed_with_reasons(page, made):
    going = made[1]["next_gc"]
    assert going["eggs"] > 10
    rows = page.run("[...document.querySelectorAll('[aria-labelledby=gc] tbody tr')].map((it) => it.innerText)")
    assert len(rows) == min(going["eggs"], 100)
    assert all("not used for" in row or "superseded" in row for row in rows)


def test_the_page_can_be_printed(page):
    page.prefer("light", media="print")
    try:
        page.call("Page.printToPDF", printBackground=True)
        assert page.run("getComputedStyle(document.getElementById('tip')).display") == "none"
    finally:
        page.prefer("light")
