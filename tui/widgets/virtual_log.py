"""A log of any length, shown from its file, that can be searched and filtered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from tui.text import clean
from tui.widgets.file_view import FileView
from tui.widgets.log_line import ShownLine, split
from tui.widgets.log_rows import Found


class VirtualLog(FileView):
    """A followed file in which one can look for text, errors and warnings.

    A jump stops following, for who has found something wants to read it; it can be seen from `follow`, and
    `FollowChanged` says so. Matching lines are marked as they arrive, too.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next_match(1)", "Next match", id="log.next_match", show=False, tooltip="The next line found"),
        Binding("N", "next_match(-1)", "Previous match", id="log.previous_match", show=False, tooltip="The one before"),
        Binding("e", "next_trouble", "Next error", id="log.next_trouble", show=False, tooltip="Next error or warning"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {"virtual-log--match", "virtual-log--current"}
    """
    | Class | Description |
    | :- | :- |
    | `virtual-log--match` | The text searched for, wherever it is visible. |
    | `virtual-log--current` | The line that a search or `e` has jumped to. |
    """

    DEFAULT_CSS = """
    VirtualLog {
        & > .virtual-log--match { text-style: reverse; }
        & > .virtual-log--current { background: $panel; text-style: underline; }
    }
    """

    filtering: reactive[bool] = reactive(False, init=False)
    """Whether only lines that match the search are shown."""

    _current: int | None = None
    """The line that was last jumped to."""

    @property
    def num_matches(self) -> int:
        """How many lines match the search."""
        return len(self._rows.search.lines) if self._rows is not None and self._rows.search else 0

    def search(self, text: str) -> int:
        """Find a text in all lines, now and as they arrive, and jump to the last line in or above view that holds it.

        Args:
            text: What to find: in any case if it has no capitals. Empty ends the search.

        Returns:
            How many lines hold it.
        """
        num_matches = self._find(text)
        found = None if self._rows is None else self._rows.next_match(self._bottom_line() + 1, -1)
        if found is not None:
            self._jump(found.number)
        return num_matches

    def filter(self, text: str) -> int:
        """Show only the lines that hold a text, now and as they arrive; all lines for an empty text.

        Returns:
            How many lines hold it.
        """
        num_matches = self._find(text)
        self.filtering = bool(text)
        return num_matches

    def action_next_match(self, direction: int) -> None:
        """Jump to the next (1) or previous (-1) line found, beginning again at the other end."""
        if self._rows is None or self._rows.search is None:
            return
        here = self._here(self._line_at(self.scroll_offset.y) - 1 if direction > 0 else self._bottom_line() + 1)
        self._go(self._rows.next_match(here, direction), f"line with {clean(self._rows.search.text)}")

    def action_next_trouble(self) -> None:
        """Jump to the next error or warning, beginning again at the top; all lines are shown again."""
        if self._rows is None:
            return
        here = self._here(self._line_at(self.scroll_offset.y) - 1)
        self.filtering = False
        self._go(self._rows.next_trouble(here), "error or warning")

    def empty_text(self) -> str:
        """What is said while there is no line to show."""
        return "no line matches" if self.filtering and self.line_count else super().empty_text()

    def pieces(self, number: int, line: ShownLine, style: Style) -> Iterable[Segment]:
        """The text of a line, with what was searched for and the line jumped to marked."""
        search = None if self._rows is None else self._rows.search
        if number == self._current:
            style += self.get_component_rich_style("virtual-log--current", partial=True)
        match_style = style + self.get_component_rich_style("virtual-log--match", partial=True)
        return [
            Segment(piece, match_style if is_match else style)
            for piece, is_match in split(line.text, search.spans(line.text) if search else ())
        ]

    def watch_filtering(self, filtering: bool) -> None:
        """Show other rows."""
        if self._rows is not None:
            top = self._line_at(self.scroll_offset.y)
            self._rows.filtering = filtering and self._rows.search is not None
            self._fit()
            if not self.follow:
                self._place(self._rows.row_of(top))
        self.refresh()

    def _forget_lines(self) -> None:
        super()._forget_lines()
        self._current = None

    def _find(self, text: str) -> int:
        self._strips.clear()
        self._current = None
        # the rows change with the text as long as only matching lines are shown
        self.filtering = self.filtering and bool(text)
        num_matches = 0 if self._rows is None else self._rows.find(text)
        self._fit()
        self.refresh()
        return num_matches

    def _go(self, found: Found | None, what: str) -> None:
        if found is None:
            self.post_message(self.Noticed(self, f"no {what}"))
            return
        if found.wrapped:
            self.post_message(self.Noticed(self, f"no further {what}: began again at the other end"))
        self._jump(found.number)

    def _jump(self, number: int) -> None:
        """Bring a line into view, mark it, and stay there."""
        if self._current is not None:
            self._strips.discard(self._current)
        self._strips.discard(number)
        self._current = number
        self.follow = False
        row = 0 if self._rows is None else self._rows.row_of(number)
        top = self.scroll_offset.y
        if not top <= row < top + self.size.height:
            self._place(row - self.size.height // 3)
        self._fit()
        self.refresh()

    def _bottom_line(self) -> int:
        return self._line_at(min(self.scroll_offset.y + self.size.height, self._num_rows()) - 1)

    def _here(self, otherwise: int) -> int:
        """Where a search goes on from: the line last jumped to while it is in view."""
        current = self._current
        if current is not None and self._line_at(self.scroll_offset.y) <= current <= self._bottom_line():
            return current
        return otherwise
