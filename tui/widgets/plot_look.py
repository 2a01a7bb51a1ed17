"""How the lines of a chart are told apart when there is no colour: dash, marker and plain character."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Look:
    """The shape of a series, in Unicode and in ASCII."""

    dash: tuple[bool, ...]
    """Which columns of braille dots are drawn, repeated."""
    ascii_dash: tuple[bool, ...]
    """Which columns of cells are drawn, repeated."""
    marker: str
    """At a single point."""
    sample: str
    """The dash in the legend, two cells."""
    ascii_line: str
    """What the line consists of where there is no braille."""
    ascii_marker: str
    """At a single point where there is no Unicode."""
    hollow: str
    """The marker, hollow: where a point would be that has not been measured."""


def _dash(pattern: str) -> tuple[bool, ...]:
    return tuple(character != " " for character in pattern)


LOOKS: Final = (
    Look(_dash("-"), _dash("-"), "●", "━━", "*", "@", "○"),
    Look(_dash("----  "), _dash("-- "), "◆", "╌╌", "+", "#", "◇"),
    Look(_dash("-  "), _dash("- "), "▲", "┈┈", "o", "%", "△"),
    Look(_dash("-----  -  "), _dash("--- - "), "■", "━┈", "x", "&", "□"),
)
"""The four kinds of series; a series' kind counts on from the first again after the last."""

LEVELS: Final = ("─", "╌", "┄", "┈")
"""What the horizontal lines consist of, in their order."""
ASCII_LEVELS: Final = ("=", "-", "~", ".")
"""The same without Unicode."""
MARK, ASCII_MARK, CURSOR, ASCII_CURSOR = "┊", ":", "│", "|"
SPOT, ASCII_SPOT = "★", "^"
BAND, ASCII_BAND = "░", ","
"""The interval of a forecast."""
GUESS, ASCII_GUESS = "·", "?"
"""The middle of a forecast."""
ASCII_RAW = "'"
"""What was measured, behind the smoothed line."""
GAP: Final = "x"
"""Where a value is missing or not finite."""


def look(kind: int) -> Look:
    """The look of a kind of series."""
    return LOOKS[kind % len(LOOKS)]


def series_style(kind: int) -> str:
    """The name of the style of a kind of series."""
    return f"series-{kind % len(LOOKS)}"


def dim_style(kind: int) -> str:
    """The name of the style of what stands behind a series: its raw values, and its forecast."""
    return f"dim-{kind % len(LOOKS)}"


def level_style(index: int) -> str:
    """The name of the style of a horizontal line, by its place in the list."""
    return f"level-{index % len(LEVELS)}"


def marker(kind: int, ascii_only: bool) -> str:
    """The character that marks a point of a series."""
    return look(kind).ascii_marker if ascii_only else look(kind).marker
