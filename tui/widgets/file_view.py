"""The lines of a growing file on Textual's Line API: only those on the screen are read, and the end is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.text import clean
from tui.widgets.line_index import BUDGET, Change
from tui.widgets.log_line import KINDS, ShownLine
from tui.widgets.log_paint import LOOKS, cut
from tui.widgets.log_rows import LogRows
from tui.widgets.log_wrap import folded, rows_below, top_of_end

_SIDEWAYS = 8
"""Cells that a key press moves sideways: a tab stop."""


class FileView(ScrollView, can_focus=True, inherit_bindings=False):
    """A file, from its end.

    The owner calls `poll` now and then; nothing is read otherwise but the lines that come into view. Lines are cleaned
    before they are shown. Following stops only when someone moves away from the end, and `FollowChanged` says so; it
    starts again at the end.
    """

    ALLOW_SELECT = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Up", id="log.up", show=False, tooltip="One line up; stops following"),
        Binding("down", "scroll_down", "Down", id="log.down", show=False, tooltip="One line down"),
        Binding("left", "sideways(-1)", "Left", id="log.left", show=False, tooltip="The beginning of long lines"),
        Binding("right", "sideways(1)", "Right", id="log.right", show=False, tooltip="More of long lines"),
        Binding("pageup", "page_up", "Page up", id="log.page_up", show=False, tooltip="One screen up"),
        Binding("pagedown", "page_down", "Page down", id="log.page_down", show=False, tooltip="One screen down"),
        Binding("home,g", "scroll_home", "Top", id="log.home", show=False, tooltip="The first line"),
        Binding("end,G", "scroll_end", "End", id="log.end", show=False, tooltip="The last line; follows again"),
        Binding("f", "toggle_follow", "Follow", id="log.toggle_follow", show=False, tooltip="Follow the end, or stay"),
        Binding("w", "toggle_wrap", "Wrap", id="log.wrap", show=False, tooltip="Fold long lines, or cut them"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"virtual-log--{kind}" for kind in (*KINDS, *LOOKS)),
        "virtual-log--note",
    }
    """
    | Class | Description |
    | :- | :- |
    | `virtual-log--error`, `virtual-log--warning` | Lines about an error or a warning. |
    | `virtual-log--gate`, `virtual-log--eval` | The engine's `[GATE]` and `[EVAL]` lines. |
    | `virtual-log--red`, ..., `virtual-log--bold`, ... | What its program wrote in that hue, or in that way. |
    | `virtual-log--note` | What is not of the file: how much of a line was cut, why there is nothing to show. |
    """

    DEFAULT_CSS = """
    FileView {
        height: 1fr;
        color: $foreground;
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size-horizontal: 0;
        & > .virtual-log--error { color: $text-error; text-style: bold; }
        & > .virtual-log--warning { color: $text-warning; }
        & > .virtual-log--gate { color: $text-accent; text-style: bold; }
        & > .virtual-log--eval { color: $text-accent; }
        & > .virtual-log--red { color: $text-error; }
        & > .virtual-log--yellow { color: $text-warning; }
        & > .virtual-log--green { color: $text-success; }
        & > .virtual-log--cyan { color: $text-secondary; }
        & > .virtual-log--blue { color: $text-primary; }
        & > .virtual-log--magenta { color: $text-accent; }
        & > .virtual-log--bold { text-style: bold; }
        & > .virtual-log--dim { text-style: dim; }
        & > .virtual-log--italic { text-style: italic; }
        & > .virtual-log--underline { text-style: underline; }
        & > .virtual-log--note { color: $foreground 60%; text-style: italic; }
    }
    """

    absent_text: reactive[str] = reactive("no log")
    """Shown while there is no file."""
    path: reactive[Path | None] = reactive[Path | None](None, init=False)
    """The file; None shows nothing."""
    follow: reactive[bool] = reactive(True, init=False)
    """Whether the end stays in view as lines arrive."""
    wrap: reactive[bool] = reactive(False, init=False)
    """Whether long lines are folded to the width; else they go on to the right."""
    unseen: reactive[int] = reactive(0)
    """Lines that arrived since following stopped."""
    line_count: reactive[int] = reactive(0)
    """Lines of the file that were taken in."""

    @dataclass
    class FollowChanged(Message, namespace="virtual_log"):
        """The log began or ceased to follow the end."""

        log: FileView
        follow: bool

        @property
        def control(self) -> FileView:
            """The log that it is about."""
            return self.log

    @dataclass
    class Noticed(Message, namespace="virtual_log"):
        """Something to tell the person, in words: the file was replaced, nothing further was found."""

        log: FileView
        text: str

        @property
        def control(self) -> FileView:
            """The log that it is about."""
            return self.log

    def __init__(
        self,
        path: Path | None = None,
        *,
        hide: Callable[[str], str] | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """A view of a file, or of none yet.

        Args:
            path: The file.
            hide: Leaves out of a line what is neither to be shown nor found; None for nothing. The file stays as it is.
            name: The name of the widget.
            id: The ID of the widget in the DOM.
            classes: The CSS classes of the widget.
            disabled: Whether the widget is disabled.
        """
        # first, since whatever comes next may refresh
        self._in_view: list[tuple[int, Strip]] | None = None
        self._seen_from = (0, Size())
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self._hide = hide
        self._rows: LogRows | None = None
        self._strips: LRUCache[int, Strip] = LRUCache(512)
        self._widest = 0
        self._seen_lines = 0
        self._is_placing = False
        self._is_continuing = False
        self.set_reactive(FileView.path, path)

    @property
    def problem(self) -> str:
        """Why the file cannot be read, safe to print; empty while all is well."""
        return "" if self._rows is None else clean(self._rows.index.problem)

    def poll(self, budget: int = BUDGET) -> bool:
        """Take in what was appended to the file. What the budget leaves is taken in soon, without being asked.

        Args:
            budget: Bytes to read before others get their turn.

        Returns:
            Whether anything has changed.
        """
        if self._rows is None:
            return False
        index = self._rows.index
        problem, num_lines = index.problem, len(index)
        change = self._rows.poll(budget)
        if change is Change.REPLACED:
            self._forget_lines()
            self.post_message(self.Noticed(self, "the log was truncated or replaced: shown from its new beginning"))
        if index.behind and not self._is_continuing:
            self._is_continuing = True
            self.call_later(self._continue)
        if change is Change.NONE and index.problem == problem:
            return False
        self._strips.discard(num_lines - 1)  # it may have been half a line
        self.line_count = len(index)
        self.unseen = 0 if self.follow else self.line_count - self._seen_lines
        self._fit()
        self.refresh()
        return True

    def action_scroll_up(self) -> None:
        """One line up."""
        self.scroll_relative(y=-1, animate=False)

    def action_scroll_down(self) -> None:
        """One line down; at the end, follow."""
        self._scroll_down(1)

    def action_page_up(self) -> None:
        """One screen up."""
        self.scroll_relative(y=-max(self.size.height - 1, 1), animate=False)

    def action_page_down(self) -> None:
        """One screen down; at the end, follow."""
        self._scroll_down(max(self.size.height - 1, 1))

    def action_scroll_home(self) -> None:
        """The first line."""
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """The last line, and follow."""
        self.follow = True

    def action_sideways(self, direction: int) -> None:
        """More of long lines to the right (1), or their beginning to the left (-1)."""
        self.scroll_relative(x=direction * _SIDEWAYS, animate=False)

    def action_toggle_follow(self) -> None:
        """Follow the end, or stay here."""
        self.follow = not self.follow

    def action_toggle_wrap(self) -> None:
        """Fold long lines, or cut them."""
        self.wrap = not self.wrap

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> FileView:
        """Find out anew what is in view; every change of it ends here."""
        self._in_view = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def rows_in_view(self) -> list[tuple[int, Strip]]:
        """What is on each line of the screen: the row, and the piece of it that is shown."""
        seen_from = (self.scroll_offset.y, self.size)
        if self._in_view is None or self._seen_from != seen_from:
            self._in_view = rows_below(seen_from[0], self._num_rows(), self.size.height, self._pieces)
            self._seen_from = seen_from
        return self._in_view

    def render_line(self, y: int) -> Strip:
        """A line of the file, or the reason why there is none."""
        width, scroll_x = self.size.width, self.scroll_offset.x
        seen = self.rows_in_view()
        if y < len(seen):
            return seen[y][1].crop_extend(scroll_x, scroll_x + width, self.rich_style)
        text = self.empty_text() if y == 0 and not self._num_rows() else ""
        strip = Strip([Segment(text, self.get_component_rich_style("virtual-log--note"))])
        return strip.crop_extend(0, width, self.rich_style)

    def empty_text(self) -> str:
        """What is said while there is no line to show."""
        return self.absent_text if self._rows is None else self.problem or "the log is empty so far"

    def pieces(self, number: int, line: ShownLine, style: Style) -> Iterable[Segment]:
        """The text of a line in segments; for subclasses that highlight some of it."""
        return [Segment(piece, style + self.look(looks)) for piece, _, looks in cut(line.text, (), line.paints)]

    def look(self, looks: frozenset[str]) -> Style:
        """The theme's style for the looks of a part of a line."""
        styles = (self.get_component_rich_style(f"virtual-log--{look}", partial=True) for look in looks)
        return Style.combine([Style.null(), *styles])

    def notify_style_update(self) -> None:
        """Textual's notice that theme or stylesheet changed."""
        super().notify_style_update()
        self._strips.clear()

    def on_mount(self) -> None:
        """Begin to read, if there is something to read."""
        self.watch_path(self.path)

    def on_unmount(self) -> None:
        """Let go of the file."""
        if self._rows is not None:
            self._rows.index.close()

    def on_resize(self) -> None:
        """Keep the end in view, if it is followed."""
        self._fit()

    def watch_path(self, path: Path | None) -> None:
        """Read another file, from its end; a search goes on in it."""
        before = self._rows
        if before is not None:
            before.index.close()
        self._rows = None if path is None else LogRows(path, hide=self._hide)
        if before is not None and before.search is not None and self._rows is not None:
            self._rows.find(before.search.text)
            self._rows.filtering = before.filtering
        self._forget_lines()
        self.line_count = 0
        self.follow = True
        self.poll()
        self._fit()
        self.refresh()

    def watch_follow(self, follow: bool) -> None:
        """Go to the end, or count from here what is missed."""
        self._seen_lines = self.line_count
        self.unseen = 0
        self._fit()
        self.post_message(self.FollowChanged(self, follow))

    def watch_wrap(self) -> None:
        """Lay out anew, about the same line."""
        top = self.scroll_offset.y
        self.scroll_to(x=0, animate=False)
        self._fit()
        if not self.follow:
            self._place(top)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Someone scrolled, unless it was this widget: only at the end does following make sense."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value) and not self._is_placing:
            self.follow = round(new_value) >= self.max_scroll_y
            self._fit()

    def _continue(self) -> None:
        self._is_continuing = False
        self.poll()

    def _forget_lines(self) -> None:
        self._strips.clear()
        self._widest = self._seen_lines = 0

    def _place(self, row: int) -> None:
        """Scroll to a row without this counting as someone's wish."""
        was_placing, self._is_placing = self._is_placing, True
        self.scroll_to(y=row, animate=False, force=True)
        self._is_placing = was_placing

    def _fit(self) -> None:
        """Bring the scrollable size in line with the rows there are, and the end into view if it is followed."""
        if not self.is_attached:
            return
        num_rows = self._num_rows()
        if self.wrap:
            num_rows = top_of_end(num_rows, self.size.height, self._pieces) + self.size.height
        was_placing, self._is_placing = self._is_placing, True
        self._in_view = None
        self.virtual_size = Size(0 if self.wrap else self._widest, num_rows)
        if self.follow:
            self._place(self.max_scroll_y)
        elif self.scroll_offset.y > self.max_scroll_y:
            self._place(self.max_scroll_y)  # fewer rows than before; nobody asked to follow
        # known only for the lines that were in view: measuring all would mean reading all
        widest = max((piece.cell_length for _, piece in self.rows_in_view()), default=0)
        if widest > self._widest and not self.wrap:
            self._widest = widest
            self.virtual_size = Size(widest, num_rows)
        self._is_placing = was_placing

    def _scroll_down(self, rows: int) -> None:
        if self.scroll_offset.y >= self.max_scroll_y:
            self.follow = True
        else:
            self.scroll_relative(y=rows, animate=False)

    def _num_rows(self) -> int:
        return 0 if self._rows is None else self._rows.num_rows

    def _line_at(self, row: int) -> int:
        """The number of the line in a row; 0 if there is no such row."""
        return (None if self._rows is None else self._rows.number_at(row)) or 0

    def _pieces(self, row: int) -> list[Strip]:
        """What is shown of a row."""
        strip = self._strip(self._line_at(row))
        return folded(strip, self.scrollable_content_region.width) if self.wrap else [strip]

    def _shown(self, number: int) -> ShownLine:
        assert self._rows is not None
        line = self._rows.shown(number)
        if self._hide is None:
            return line
        text = self._hide(line.text)  # cleaned: no escape sequence parts what is to be hidden
        return line if text == line.text else line._replace(text=text, paints=())

    def _strip(self, number: int) -> Strip:
        """A line of the file, uncropped."""
        strip = self._strips.get(number)
        if strip is None:
            line = self._shown(number)
            style = self.get_component_rich_style(f"virtual-log--{line.kind}") if line.kind else self.rich_style
            segments = [*self.pieces(number, line, style)]
            if line.note:
                segments.append(Segment(line.note, self.get_component_rich_style("virtual-log--note")))
            strip = self._strips[number] = Strip(segments)
        return strip
