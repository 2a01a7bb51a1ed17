"""Whatever goes in, nothing that a terminal would obey comes out."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.widgets import Static

from tui.text import MAX_MARKS, clean, ui_text

nasty = st.text(
    st.one_of(
        st.sampled_from(list("\x1b\x1b[]P_^X\\\x07\x9b\x9c\x9d\x90\r\n\t0;m\x08\x00\x7f\u0301\u200d\u202e\ud800aB é│")),
        st.characters(),
    )
)


@given(nasty)
def test_no_control_survives(text: str) -> None:
    categories = {unicodedata.category(character) for character in clean(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(nasty)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(whitelist_categories=("L", "N", "P", "S"), max_codepoint=0x2FF)))
def test_plain_text_is_unchanged(text: str) -> None:
    assert clean(text) == text


@given(st.binary())
def test_any_bytes_are_accepted(data: bytes) -> None:
    cleaned = clean(data)
    assert cleaned.encode() is not None
    assert cleaned == clean(data.decode("utf-8", "replace"))


def test_every_control_and_format_character_of_unicode_is_removed() -> None:
    survivors = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and clean(f"ab{chr(code)}") != "ab"
    ]
    assert survivors == ["0x9"]  # the tab, which becomes spaces


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("cut\x1b[31", "cut"),
        ("a\x1b]0;stolen title\x07b", "ab"),
        ("a\x1b]0;stolen title\x1b\\b", "ab"),
        ("a\x9d0;stolen title\x9cb", "ab"),
        ("a\x1b]8;;http://x", "a"),
        ("a\x1bPtmux;\x1b\x1b]0;t\x07\x1b\\b", "ab"),
        ("a\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\b", "ab"),
        ("\x1bc\x1b(0\x1b7text", "text"),
        ("\x1b\x1b[2Jx", "x"),
        (" 10%\r 50%\r100%", "100%"),
        (" 10%\r100%\r", "100%"),
        ("dos\r\n", "dos"),
        ("two\nlines\n\n", "two lines"),
        ("a\tb", "a       b"),
        ("\u202egnp.exe", "gnp.exe"),
        ("z\u200be\u2060r\ufeffo", "zero"),
        ("t\U000e0061g", "tg"),
        ("\udcff", ""),
        (b"\xff\x1b[1mok", "\ufffdok"),
        ("│ 45% ━━━━━━━", "│ 45% ━━━━━━━"),
        ("e" + "\u0301" * 9, "e" + "\u0301" * MAX_MARKS),
    ],
)
def test_foreign_text_is_shown_as(foreign: str | bytes, shown: str) -> None:
    assert clean(foreign) == shown


def test_cleaning_takes_linear_time() -> None:
    def seconds(text: str) -> float:
        started = time.process_time()
        clean(text)
        return time.process_time() - started

    for piece in ("\x1b[0;0;0", "\x1b]0;", "\x1b", "\x9b ", "a\r", "\u0301", "\x1b[" + "!" * 20):
        # a quadratic search would need 64 times as long for 8 times the text, some minutes
        assert seconds(piece * 80_000) < 60 * max(seconds(piece * 10_000), 0.005)


def test_text_for_the_screen_is_never_markup() -> None:
    content = ui_text("[INFO] ok [/tmp/x] [@click=app.quit]")
    assert content.plain == "[INFO] ok [/tmp/x] [@click=app.quit]"
    assert content.spans == []


def test_text_for_the_screen_may_carry_a_style_and_lines() -> None:
    assert len(ui_text("failed", "bold").spans) == 1
    assert ui_text("one\r\n\x1b[1mtwo", multiline=True).plain == "one\ntwo"
    assert ui_text(b"one\ntwo").plain == "one two"


async def test_a_line_that_looks_like_markup_reaches_the_screen_as_it_is() -> None:
    class Shown(App[None]):
        def compose(self) -> ComposeResult:
            yield Static(ui_text("[INFO] ok [/tmp/x]"))

    app = Shown()
    async with app.run_test(size=(40, 3)):
        assert app.query_one(Static).render_line(0).text.rstrip() == "[INFO] ok [/tmp/x]"
