"""Line charts and heat maps as SVG that follows the page's colours."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from c3tf.reporting.html import Html, element

_WIDTH, _HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 12, 40
# Colours that the style sheet defines as .s0, .s1, ...
COLORS = 6
_POINTS = 400
# Of lines of so few points each is marked: those of a reliability diagram are.
_MARKED = 16
# Of a name beside a heat map: the most of them, and room for one in pixels.
_LETTERS, _LETTER_WIDTH = 40, 7


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: what the legend calls it.
        points: (x, y) pairs in order.
        color: index of its colour.
        dashed: tells it apart from another line of its colour.
        said: what the legend states of it; its last value when absent.
    """

    name: str
    points: list[tuple[float, float]]
    color: int
    dashed: bool = False
    said: str | None = None


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round numbers at one distance, from `low` or below to `high` or above.

    Args:
        low: smallest value.
        high: largest value.
        count: about how many steps.
    """
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in (1, 2, 2.5, 5, 10) if scale * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def number(value: float) -> str:
    """Writes a number for people: four significant digits, thousands apart."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 10000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1e}" if abs(value) < 0.001 else f"{value:.4g}"


def tick_labels(values: list[float]) -> list[str]:
    """Writes evenly spaced numbers, all with as many decimals as the distance needs."""
    step = values[1] - values[0]
    if max(map(abs, values)) < 0.001:
        return [f"{value:.1e}" if value else "0" for value in values]
    decimals = next(d for d in range(9) if abs(round(step, d) - step) < step / 100 or d == 8)
    return [f"{value:,.{decimals}f}" for value in values]


def line_chart(title: str, lines: Sequence[Line], x_title: str = "step") -> Html:
    """Draws lines over common axes, with a legend that states their last values or `said`.

    Args:
        title: of the chart.
        lines: what to draw; those without a finite point are left out.
        x_title: what the horizontal axis counts.

    Returns:
        A figure; a sentence in its place where nothing was measured.
    """
    lines = [line for line in lines if any(math.isfinite(y) for _, y in line.points)]
    if not lines:
        return element("p", {"class": "soft"}, f"{title}: nothing was measured.")
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if math.isfinite(y)]
    x_ticks = [t for t in ticks(min(xs), max(xs)) if min(xs) <= t <= max(xs)] or [min(xs)]
    y_ticks = ticks(min(ys), max(ys))
    frame = _Frame(min(xs), max(xs), y_ticks[0], y_ticks[-1])
    drawn = [_grid(frame, x_ticks, y_ticks, x_title)]
    drawn += [_path(frame, line) for line in lines]
    said = ", ".join(
        f"{line.name} ends at {number(line.points[-1][1])}"
        if line.said is None
        else f"{line.name} {line.said}".strip()
        for line in lines
    )
    svg = element(
        "svg",
        {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": f"{title}: {said}"},
        *drawn,
    )
    return element(
        "figure", {"class": "chart"}, element("figcaption", {}, title), _legend(lines), svg
    )


class _Frame(NamedTuple):
    """The ranges of both axes, and where they lie in the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 2)


def _grid(frame: _Frame, x_ticks: list[float], y_ticks: list[float], x_title: str) -> Html:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts, labels = [], tick_labels(y_ticks)
    for value, label in zip(y_ticks, labels, strict=True):
        y = frame.y(value)
        parts.append(element("line", {"class": "grid", "x1": _LEFT, "x2": right, "y1": y, "y2": y}))
        parts.append(_text(_LEFT - 6, y + 4, label, "end"))
    for value in x_ticks:
        x = frame.x(value)
        parts.append(
            element("line", {"class": "tick", "x1": x, "x2": x, "y1": bottom, "y2": bottom + 4})
        )
        parts.append(_text(x, bottom + 17, number(value), "middle"))
    parts.append(
        element("line", {"class": "axis", "x1": _LEFT, "x2": right, "y1": bottom, "y2": bottom})
    )
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 5, x_title, "middle"))
    return element("g", {}, *parts)


def _path(frame: _Frame, line: Line) -> Html:
    points = [(x, y) for x, y in thinned(line.points, _POINTS) if math.isfinite(y)]
    css = f"line s{line.color % COLORS}" + (" dashed" if line.dashed else "")
    places = [f"{frame.x(x)},{frame.y(y)}" for x, y in points]
    marks = [
        element("circle", {"class": f"dot s{line.color % COLORS}", "cx": cx, "cy": cy, "r": 3})
        for cx, cy in (place.split(",") for place in places)
        if len(points) <= _MARKED
    ]
    path = element("path", {"class": css, "d": "M" + " L".join(places)})
    return element("g", {}, element("title", {}, line.name), path, *marks)


def _legend(lines: list[Line]) -> Html:
    entries = []
    for line in lines:
        css = f"line s{line.color % COLORS}" + (" dashed" if line.dashed else "")
        key = element("line", {"class": css, "x1": 0, "x2": 24, "y1": 5, "y2": 5})
        mark = element("svg", {"class": "key", "viewBox": "0 0 24 10", "aria-hidden": "true"}, key)
        value = element("b", {}, number(line.points[-1][1]) if line.said is None else line.said)
        entries.append(element("li", {}, mark, f"{line.name} ", value))
    return element("ul", {"class": "legend"}, *entries)


def thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Keeps evenly spaced points, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def heat_map(
    title: str, steps: Sequence[int], rows: dict[str, Sequence[float | None]], percent: bool
) -> Html:
    """Draws values over time, one row per name: the darker, the larger.

    Args:
        title: of the picture.
        steps: what the columns stand for.
        rows: values by name, one per step; None where there is none.
        percent: write numbers as shares of a hundred.

    Returns:
        A figure.
    """
    known = [v for values in rows.values() for v in values if v is not None]
    low, high = min(known), max(known)
    names = {name: name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name in rows}
    left = 14 + _LETTER_WIDTH * max(map(len, names.values()))
    right, cell = 54, 18
    width, height = 720, cell * len(rows) + 40
    column = (width - left - right) / len(steps)

    def said(value: float | None) -> str:
        if value is None:
            return "-"
        if percent:
            return f"{value:.0%}"
        return f"{value:.3f}" if high <= 1 else f"{value:,.1f}"

    parts = []
    for place, (name, values) in enumerate(rows.items()):
        y = place * cell
        parts.append(_text(left - 6, y + 13, names[name], "end"))
        for index, value in enumerate(values):
            if value is None:
                continue
            share = 0.08 + 0.92 * (value - low) / ((high - low) or 1)
            held = element("title", {}, f"{name}, step {steps[index]:,}: {said(value)}")
            box = {"x": round(left + index * column, 2), "y": y + 1, "height": cell - 2}
            box |= {"width": round(column + 0.3, 2), "fill-opacity": round(share, 3)}
            parts.append(element("rect", {"class": "heat", **box}, held))
        parts.append(_text(width - right + 6, y + 13, said(values[-1]), "start"))
    for value in {0, len(steps) // 2, len(steps) - 1}:
        x = left + (value + 0.5) * column
        parts.append(_text(x, height - 24, f"{steps[value]:,}", "middle"))
    parts.append(_text((left + width - right) / 2, height - 6, "step", "middle"))
    label = f"{title}, from {said(low)} to {said(high)}"
    svg = element(
        "svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": label}, *parts
    )
    key = f"lightest {said(low)}, darkest {said(high)}; on the right the last value"
    caption = element("figcaption", {}, title, element("small", {}, key))
    return element("figure", {"class": "chart wide"}, caption, svg)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", {"x": round(x, 2), "y": round(y, 2), "text-anchor": anchor}, text)
