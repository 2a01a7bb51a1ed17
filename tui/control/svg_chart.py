"""A line chart as SVG text, for reports: lines told apart by colour, dash and a label at their end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 200, 20, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, told apart by the colour-blind."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
_TICKS = 5
_LINE = 14
"""Height of a line of text."""


@dataclass(frozen=True, slots=True)
class Line:
    """A series; a gap where there is no number."""

    label: str
    points: Sequence[tuple[float, float | None]]


def draw_chart(title: str, lines: Sequence[Line], *, levels: Sequence[tuple[str, float]] = ()) -> str:
    """An SVG document.

    Args:
        title: read out by those who cannot see it.
        lines: the series.
        levels: labelled horizontal lines.
    """
    points = [(x, y) for line in lines for x, y in line.points if y is not None]
    xs = [x for x, _ in points] or [0.0, 1.0]
    ys = [y for _, y in points] + [value for _, value in levels] or [0.0, 1.0]
    frame = _Frame(min(xs), max(xs), min(ys), max(ys))
    body = [*frame.axes(), *frame.levels(levels)]
    for number, line in enumerate(lines):
        body += frame.series(line, COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{"".join(body)}</svg>\n'
    )


class _Frame:
    """Numbers to places."""

    def __init__(self, low_x: float, high_x: float, low_y: float, high_y: float) -> None:
        margin = 0.05 * (high_y - low_y) or 0.5
        self.low_x, self.high_x = low_x, high_x if high_x > low_x else low_x + 1
        self.low_y, self.high_y = low_y - margin, high_y + margin

    def x(self, value: float) -> float:
        return LEFT + (value - self.low_x) / (self.high_x - self.low_x) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low_y) / (self.high_y - self.low_y) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#666"/>']
        parts += [
            f'<text x="{LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
            for value in _round_values(self.low_y, self.high_y)
        ]
        whole = range(round(self.low_x), round(self.high_x) + 1, max(1, round((self.high_x - self.low_x) / 10)))
        parts += [f'<text x="{self.x(at):.1f}" y="{bottom + 18}" text-anchor="middle">{at}</text>' for at in whole]
        return parts

    def levels(self, levels: Sequence[tuple[str, float]]) -> list[str]:
        """Lines where they belong, labels below each other where they would overlap."""
        parts, right, lowest = [], WIDTH - RIGHT, 0.0
        for label, value in sorted(levels, key=lambda level: -level[1]):
            y = self.y(value)
            lowest = max(y + 4, lowest + _LINE)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#999" stroke-dasharray="1 3"/>')
            words = f"{escape(label)} {value:.3f}"
            parts.append(f'<text x="{right + 6}" y="{lowest:.1f}" fill="#666">{words}</text>')
        return parts

    def series(self, line: Line, colour: str, dash: str) -> list[str]:
        path, is_open, last = "", False, None
        for x, y in line.points:
            if y is None:
                is_open = False
                continue
            path += f"{'L' if is_open else 'M'}{self.x(x):.1f} {self.y(y):.1f}"
            is_open, last = True, (x, y)
        if last is None:
            return []
        style = f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        x, y = self.x(last[0]), self.y(last[1])
        return [
            f'<path d="{path}" fill="none" stroke-width="2" {style}/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>',
            f'<text x="{x + 8:.1f}" y="{y - 4:.1f}" fill="{colour}">{escape(line.label)}</text>',
        ]


def _round_values(low: float, high: float) -> list[float]:
    """Some `_TICKS` multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(times * power for times in (1, 2, 5, 10) if (high - low) / (times * power) <= _TICKS)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
