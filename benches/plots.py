"""Plots for docs/explanation/performance.md: equal results give equal SVG files."""

import math
import os

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "eggcache",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)

from matplotlib import pyplot  # noqa: E402  after the choice of a backend

OURS, FLOOR, OTHERS = "#1c6fb0", "#c9c9c9", "#8c9bab"
LINES = ["#1c6fb0", "#c25a00", "#2c8a4b", "#8b4fa8", "#8a6d00", "#555555", "#b03060", "#00807a"]


def bars(file, rows):
    """Horizontal bars: `rows` of panels, each (title, [(name, median, least, most)]) or None.

    The panels of one row have the same scale.
    """
    columns = max(len(row) for row in rows)
    heights = [max(len(panel[1]) for panel in row if panel) for row in rows]
    figure, grid = pyplot.subplots(
        len(rows),
        columns,
        figsize=(4.2 * columns, 0.27 * sum(heights) + 0.75 * len(rows)),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for row, axes in zip(rows, grid):
        longest = max(most for panel in row if panel for *_, most in panel[1])
        for axis, panel in zip(axes, list(row) + [None] * columns):
            if panel is None:
                axis.set_axis_off()
                continue
            title, entries = panel
            for place, (name, median, least, most) in enumerate(entries):
                colour = {"eggcache": OURS, "the floor": FLOOR}.get(name, OTHERS)
                axis.barh(place, median, color=colour, height=0.7)
                axis.plot([least, most], [place, place], color="black", linewidth=0.8)
                axis.text(most + longest * 0.015, place, seconds(median), va="center")
            axis.set_yticks(range(len(entries)), [name for name, *_ in entries])
            axis.tick_params(axis="y", length=0)
            axis.invert_yaxis()
            axis.set_xlim(0, longest * 1.18)
            axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
    save(figure, file)


def lines(file, title, across, up, series):
    """Curves on logarithmic axes: `series` of (name, [(x, y)]).

    Dotted lines behind them show growth proportional to x.
    """
    figure, axis = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    ends = []
    for place, (name, points) in enumerate(series):
        colour = LINES[place % len(LINES)]
        axis.plot(*zip(*points), marker="o", markersize=3.5, color=colour)
        ends.append([points[-1][0], points[-1][1], name, colour])
    axis.set_xscale("log")
    axis.set_yscale("log")
    # The name of each curve is at its end; names must not overlap.
    low, high = axis.get_ylim()
    first, last = (pick(x for _, points in series for x, _ in points) for pick in (min, max))
    for exponent in range(math.floor(math.log10(low / last)), math.ceil(math.log10(high / first))):
        slope = 10**exponent
        axis.plot((first, last), (first * slope, last * slope), ":", color="#b8b8b8", linewidth=0.8)
    gap = (high / low) ** 0.055
    below = 0.0
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        below = max(y, below * gap)
        axis.annotate(
            name,
            (x, below),
            xytext=(7, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )
    axis.set_ylim(low, max(high, below * gap))
    axis.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
    left, right = axis.get_xlim()
    longest = max(len(name) for name, _ in series)
    axis.set_xlim(left, right * 10 ** (math.log10(right / left) * longest * 0.016))
    save(figure, file)


def seconds(value):
    return "%.2f s" % value if value < 10 else "%.1f s" % value


def save(figure, file):
    os.makedirs(os.path.dirname(file), exist_ok=True)
    # White even on a dark page; without a date, so that equal plots are equal files.
    figure.savefig(file, facecolor="white", metadata={"Date": None})
    pyplot.close(figure)
