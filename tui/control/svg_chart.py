"""A line chart as SVG text, for reports and exports: lines told apart by colour, dash and a label at their end.

What is projected is a shaded band about a dotted line with hollow points, and says so: never a line like the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape  # as xml.sax does, which would load a web client on the way to the first frame

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 200, 20, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, told apart by the colour-blind."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
FONTS = "Helvetica, Arial, Liberation Sans, DejaVu Sans, Noto Sans, sans-serif"
"""By name, since a program without a desktop's settings knows no family as the usual one."""
_TICKS = 5
_LINE = 14
"""Height of a line of text."""


@dataclass(frozen=True, slots=True)
class Line:
    """A series; a gap where there is no number."""

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: int | None = None
    """Which of the colours and dashes; None for the one of its place."""
    is_faint: bool = False
    """Behind the others: what was measured, where the line itself is smoothed."""
    spot: tuple[float, float] | None = None
    """Its best point."""


@dataclass(frozen=True, slots=True)
class Band:
    """What has not been measured: (x, low, middle, high), the first of them the last measured point."""

    label: str
    points: Sequence[tuple[float, float, float, float]]
    colour: int = 0


def draw_chart(
    title: str,
    lines: Sequence[Line],
    *,
    levels: Sequence[tuple[str, float]] = (),
    marks: Sequence[tuple[str, float]] = (),
    bands: Sequence[Band] = (),
    x_name: str = "",
    log_y: bool = False,
) -> str:
    """An SVG document.

    Args:
        title: read out by those who cannot see it.
        lines: the series.
        levels: labelled horizontal lines.
        marks: labelled vertical lines.
        bands: projections, drawn behind the lines.
        x_name: what x counts, for a picture that stands alone, with its title above it; empty for neither.
        log_y: a logarithmic y axis; values of 0 and below are gaps then.
    """
    if log_y:
        lines = [replace(line, points=[(x, _log(y)) for x, y in line.points], spot=None) for line in lines]
        levels = [(name, math.log10(value)) for name, value in levels if value > 0]
        bands = []
    points = [(x, y) for line in lines for x, y in line.points if y is not None]
    ahead = [(x, y) for band in bands for x, *ends in band.points for y in ends]
    xs = [x for x, _ in (*points, *ahead)] or [0.0, 1.0]
    ys = [y for _, y in (*points, *ahead)] + [value for _, value in levels] or [0.0, 1.0]
    frame = _Frame(min(xs), max(xs), min(ys), max(ys), log_y=log_y)
    heading = f'<text x="{LEFT}" y="{TOP - 6}" font-weight="bold">{escape(title)}</text>' if x_name else ""
    body = [heading, *frame.axes(x_name), *frame.levels(levels), *frame.marks(marks)]
    for band in bands:
        body += frame.band(band, COLOURS[band.colour % len(COLOURS)])
    for number, line in enumerate(lines):
        look = number if line.colour is None else line.colour
        body += frame.series(line, COLOURS[look % len(COLOURS)], DASHES[look % len(DASHES)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{FONTS}" '
        f'font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{"".join(body)}</svg>\n'
    )


class _Frame:
    """Numbers to places."""

    def __init__(self, low_x: float, high_x: float, low_y: float, high_y: float, *, log_y: bool = False) -> None:
        margin = 0.05 * (high_y - low_y) or 0.5
        self.low_x, self.high_x = low_x, high_x if high_x > low_x else low_x + 1
        self.low_y, self.high_y = low_y - margin, high_y + margin
        self.log_y = log_y

    def x(self, value: float) -> float:
        return LEFT + (value - self.low_x) / (self.high_x - self.low_x) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low_y) / (self.high_y - self.low_y) * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_name: str) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#666"/>']
        parts += [
            f'<text x="{LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{self.label(value)}</text>'
            for value in _round_values(self.low_y, self.high_y)
        ]
        whole = range(round(self.low_x), round(self.high_x) + 1, max(1, round((self.high_x - self.low_x) / 10)))
        ticks = [float(at) for at in whole] if len(whole) > 2 else _round_values(self.low_x, self.high_x)
        parts += [f'<text x="{self.x(at):.1f}" y="{bottom + 18}" text-anchor="middle">{at:g}</text>' for at in ticks]
        if x_name:
            parts.append(f'<text x="{right}" y="{bottom + 34}" text-anchor="end" fill="#666">{escape(x_name)}</text>')
        return parts

    def label(self, value: float) -> str:
        """A number of the y axis as it is told."""
        return f"{10**value:.3g}" if self.log_y else f"{value:g}"

    def marks(self, marks: Sequence[tuple[str, float]]) -> list[str]:
        """Vertical lines, those that lie within, labelled at their foot."""
        parts = []
        for label, value in marks:
            if self.low_x <= value <= self.high_x:
                x = self.x(value)
                parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="2 4"/>')
                parts.append(f'<text x="{x + 4:.1f}" y="{HEIGHT - BOTTOM - 6}" fill="#666">{escape(label)}</text>')
        return parts

    def band(self, band: Band, colour: str) -> list[str]:
        """A shade, a dotted middle, hollow points, and the word for it."""
        above = [f"{self.x(x):.1f} {self.y(high):.1f}" for x, _, _, high in band.points]
        below = [f"{self.x(x):.1f} {self.y(low):.1f}" for x, low, _, _ in reversed(band.points)]
        middle = [f"{self.x(x):.1f} {self.y(value):.1f}" for x, _, value, _ in band.points]
        parts = [
            f'<path d="M{"L".join(above + below)}Z" fill="{colour}" fill-opacity="0.15" stroke="none"/>',
            f'<path d="M{"L".join(middle)}" fill="none" stroke="{colour}" stroke-dasharray="1 5"/>',
        ]
        for x, _, value, _ in band.points[1:]:
            parts.append(
                f'<circle cx="{self.x(x):.1f}" cy="{self.y(value):.1f}" r="3" fill="white" stroke="{colour}"/>'
            )
        x, _, value, _ = band.points[-1]
        at_x, at_y = self.x(x) + 8, self.y(value) + 12
        parts.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}" fill="{colour}">{escape(band.label)} {value:.3f}</text>')
        return parts

    def levels(self, levels: Sequence[tuple[str, float]]) -> list[str]:
        """Lines where they belong, labels below each other where they would overlap."""
        parts, right, lowest = [], WIDTH - RIGHT, 0.0
        for label, value in sorted(levels, key=lambda level: -level[1]):
            y = self.y(value)
            lowest = max(y + 4, lowest + _LINE)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#999" stroke-dasharray="1 3"/>')
            words = f"{escape(label)} {10**value if self.log_y else value:.3f}"
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
        if line.is_faint:
            return [f'<path d="{path}" fill="none" stroke="{colour}" stroke-opacity="0.3"/>']
        x, y = self.x(last[0]), self.y(last[1])
        is_best = line.spot == last
        label = f"{line.label}, best {last[1]:.3f}" if is_best else line.label
        parts = [
            f'<path d="{path}" fill="none" stroke-width="2" {style}/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>',
            f'<text x="{x + 8:.1f}" y="{y - 4:.1f}" fill="{colour}">{escape(label)}</text>',
        ]
        if line.spot is not None:
            at_x, at_y = self.x(line.spot[0]), self.y(line.spot[1])
            parts.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="6" fill="none" stroke="{colour}"/>')
            words = f"best {line.spot[1]:.3f}</text>"
            if not is_best:
                parts.append(f'<text x="{at_x:.1f}" y="{at_y + 18:.1f}" text-anchor="middle" fill="{colour}">{words}')
        return parts


def _log(value: float | None) -> float | None:
    return math.log10(value) if value is not None and value > 0 else None


def _round_values(low: float, high: float) -> list[float]:
    """Some `_TICKS` multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(times * power for times in (1, 2, 5, 10) if (high - low) / (times * power) <= _TICKS)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
