"""A line plot as SVG text: axes, curves, dots and a legend, and nothing to install for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 78, 20, 40, 52
COLOURS = ("#1b5e9b", "#c0392b", "#2e7d32", "#8e44ad", "#b9770e", "#455a64")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) in order of x; joined by a line, or ``dots`` alone."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What stands beside an axis; its range comes from the points."""

    label: str
    log: bool = False
    from_zero: bool = True
    """Whether a linear axis goes down to zero."""

    def place(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self, low: float, high: float) -> list[float]:
        """Round numbers from ``low`` to ``high``, both as :meth:`place` has them."""
        if self.log:
            decades = range(math.floor(low), math.ceil(high) + 1)
            several = (1.0,) if high - low > 2 else (1.0, 2.0, 5.0)
            values = [digit * 10.0**decade for decade in decades for digit in several]
            return [value for value in values if low <= math.log10(value) <= high]
        step = 10.0 ** math.floor(math.log10((high - low) / 4.0))
        step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 8)
        first = math.ceil(low / step - 1e-9)
        return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_plot(title: str, x: Axis, y: Axis, curves: Sequence[Curve]) -> str:
    """Draw the curves; points that an axis cannot show (zero on a logarithm) are left out.

    Raises
    ------
    ValueError
        If no point is left.
    """
    shown = [(curve, _visible(curve, x, y)) for curve in curves]
    places = [point for _, points in shown for point in points]
    if not places:
        raise ValueError(f"no point of {title!r} can be drawn")
    x_low, x_high = _range([place[0] for place in places])
    y_low, y_high = _range([place[1] for place in places])
    if not y.log and y.from_zero:
        y_low = min(0.0, y_low)
    box_width, box_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(place: tuple[float, float]) -> tuple[float, float]:
        across = (place[0] - x_low) / (x_high - x_low)
        up = (place[1] - y_low) / (y_high - y_low)
        return LEFT + across * box_width, TOP + (1.0 - up) * box_height

    parts = [_head(title), *_labels(x, y)]
    for value in x.ticks(x_low, x_high):
        left, _ = at((x.place(value), y_low))
        parts.append(_line(left, TOP, left, HEIGHT - BOTTOM))
        parts.append(_text(left, HEIGHT - BOTTOM + 16, f"{value:g}", "middle"))
    for value in y.ticks(y_low, y_high):
        _, top = at((x_low, y.place(value)))
        parts.append(_line(LEFT, top, WIDTH - RIGHT, top))
        parts.append(_text(LEFT - 6, top + 4, f"{value:g}", "end"))
    for number, (curve, points) in enumerate(shown):
        parts += _curve(curve, [at(place) for place in points], number)
    return "\n".join([*parts, "</svg>", ""])


def _visible(curve: Curve, x: Axis, y: Axis) -> list[tuple[float, float]]:
    return [
        (x.place(a), y.place(b))
        for a, b in curve.points
        if (a > 0 or not x.log) and (b > 0 or not y.log)
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or max(1.0, abs(high)) * 0.1
    return low - margin, high + margin


def _head(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" '
        f'fill="white"/>\n' + _text(WIDTH / 2, 22, title, "middle", size=14)
    )


def _labels(x: Axis, y: Axis) -> list[str]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    return [
        _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 12, x.label, "middle"),
        f'<text transform="translate(18,{middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>",
    ]


def _curve(curve: Curve, places: list[tuple[float, float]], number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    top = TOP + 14 + 16 * number
    parts = [_text(WIDTH - RIGHT - 26, top, curve.name, "end")]
    if curve.dots:
        dots = [*places, (WIDTH - RIGHT - 14, top - 4)]
        return parts + [
            f'<circle cx="{left:.1f}" cy="{up:.1f}" r="4" fill="{colour}"/>' for left, up in dots
        ]
    path = " ".join(f"{left:.1f},{up:.1f}" for left, up in places)
    sample = f"{WIDTH - RIGHT - 22},{top - 4} {WIDTH - RIGHT - 6},{top - 4}"
    return parts + [
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for points in (path, sample)
    ]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, *, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
