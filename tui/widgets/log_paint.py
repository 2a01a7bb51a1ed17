"""The colours that a program gave its output, as far as they are safe to keep: six hues and four ways of writing.

A colour is shown as the theme's own of that hue, so that it can be read on any background and by the colour-blind; what
would hide text, make it blink or paint behind it is left out. The text itself is always what `clean` makes of the line:
where taking the colours out piece by piece would give any other text, the line has none. Pure.
"""

from __future__ import annotations

import colorsys
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tui.text import clean

HUES: Final = ("red", "yellow", "green", "cyan", "blue", "magenta")
"""In the order of the colour circle."""
_ANSI: Final = ("", "red", "green", "yellow", "blue", "magenta", "cyan", "")
_WAYS: Final = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
_ENDS: Final = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 39: HUES, 0: (*HUES, *_WAYS.values())}
LOOKS: Final = (*HUES, *_WAYS.values())
_SGR: Final = re.compile(r"\x1b\[([0-9;:]{0,64})m")
_GREY: Final = 0.25
"""Saturation below which a colour has no hue to speak of."""
_LEVELS: Final = (0, 95, 135, 175, 215, 255)
"""Of the colour cube of 256-colour terminals."""


class Paint(NamedTuple):
    """A part of a line that has a look of its own."""

    begin: int
    end: int
    looks: frozenset[str]
    """Of HUES at most one, and of "bold", "dim", "italic", "underline"."""


def paints_of(raw: str, cleaned: str) -> tuple[Paint, ...]:
    """The parts of a line that its program coloured.

    Args:
        raw: the line as it was written.
        cleaned: what `clean` makes of it; the places of the paints are in it.
    """
    if "\x1b[" not in raw:
        return ()
    last_state = raw.rstrip("\r\n").rpartition("\r")[2]
    pieces = [(clean(text), looks) for text, looks in _pieces(last_state)]
    if "".join(text for text, _ in pieces) != cleaned:
        return ()
    paints, at = [], 0
    for text, looks in pieces:
        if looks and text:
            paints.append(Paint(at, at + len(text), looks))
        at += len(text)
    return tuple(paints)


def _pieces(raw: str) -> Iterator[tuple[str, frozenset[str]]]:
    looks: frozenset[str] = frozenset()
    end = 0
    for match in _SGR.finditer(raw):
        yield raw[end : match.start()], looks
        looks, end = _after(looks, match[1]), match.end()
    yield raw[end:], looks


def _after(looks: frozenset[str], parameters: str) -> frozenset[str]:
    """The looks after a sequence; what it asks for beyond them is passed over."""
    codes = [int(code) if code.isdigit() and len(code) < 4 else 0 for code in re.split("[;:]", parameters)]
    while codes:
        code = codes.pop(0)
        if code in {38, 48}:  # a colour of many: of the background, it is only skipped
            hue = _hue_of_many(codes)
            looks = _in_hue(looks, hue) if code == 38 else looks
        elif 30 <= code <= 37 or 90 <= code <= 97:
            looks = _in_hue(looks, _ANSI[code % 10])
        elif code in _WAYS:
            looks |= {_WAYS[code]}
        elif code in _ENDS:
            looks -= {*_ENDS[code]}
    return looks


def _in_hue(looks: frozenset[str], hue: str) -> frozenset[str]:
    return (looks - {*HUES}) | ({hue} if hue else set())


def _hue_of_many(codes: list[int]) -> str:
    """The hue of `5;N` or `2;R;G;B`, which are taken off the front; empty for a grey, and for anything else."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        number = min(codes.pop(0), 255)
        if number < 16:
            return _ANSI[number % 8]
        if number >= 232:
            return ""
        return _hue(*(_LEVELS[(number - 16) // place % 6] for place in (36, 6, 1)))
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (min(code, 255) for code in codes[:3])
        del codes[:3]
        return _hue(red, green, blue)
    return ""


def _hue(red: int, green: int, blue: int) -> str:
    turn, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    return HUES[round(turn * len(HUES)) % len(HUES)] if saturation > _GREY and value > 0 else ""


def cut(
    text: str, marks: Sequence[tuple[int, int]], paints: Sequence[Paint]
) -> Iterator[tuple[str, bool, frozenset[str]]]:
    """The text in pieces, each with whether it lies within a mark, and with its looks.

    Args:
        text: a line.
        marks: spans, ascending, not overlapping.
        paints: likewise.
    """
    ends = {0, len(text), *(at for span in marks for at in span), *(at for paint in paints for at in paint[:2])}
    places = sorted(at for at in ends if at <= len(text))
    for begin, end in itertools.pairwise(places):
        is_marked = any(mark[0] <= begin < mark[1] for mark in marks)
        looks = next((paint.looks for paint in paints if paint.begin <= begin < paint.end), frozenset())
        yield text[begin:end], is_marked, looks
