"""Line plots as SVG, with only the standard library; light or dark as set in the reader's system."""

import math
import os

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 86, 200, 44, 52  # margins of the plot; the names of curves are on the right

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.page { fill: #ffffff }
.title { font-weight: 600 }
.grid { stroke: #e4e4e4; stroke-width: 1 }
.axis { stroke: #6e7781; stroke-width: 1 }
.limit { stroke: #6e7781; stroke-dasharray: 5 4 }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round }
.c0 { stroke: #1c6fb0 } .c1 { stroke: #c25a00 } .c2 { stroke: #2c8a4b } .c3 { stroke: #8b4fa8 }
.dot { stroke-width: 6; stroke-linecap: round }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117 }
  .grid { stroke: #272c34 }
  .axis, .limit { stroke: #8b949e }
  .c0 { stroke: #58a6e8 } .c1 { stroke: #f0883e } .c2 { stroke: #56b870 } .c3 { stroke: #bc8cff }
}
"""


class Axis:
    """Maps values to pixels, and places the ticks."""

    def __init__(self, values, begin, end, is_log):
        self.begin, self.end, self.is_log = begin, end, is_log
        if is_log:
            self.low = 10 ** math.floor(math.log10(min(values)) + 1e-9)
            self.high = 10 ** math.ceil(math.log10(max(values)) - 1e-9)
            steps = round(math.log10(self.high / self.low))
            self.ticks = [self.low * 10**step for step in range(steps + 1)]
        else:
            step = 10 ** math.floor(math.log10(max(values) or 1))
            step = next(part * step for part in (0.2, 0.5, 1, 2) if max(values) / (part * step) <= 6)
            self.low, self.high = 0, step * math.ceil(max(values) / step - 1e-9)
            self.ticks = [step * tick for tick in range(round(self.high / step) + 1)]

    def at(self, value):
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)


def lines(file, title, across, up, series, log=(False, False), limit=None, shown=None, dots=False):
    """Curves: `series` of (name, [(x, y)]). `limit` is (y, name) of a dashed line; `shown` formats the
    ticks of the vertical axis."""
    values = [y for _, points in series for _, y in points] + ([limit[0]] if limit else [])
    x = Axis([x for _, points in series for x, _ in points], LEFT, WIDTH - RIGHT, log[0])
    y = Axis(values, HEIGHT - BOTTOM, TOP, log[1])
    shown = shown or number
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">'
        % (WIDTH, HEIGHT, WIDTH, HEIGHT),
        "<title>%s</title>" % escape(title),
        "<style>%s</style>" % STYLE,
        '<rect class="page" width="%d" height="%d"/>' % (WIDTH, HEIGHT),
        text(16, 22, title, "start", "title"),
    ]
    for tick in y.ticks:
        parts.append(line(x.begin, y.at(tick), x.end, y.at(tick), "grid"))
        parts.append(text(x.begin - 8, y.at(tick) + 4, shown(tick), "end"))
    for tick in x.ticks:
        parts.append(line(x.at(tick), y.begin, x.at(tick), y.begin + 5, "axis"))
        parts.append(text(x.at(tick), y.begin + 20, number(tick), "middle"))
    parts.append(line(x.begin, y.begin, x.end, y.begin, "axis"))
    parts.append(text((x.begin + x.end) / 2, HEIGHT - 12, across, "middle"))
    parts.append(
        '<text x="0" y="0" text-anchor="middle" transform="translate(18 %d) rotate(-90)">%s</text>'
        % ((y.begin + y.end) / 2, escape(up))
    )
    labels = []
    if limit:
        parts.append(line(x.begin, y.at(limit[0]), x.end, y.at(limit[0]), "limit"))
        labels.append([y.at(limit[0]), limit[1], None])
    for place, (name, points) in enumerate(series):
        pixels = [(x.at(one), y.at(other)) for one, other in points]
        path = " ".join("%.1f,%.1f" % pixel for pixel in pixels)
        parts.append('<polyline class="curve c%d" points="%s"/>' % (place, path))
        if dots:
            parts += [line(*pixel, *pixel, "dot c%d" % place) for pixel in pixels]
        labels.append([pixels[-1][1], name, place])
    # Names beside the ends of the curves; they must not overlap.
    below = -math.inf
    labels.sort(key=lambda label: label[0])
    for label in labels:
        label[0] = below = max(label[0], below + 18)
    above = y.begin
    for label in reversed(labels):
        label[0] = min(label[0], above)
        above = label[0] - 18
    for at, name, place in labels:
        kind = "limit" if place is None else "curve c%d" % place
        parts.append(line(x.end + 10, at, x.end + 26, at, kind))
        parts.append(text(x.end + 32, at + 4, name, "start"))
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "w") as out:
        out.write("\n".join(parts) + "\n</svg>\n")


def line(x1, y1, x2, y2, kind):
    return '<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' % (kind, x1, y1, x2, y2)


def text(x, y, words, anchor, kind=""):
    kind = kind and ' class="%s"' % kind
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, kind, escape(words))


def number(value):
    return "{:,.10g}".format(value)


def escape(words):
    return words.replace("&", "&amp;").replace("<", "&lt;")
