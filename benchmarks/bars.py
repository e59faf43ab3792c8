"""Horizontal bars as SVG text, for the shares of a whole."""

from collections.abc import Sequence
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 640, 150, 70, 44, 22
COLOURS = {"Bob": "#1b5e9b", "Alice": "#c0392b", "simulator": "#777"}


def bar_plot(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Draw a bar for each name, in order; coloured by the first word of the name."""
    height = TOP + ROW * len(bars) + 16
    most = max(value for _, value in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="14">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(bars):
        top = TOP + ROW * number
        width = (WIDTH - LEFT - RIGHT) * value / most
        colour = COLOURS.get(name.split()[0], "#2e7d32")
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="15" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{top + 12}">{value:.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
