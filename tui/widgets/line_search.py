"""Which lines of an index hold a text, kept up to date as the file grows; and the next line that means trouble."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Final

from tui.widgets.line_index import CHUNK, LineIndex

ERROR_WORDS: Final = ("ERROR", "CRITICAL", "FATAL", "Traceback (", "rror:", "Exception:")
"""What makes a line one about an error: how loggers, Python and command-line tools put it."""
WARNING_WORDS: Final = ("WARN", "arning:")
"""What makes a line a warning."""
_TROUBLE: Final = tuple(word.encode() for word in ERROR_WORDS + WARNING_WORDS)
_LONGEST_TROUBLE: Final = max(map(len, _TROUBLE))


class LineSearch:
    """The lines that hold a text. A text without capitals is found in any case (ASCII only), another as it is."""

    def __init__(self, index: LineIndex, text: str, hide: Callable[[str], str] | None = None) -> None:
        """Nothing is searched before `advance`.

        Args:
            index: The lines.
            text: What to find; an empty text is in no line, nor is one with a line break.
            hide: Leaves out of a line what is not shown, so that it is not found either; None for nothing.
        """
        self.text = text
        self.lines = array("Q")
        """Numbers of the lines that hold the text, ascending."""
        self.ignores_case = text == text.lower()
        """Whether capitals make no difference."""
        self._index = index
        self._hide = hide
        self._needle = b"" if "\n" in text else text.encode("utf-8", "surrogateescape")
        # the rest of the line belongs to the match: one for each line is enough
        self._pattern = re.compile(re.escape(self._needle) + b"[^\n]*")
        self._position = 0
        """Where to go on: where a line begins, but within one that is longer than a chunk."""
        self._searched = 0
        """Bytes that were searched; a line that has no end yet is searched again from its beginning."""

    def advance(self) -> None:
        """Search what was taken in since the last time."""
        if not self._needle:
            return
        index, overlap = self._index, len(self._needle) - 1
        while self._searched < index.size:
            begin = self._position
            chunk = index.read(begin, min(CHUNK + overlap, index.size - begin))
            if begin + len(chunk) <= self._searched:
                return  # the file is shorter than it was: the next poll will tell
            whole = chunk.rfind(b"\n") + 1
            if whole:
                chunk = chunk[:whole]  # whole lines, for half a secret is not known as one
                self._position += whole
            elif len(chunk) >= CHUNK:
                self._position += len(chunk) - overlap  # a match may lie across the end of this chunk
            self._searched = begin + len(chunk)
            self._take(begin, chunk)

    def _take(self, begin: int, chunk: bytes) -> None:
        """Search a chunk that begins at a position."""
        number, counted = self._index.line_at(begin), 0
        if self.lines and self.lines[-1] == number and self._index.start_of(number) == begin:
            self.lines.pop()  # it has grown, and may hold what is not shown by now
        if self._hide is not None:
            text = chunk.decode("utf-8", "surrogateescape")
            chunk = self._hide(text).encode("utf-8", "surrogateescape")
        if self.ignores_case:
            chunk = chunk.lower()
        for match in self._pattern.finditer(chunk):
            hit = match.start()
            # counting newlines is several times faster than looking the position up
            number += chunk.count(b"\n", counted, hit)
            counted = hit
            if not self.lines or self.lines[-1] != number:
                self.lines.append(number)

    def next_line(self, number: int) -> int | None:
        """The first matching line after a number, or the first of all; None if no line matches."""
        if not self.lines:
            return None
        return self.lines[bisect_right(self.lines, number) % len(self.lines)]

    def previous_line(self, number: int) -> int | None:
        """The last matching line before a number, or the last of all; None if no line matches."""
        return self.lines[bisect_left(self.lines, number) - 1] if self.lines else None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the text is within a shown line: begin and end, ascending, not overlapping."""
        if not self.text:
            return
        # as the search in the file: ASCII letters only, so that lengths stay as they are
        searched = _lower_ascii(text) if self.ignores_case else text
        begin = searched.find(self.text)
        while begin >= 0:
            yield begin, begin + len(self.text)
            begin = searched.find(self.text, begin + len(self.text))


def next_trouble(index: LineIndex, number: int) -> int | None:
    """The first line after a number that is about an error or a warning; None if there is none."""
    position = index.start_of(number + 1)
    while position < index.size:
        chunk = index.read(position, min(CHUNK + _LONGEST_TROUBLE, index.size - position))
        hits = [hit for word in _TROUBLE if (hit := chunk.find(word)) >= 0]
        if hits:
            return index.line_at(position + min(hits))
        if len(chunk) <= _LONGEST_TROUBLE:
            return None
        position += len(chunk) - _LONGEST_TROUBLE
    return None


def _lower_ascii(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_LOWER)


_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
