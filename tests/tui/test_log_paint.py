"""Colours of the program: kept where they are safe, never at the cost of the text."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_log_reading import LogApp

from tui.text import clean
from tui.themes import THEMES
from tui.widgets.log_paint import HUES, LOOKS, Paint, cut, paints_of


def painted(raw: str) -> list[tuple[str, set[str]]]:
    """The text of each paint, with its looks."""
    text = clean(raw)
    return [(text[paint.begin : paint.end], set(paint.looks)) for paint in paints_of(raw, text)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain", []),
        ("\x1b[31mred\x1b[0m rest", [("red", {"red"})]),
        ("\x1b[1;92mbold green\x1b[22m green\x1b[39m rest", [("bold green", {"bold", "green"}), (" green", {"green"})]),
        ("a \x1b[38;5;196mone of 256\x1b[m b", [("one of 256", {"red"})]),
        ("\x1b[38;2;0;90;255mtrue colour\x1b[0m", [("true colour", {"blue"})]),
        ("\x1b[38;5;244mgrey\x1b[0m", []),
        ("\x1b[41mred behind\x1b[0m", []),
        ("\x1b[48;5;196;3mred behind, italic\x1b[0m", [("red behind, italic", {"italic"})]),
        ("\x1b[8mconcealed\x1b[5mblinking\x1b[7mreversed", []),
        ("\x1b[37mwhite\x1b[30mblack", []),
        ("10%\r\x1b[32m100%\x1b[0m", [("100%", {"green"})]),
        ("\x1b[34mto the end", [("to the end", {"blue"})]),
        ("\x1b[999;38;5;1;;;mstrange", []),
    ],
)
def test_what_is_kept_of_a_programs_colours(raw: str, expected: list[tuple[str, set[str]]]) -> None:
    assert painted(raw) == expected


def test_a_line_whose_pieces_make_another_text_has_no_colours() -> None:
    assert painted("ab\x1b[31m\tx") == [], "a tab is as wide as its place in the whole line says"


SCRAPS = [
    "\x1b[31m",
    "\x1b[38;5;99m",
    "\x1b[0m",
    "\x1b]0;",
    "\x1bP",
    "\x9b",
    "\x07",
    "\x1b",
    "[1m",
    "\r",
    "\t",
    "\u202e",
    "a b",
]


@given(st.lists(st.sampled_from(SCRAPS), max_size=12).map("".join))
def test_the_text_is_what_it_is_without_colours_and_paints_lie_within_it_in_order(raw: str) -> None:
    text = clean(raw)
    paints = paints_of(raw, text)
    assert "".join(piece for piece, _, _ in cut(text, (), paints)) == text
    assert all(0 <= paint.begin < paint.end <= len(text) for paint in paints)
    assert all(before.end <= after.begin for before, after in itertools.pairwise(paints))
    assert all(paint.looks <= {*LOOKS} and len(paint.looks & {*HUES}) <= 1 for paint in paints)


def test_marks_and_paints_may_cross() -> None:
    red = frozenset({"red"})
    pieces = list(cut("abcdef", [(1, 3)], [Paint(2, 5, red)]))
    assert [(text, is_marked, set(looks)) for text, is_marked, looks in pieces] == [
        ("a", False, set()),
        ("b", True, set()),
        ("c", True, {"red"}),
        ("de", False, {"red"}),
        ("f", False, set()),
    ]


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_hues_are_the_themes_own_and_differ_from_plain_text(tmp_path: Path, theme: str) -> None:
    codes = {"red": 31, "yellow": 33, "green": 32, "cyan": 36, "blue": 34, "magenta": 35}
    path = tmp_path / "output.log"
    path.write_text("".join(f"\x1b[{codes[hue]}m{hue}\x1b[0m plain\n" for hue in HUES))
    app = LogApp(path)
    async with app.run_test(size=(40, 8)) as pilot:
        for each in THEMES:
            app.register_theme(each)
        app.theme = theme
        await pilot.pause()
        for row, hue in enumerate(HUES):
            segments = list(app.view.render_line(row))
            assert segments[0].text == hue
            first, second = (segment.style for segment in segments[:2])
            assert first is not None
            assert second is not None
            assert first.color is not None
            assert first.color != second.color
