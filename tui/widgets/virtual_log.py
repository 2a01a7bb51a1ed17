"""A log of any length, shown from its file, that can be searched and filtered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from tui.text import clean, in_ascii
from tui.widgets.file_view import FileView
from tui.widgets.line_search import LineSearch
from tui.widgets.log_line import ShownLine
from tui.widgets.log_paint import cut
from tui.widgets.log_rows import Found

Wanted = Literal["detail", "copy", "link"]
"""What can be done with a line."""


class VirtualLog(FileView):
    """A followed file in which one can look for text, errors and warnings.

    A jump stops following, for who has found something wants to read it; it can be seen from `follow`, and
    `FollowChanged` says so. Matching lines are marked as they arrive, too.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next_match(1)", "Next match", id="log.next_match", show=False, tooltip="The next line found"),
        Binding("N", "next_match(-1)", "Previous match", id="log.previous_match", show=False, tooltip="The one before"),
        Binding("e", "next_trouble", "Next error", id="log.next_trouble", show=False, tooltip="Next error or warning"),
        Binding("enter", "open_line('detail')", "Whole line", id="log.detail", show=False, tooltip="The whole line"),
        Binding("y", "open_line('copy')", "Copy", id="log.copy", show=False, tooltip="Copy the line"),
        Binding("l", "open_line('link')", "Chart", id="log.link", show=False, tooltip="The line's epoch in the chart"),
        Binding("escape", "end_search", "All lines", id="log.end_search", show=False, tooltip="End the search"),
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
    plain: reactive[bool] = reactive(False, init=False)
    """Whether to draw ASCII only; searches and copies are of the lines as they are."""

    @dataclass
    class Sought(Message):
        """What is searched for, or whether it hides the other lines, has changed."""

        log: VirtualLog

        @property
        def control(self) -> VirtualLog:
            """The log that it is about."""
            return self.log

    @dataclass
    class LineOpened(Message):
        """Someone wants something of a line: to see it whole, a copy of it, or where it is in the chart."""

        log: VirtualLog
        number: int
        line: ShownLine
        wanted: Wanted

        @property
        def control(self) -> VirtualLog:
            """The log that it is about."""
            return self.log

    _current: int | None = None
    """The line that was last jumped to, or clicked."""

    @property
    def num_matches(self) -> int:
        """How many lines match the search."""
        return len(self._rows.search.lines) if self._rows is not None and self._rows.search else 0

    @property
    def sought(self) -> str:
        """What is searched for; empty for nothing."""
        return self._rows.search.text if self._rows is not None and self._rows.search else ""

    @property
    def num_bytes(self) -> int:
        """Of the file that were taken in."""
        return 0 if self._rows is None else self._rows.index.size

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

    def action_open_line(self, wanted: Wanted) -> None:
        """Do something with the marked line, or with the last one in view."""
        if self._rows is not None and self._num_rows():
            number = self._here(self._bottom_line())
            self.post_message(self.LineOpened(self, number, self._shown(number), wanted))

    def action_end_search(self) -> None:
        """Show all lines again, none of them marked."""
        self.search("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a search, Escape belongs to whoever is one layer out."""
        return action != "end_search" or bool(self._rows is not None and self._rows.search)

    def on_click(self, event: events.Click) -> None:
        """Mark the line, and see it whole at the second click."""
        offset, seen = event.get_content_offset(self), self.rows_in_view()
        if offset is not None and offset.y < len(seen):
            self._jump(self._line_at(seen[offset.y][0]))
            if event.chain > 1:
                self.action_open_line("detail")

    def find_line(self, is_it: Callable[[str], bool], holding: str) -> int | None:
        """The last line for which something is so; None if there is none.

        Args:
            is_it: of a line's text.
            holding: what such a line holds, so that the others need not be looked at.
        """
        if self._rows is None:
            return None
        held = LineSearch(self._rows.index, holding)
        held.advance()
        return next((number for number in reversed(held.lines) if is_it(self._shown(number).text)), None)

    def go_to_line(self, number: int) -> None:
        """Bring a line into view and mark it; all lines are shown again."""
        self.filtering = False
        self._jump(number)

    def text_at(self, number: int) -> str:
        """A line, safe to print; empty if there is none."""
        return self._shown(number).text if 0 <= number < self.line_count else ""

    def empty_text(self) -> str:
        """What is said while there is no line to show."""
        return "no line matches" if self.filtering and self.line_count else super().empty_text()

    def pieces(self, number: int, line: ShownLine, style: Style) -> Iterable[Segment]:
        """The text of a line, with what was searched for and the line jumped to marked."""
        search = None if self._rows is None else self._rows.search
        if number == self._current:
            style += self.get_component_rich_style("virtual-log--current", partial=True)
        match_style = style + self.get_component_rich_style("virtual-log--match", partial=True)
        marks = list(search.spans(line.text)) if search else ()
        return [
            Segment(in_ascii(piece) if self.plain else piece, (match_style if is_match else style) + self.look(looks))
            for piece, is_match, looks in cut(line.text, marks, line.paints)
        ]

    def watch_plain(self) -> None:
        """Draw with other characters."""
        self._strips.clear()
        self._fit()
        self.refresh()

    def watch_filtering(self, filtering: bool) -> None:
        """Show other rows."""
        if self._rows is not None:
            top = self._line_at(self.scroll_offset.y)
            self._rows.filtering = filtering and self._rows.search is not None
            self._fit()
            if not self.follow:
                self._place(self._rows.row_of(top))
        self.refresh()
        self.post_message(self.Sought(self))

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
        self.post_message(self.Sought(self))
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
        if all(row != seen for seen, _ in self.rows_in_view()):
            self._place(row - (0 if self.wrap else self.size.height // 3))  # folded lines above might fill the view
        self._fit()
        self.refresh()

    def _bottom_line(self) -> int:
        seen = self.rows_in_view()
        return self._line_at(seen[-1][0]) if seen else 0

    def _here(self, otherwise: int) -> int:
        """Where a search goes on from: the line last jumped to while it is in view."""
        current = self._current
        if current is not None and self._line_at(self.scroll_offset.y) <= current <= self._bottom_line():
            return current
        return otherwise
