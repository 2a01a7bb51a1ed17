"""The rows of a log: the lines of a file, or those of them that match; where to find the next match or trouble.

What a log widget shows, without the widget: rows are what it scrolls over, numbers are lines of the file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tui.widgets.line_index import Change, LineIndex
from tui.widgets.line_search import LineSearch, next_trouble
from tui.widgets.log_line import ShownLine, shown


class Found(NamedTuple):
    """A line that was looked for."""

    number: int
    wrapped: bool
    """Whether the search went on from the other end of the file."""


class LogRows:
    """A file's lines, searched and filtered."""

    def __init__(self, path: Path, text: str = "", hide: Callable[[str], str] | None = None) -> None:
        """Nothing is read before the first `poll`.

        Args:
            path: The file.
            text: What to search for, as for `find`.
            hide: Leaves out of a line what is not to be found; None for nothing.
        """
        self.index = LineIndex(path)
        """The lines themselves."""
        self.search: LineSearch | None = None
        """The search going on; None without one."""
        self._hide = hide
        self.filtering = False
        """Whether only matching lines are rows."""
        self.find(text)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.search.lines) if self.filtering and self.search else len(self.index)

    def poll(self, budget: int) -> Change:
        """Take in what was appended, and search it."""
        change = self.index.poll(budget)
        if self.search is not None:
            if change is Change.REPLACED:
                self.search = LineSearch(self.index, self.search.text, self._hide)
            self.search.advance()
        return change

    def find(self, text: str) -> int:
        """Search for a text, or for none; the number of lines that hold it."""
        self.search = LineSearch(self.index, text, self._hide) if text else None
        if self.search is None:
            self.filtering = False
            return 0
        self.search.advance()
        return len(self.search.lines)

    def shown(self, number: int) -> ShownLine:
        """A line as it is shown.

        Raises:
            IndexError: There is no such line.
        """
        return shown(self.index.line(number))

    def number_at(self, row: int) -> int | None:
        """The line in a row; None if there is no such row."""
        if not 0 <= row < self.num_rows:
            return None
        return self.search.lines[row] if self.filtering and self.search else row

    def row_of(self, number: int) -> int:
        """The row of a line, or of the next line that has one."""
        return bisect_left(self.search.lines, number) if self.filtering and self.search else number

    def next_match(self, number: int, direction: int) -> Found | None:
        """The match nearest to a line, below it (1) or above it (-1), beginning again at the other end."""
        if self.search is None:
            return None
        found = self.search.next_line(number) if direction > 0 else self.search.previous_line(number)
        return None if found is None else Found(found, (found - number) * direction <= 0)

    def next_trouble(self, number: int) -> Found | None:
        """The error or warning nearest below a line, beginning again at the top."""
        found = next_trouble(self.index, number)
        if found is not None:
            return Found(found, False)
        found = next_trouble(self.index, -1)
        return None if found is None else Found(found, True)
