"""Plots as SVG elements of the page: colours are the page's classes, sizes fit a telephone's width unscaled.

Elements are made as an XML tree, so that whatever a title contains comes out as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from xml.etree import ElementTree as ET

from markupsafe import Markup

from glta_cli.core.printable import printable
from glta_cli.evaluation.report.axes import Axis, linear_axis, log_axis
from glta_cli.evaluation.report.marks import Mark

WIDTH = 360
LETTER, BOLD_LETTER = 6.1, 7.2
"""About the width of a letter at the plots' size of 11 pixels."""

TOP, BOTTOM, EDGE = 24, 38, 8
"""Room for the label of y, for ticks and label of x, and where there is no label."""

ROW = 19
MOST_MARKERS, MOST_CORNERS = 25, 150
CROWDED = 8
"""More lines than these have smaller markers."""

Box = tuple[float, float, float, float]
Each = TypeVar("Each")


@dataclass(frozen=True)
class Line:
    """A model's, or a training's, values along x.

    Attributes:
        points: x and y, in order of x.
        titles: what is said of each point.
        label: written at the end of the line where it is not empty.
    """

    points: Sequence[tuple[float, float]]
    titles: Sequence[str]
    mark: Mark
    label: str = ""


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot; `label` is written beside it where it is not empty."""

    x: float
    y: float
    title: str
    mark: Mark
    label: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of a bar plot, with its interval and single values such as those of seeds."""

    label: str
    value: float
    title: str
    mark: Mark
    interval: tuple[float, float] | None = None
    singles: Sequence[float] = field(default_factory=tuple)


# ---------------------------------------------------------------------------------------------- the plots


def line_plot(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    height: int = 260,
    x_range: Sequence[float] = (),
    chosen: float | None = None,
) -> Markup:
    """Lines over a common x, which holds `x_range` too; a vertical line stands at the `chosen` x."""
    labelled = [line for line in lines if line.label and line.points]
    right = max((BOLD_LETTER * len(line.label) + 10 for line in labelled), default=12)
    xs = [x for line in lines for x, _ in line.points] + list(x_range)
    ys = [y for line in lines for _, y in line.points]
    x_axis = linear_axis(xs, 46, WIDTH - min(right, 100), x_label, margin=0.02)
    y_axis = linear_axis(ys, height - BOTTOM, TOP, y_label)
    svg = _framed(title, height, x_axis, y_axis, whole_x=True)
    if chosen is not None:
        at = x_axis.at(chosen)
        _add(svg, "line", "chosen", x1=at, x2=at, y1=TOP, y2=height - BOTTOM)
    radius = 2.6 if len(lines) <= CROWDED else 1.9
    for line in sorted(lines, key=lambda line: line.mark.own):  # the model's own lines lie on top
        group = _group(svg, line.mark)
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in thinned(line.points, MOST_CORNERS))
        _add(group, "polyline", points=path, **({"stroke-dasharray": line.mark.dash} if line.mark.dash else {}))
        for (x, y), said in thinned(list(zip(line.points, line.titles, strict=True)), MOST_MARKERS):
            _marker(group, x_axis.at(x), y_axis.at(y), 3 if line.mark.own else radius, line.mark.shape, said)
    heights = _spread([y_axis.at(line.points[-1][1]) for line in labelled], 12)
    for line, at in zip(labelled, heights, strict=True):
        _text(_group(svg, line.mark), x_axis.end + 8, at + 4, line.label, "name", "start")
    return _written(svg)


def bar_plot(bars: Sequence[Bar], *, title: str, x_label: str) -> Markup:
    """Horizontal bars from zero, one a row, the value at the end of its row."""
    longest = max((len(bar.label) for bar in bars), default=0)
    start = min(BOLD_LETTER * longest + 10, 140)
    shown = [value for bar in bars for value in (bar.value, *(bar.interval or ()), *bar.singles)]
    height = EDGE + ROW * len(bars) + BOTTOM
    x_axis = linear_axis(shown, start, WIDTH - 48, x_label, from_zero=True, margin=0.02)
    rows = Axis(0, len(bars), EDGE, height - BOTTOM)
    svg = _framed(title, height, x_axis, rows, whole_x=False, y_ticks=False)
    for number, bar in enumerate(bars):
        top, middle = rows.at(number), rows.at(number + 0.5)
        group = _group(svg, bar.mark, "bar")
        _titled(group, bar.title)
        zero, end = x_axis.at(max(x_axis.low, 0)), x_axis.at(bar.value)
        _add(group, "rect", "hit", x=0, y=top, width=WIDTH, height=ROW)
        _add(group, "rect", "value", x=min(zero, end), y=top + 3, width=abs(end - zero), height=ROW - 6)
        if bar.interval is not None:
            low, high = (x_axis.at(value) for value in bar.interval)
            path = f"M{low:.1f} {middle - 3}v6M{low:.1f} {middle}H{high:.1f}m0 -3v6"
            # A rim in the ground's colour sets it off from a bar of any colour.
            _add(group, "path", "rim", d=path)
            _add(group, "path", "whisker", d=path)
        for single in bar.singles:
            _add(group, "circle", "single", cx=x_axis.at(single), cy=middle, r=2)
        _text(group, start - 6, middle + 4, cut(bar.label, int((start - 8) / LETTER)), "row", "end")
        _text(group, WIDTH - 2, middle + 4, f"{bar.value:.4f}", "figure", "end")
    return _written(svg)


def scatter_plot(
    points: Sequence[Point],
    *,
    title: str,
    x_label: str,
    y_label: str,
    height: int = 300,
    logarithmic_x: bool = False,
    radius: float = 4.5,
) -> Markup:
    """Points with their names, each name where it covers neither a point nor another name."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    x_axis = log_axis(xs, 50, WIDTH - 12, x_label) if logarithmic_x else linear_axis(xs, 50, WIDTH - 12, x_label)
    y_axis = linear_axis(ys, height - BOTTOM, TOP, y_label)
    svg = _framed(title, height, x_axis, y_axis, whole_x=False)
    places = [(x_axis.at(point.x), y_axis.at(point.y)) for point in points]
    # A cloud of hundreds has names for a few only, which may cover points that have none.
    taken: list[Box] = [
        (x - radius, y - radius, x + radius, y + radius)
        for (x, y), point in zip(places, points, strict=True)
        if point.label
    ]
    for (x, y), point in zip(places, points, strict=True):
        _marker(_group(svg, point.mark, "point"), x, y, radius, point.mark.shape, point.title)
    for (x, y), point in zip(places, points, strict=True):
        if not point.label:
            continue
        group = _group(svg, point.mark)
        letter = BOLD_LETTER if point.mark.own else LETTER
        box = _free_place(x, y, radius, letter * len(point.label) + 5, taken, (50, TOP, WIDTH - 2, height - BOTTOM))
        if box is None:
            continue  # its tooltip and the table name it
        taken.append(box)
        nearest = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
        if max(abs(nearest[0] - x), abs(nearest[1] - y)) > radius + 6:
            _add(group, "line", "leader", x1=x, y1=y, x2=nearest[0], y2=nearest[1])
        _text(group, box[0] + 2, box[3] - 3, point.label, "name", "start")
    return _written(svg)


def thinned(points: Sequence[Each], most: int) -> list[Each]:
    """Evenly many of the points, at most about `most`, the last one among them."""
    every = -(-len(points) // most) or 1
    return [point for number, point in enumerate(points) if number % every == 0 or number == len(points) - 1]


def cut(text: str, letters: int) -> str:
    """The text, or as much of it as fits into so many letters."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def swatch(mark: Mark, *, line: bool = True) -> Markup:
    """A short piece of a model's line with its marker, or the marker alone, for a legend."""
    svg = ET.Element("svg", {"class": "swatch", "viewBox": "0 0 30 12", "aria-hidden": "true"})
    group = _group(svg, mark)
    if line:
        _add(group, "polyline", points="1,6 29,6", **({"stroke-dasharray": mark.dash} if mark.dash else {}))
    _marker(group, 15, 6, 3.6, mark.shape, "")
    return _written(svg)


# ---------------------------------------------------------------------------------------------- their parts


def _framed(title: str, height: int, x_axis: Axis, y_axis: Axis, *, whole_x: bool, y_ticks: bool = True) -> ET.Element:
    """The drawing with its grid, ticks and the axes' labels."""
    svg = ET.Element(
        "svg",
        {"class": "plot", "viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": printable(title)},
    )
    frame = ET.SubElement(svg, "g", {"class": "frame"})
    bottom, top = max(y_axis.start, y_axis.end), min(y_axis.start, y_axis.end)
    for tick, label in x_axis.ticks():
        if whole_x:
            if not float(tick).is_integer():
                continue
            label = f"{tick:,.0f}"
        at = x_axis.at(tick)
        _add(frame, "line", "grid", x1=at, x2=at, y1=top, y2=bottom)
        _text(frame, at, bottom + 14, label, "tick", "middle")
    if y_ticks:
        for tick, label in y_axis.ticks():
            at = y_axis.at(tick)
            _add(frame, "line", "grid", x1=x_axis.start, x2=x_axis.end, y1=at, y2=at)
            _text(frame, x_axis.start - 5, at + 4, label, "tick", "end")
    if y_axis.label:
        _text(frame, 4, 13, y_axis.label, "label", "start")
    _text(frame, (x_axis.start + x_axis.end) / 2, height - 6, x_axis.label, "label", "middle")
    return svg


def _free_place(x: float, y: float, radius: float, width: float, taken: Sequence[Box], inside: Box) -> Box | None:
    """The box of a name beside a point that overlaps nothing; None where there is no room within reach."""
    for distance in (radius + 2, radius + 10, radius + 22, radius + 36):
        beside = (y - 7, y - 7 - distance / 2, y - 7 + distance / 2)
        corners = [(x + distance, top) for top in beside] + [(x - distance - width, top) for top in beside]
        for left in (x - width / 2, x - width * 0.1, x - width * 0.9):
            corners += [(left, y - distance - 13), (left, y + distance)]
        for left, top in corners:
            box = (left, top, left + width, top + 13)
            if _within(box, inside) and not any(_overlap(box, other) for other in taken):
                return box
    return None


def _within(box: Box, outer: Box) -> bool:
    return box[0] >= outer[0] and box[1] >= outer[1] and box[2] <= outer[2] and box[3] <= outer[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """The places moved apart until neighbours are `gap` apart, around where they were."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [places[each] for each in order]
    for number in range(1, len(moved)):
        moved[number] = max(moved[number], moved[number - 1] + gap)
    # Those pushed down are brought back by half of what the last one moved.
    shift = (moved[-1] - places[order[-1]]) / 2 if moved else 0.0
    spread = [0.0] * len(places)
    for each, place in zip(order, moved, strict=True):
        spread[each] = place - shift
    return spread


def _marker(parent: ET.Element, x: float, y: float, r: float, shape: str, title: str) -> None:
    if shape == "circle":
        mark = _add(parent, "circle", "marker", cx=x, cy=y, r=r)
    else:
        paths = {
            "square": f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
            "diamond": f"M{x:.1f} {y - 1.3 * r:.1f}l{1.3 * r:.1f} {1.3 * r:.1f}l{-1.3 * r:.1f} {1.3 * r:.1f}"
            f"l{-1.3 * r:.1f} {-1.3 * r:.1f}z",
            "triangle": f"M{x:.1f} {y - 1.2 * r:.1f}l{1.2 * r:.1f} {2.2 * r:.1f}h{-2.4 * r:.1f}z",
            "cross": f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}",
        }
        mark = _add(parent, "path", "marker", d=paths[shape])
    _titled(mark, title)


def _group(parent: ET.Element, mark: Mark, kind: str = "") -> ET.Element:
    names = [mark.colour, "own" if mark.own else "other", kind]
    return ET.SubElement(parent, "g", {"class": " ".join(filter(None, names))})


def _add(parent: ET.Element, tag: str, kind: str = "", **attributes: str | float) -> ET.Element:
    values = {name: value if isinstance(value, str) else f"{value:.1f}" for name, value in attributes.items()}
    return ET.SubElement(parent, tag, {**({"class": kind} if kind else {}), **values})


def _text(parent: ET.Element, x: float, y: float, text: str, kind: str, anchor: str) -> None:
    _add(parent, "text", kind, x=x, y=y, **{"text-anchor": anchor}).text = printable(text)


def _titled(parent: ET.Element, title: str) -> None:
    if title:
        ET.SubElement(parent, "title").text = "\n".join(map(printable, title.split("\n")))


def _written(svg: ET.Element) -> Markup:
    # ElementTree has escaped every text and attribute.
    return Markup(ET.tostring(svg, encoding="unicode"))
