"""A line of a log as it is shown: cleaned, with the parts of it that have a look of their own. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from tui.text import clean
from tui.widgets.line_index import RawLine
from tui.widgets.line_search import ERROR_WORDS, WARNING_WORDS
from tui.widgets.log_paint import Paint, paints_of

KINDS: Final = ("error", "warning", "gate", "eval")
"""What lines are about; each has a look of its own."""


class ShownLine(NamedTuple):
    """What is visible of a line."""

    text: str
    """Safe to print."""
    kind: str
    """One of KINDS, or empty for a plain line."""
    note: str
    """What follows the text in a look of its own: how much was cut; empty if nothing was."""
    paints: tuple[Paint, ...] = ()
    """What the program coloured, by places in the text."""


def shown(raw: RawLine) -> ShownLine:
    """A line of a file, made safe and classified. The words stay: its look only repeats what they say."""
    text = clean(raw.data)
    note = f" [cut: {byte_size(raw.num_bytes)} in this line]" if raw.is_cut else ""
    return ShownLine(text, kind_of(text), note, paints_of(raw.data.decode("utf-8", "replace"), text))


def kind_of(text: str) -> str:
    """What a line is about: a gate, an evaluation, an error, a warning, or nothing in particular (empty)."""
    if "[GATE]" in text:
        return "gate"
    if "[EVAL]" in text:
        return "eval"
    if any(word in text for word in ERROR_WORDS):
        return "error"
    if any(word in text for word in WARNING_WORDS):
        return "warning"
    return ""


def byte_size(num_bytes: int) -> str:
    """A number of bytes for people: 512 bytes, 8.0 kB, 50.0 MB."""
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    size, unit = float(num_bytes), ""
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 - the unit it stopped at is the result
        size /= 1000
        if size < 1000:
            break
    return f"{size:.1f} {unit}"
