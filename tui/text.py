"""Foreign text made safe for a terminal.

Log lines, run names, titles and file names are written by others. A terminal obeys some of their characters (it moves
its cursor, renames its window, swallows what follows) and Textual would parse some as markup. Everything that was not
written in this package passes through `clean`, or through `ui_text` on its way into a widget.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from textual.content import Content

TAB_WIDTH: Final = 8
"""Cells between tab stops, as terminals have them."""
MAX_MARKS: Final = 4
"""Combining marks kept in a row. Vietnamese and Hebrew stack up to three; more only paints over other lines."""

# After its introducer no branch can fail, so the search never backtracks and stays linear. A string that nobody
# terminated ends with its line: what follows on later lines is worth seeing.
_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c\n]*(?:\x1b\\|[\x07\x9c])?"  # OSC DCS SOS PM APC
    r"|\x1b[ -/]*[0-~]?"  # two-character escapes and charset switches
)
_LINE_BREAK: Final = re.compile("[\n\x0b\x0c\x85\u2028\u2029]")
# All of Unicode's Cc (but tab, CR and line breaks, treated on their own), Cf (bidi controls, zero-width characters,
# soft hyphen, tags) and Cs (surrogates), and the letters and marks that show nothing (fillers, variation selectors).
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
# no mark stands below U+0300, so a shorter run of such characters cannot hold too many marks
_MAYBE_MARKS: Final = re.compile(f"[^\x00-\u02ff]{{{MAX_MARKS + 1}}}")
_ASCII: Final = str.maketrans(
    {
        "≥": ">=",
        "≤": "<=",
        "→": "->",
        "×": "x",
        "±": "+-",
        "·": ".",
        "▸": ">",
        "Δ": "diff",
        "τ": "tau",
        "λ": "lambda",
        "–": "-",
        "│": "|",
        "ŷ": "y^",
        "…": "...",
        "■": "#",
        "─": "-",
        "┄": "-",
    }
)


def clean(s: str | bytes) -> str:
    """One line of foreign text, safe to print.

    Escape sequences (7-bit, C1 and unterminated ones), control, bidi, zero-width and tag characters and lone surrogates
    are removed, tabs become spaces, and of a line redrawn with carriage returns the last state is kept. Line breaks
    become a space; at the end they are dropped. Printable text comes back unchanged, and so does cleaned text.

    Args:
        s: Text, or bytes to be read as UTF-8 (what is not UTF-8 shows as U+FFFD).
    """
    text = s.decode("utf-8", "replace") if isinstance(s, bytes) else s
    printable = text.isprintable()
    if printable and text.isascii():
        return text
    if not printable:
        text = _SEQUENCE.sub("", text)
    text = _INVISIBLE.sub("", text)
    if not printable:
        # drop the trailing breaks only: an empty line in between still separates words
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in _LINE_BREAK.split(text)]
        while len(lines) > 1 and not lines[-1]:
            lines.pop()
        text = " ".join(lines).expandtabs(TAB_WIDTH)
    return _with_few_marks(text) if _MAYBE_MARKS.search(text) else text


def ui_text(s: str | bytes, style: str = "", *, multiline: bool = False) -> Content:
    """Foreign text as Textual content: cleaned, and never parsed as markup.

    Args:
        s: The text, as for `clean`.
        style: A Textual style for all of it, such as "bold" or "$error".
        multiline: Keep the line ends (a traceback) instead of joining the lines with spaces.
    """
    text = s.decode("utf-8", "replace") if isinstance(s, bytes) else s
    cleaned = "\n".join(clean(line) for line in text.split("\n")) if multiline else clean(text)
    return Content.styled(cleaned, style) if style else Content(cleaned)


def in_ascii(text: str) -> str:
    """A text for terminals that know nothing else: what has no stand-in becomes a question mark."""
    return text if text.isascii() else text.translate(_ASCII).encode("ascii", "replace").decode()


def shorten(text: str, width: int) -> str:
    """At most `width` characters of a text; what is left out shows as three dots."""
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."


def _with_few_marks(text: str) -> str:
    kept = []
    num_marks = 0
    for character in text:
        num_marks = num_marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if num_marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)
