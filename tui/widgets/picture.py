"""The base of the charts: a picture that is made whole and painted by the row.

A step that is logged changes some rows of a chart, the fewer the longer the training. Making a picture costs a fraction
of what the toolkit takes to put it on the screen, so each new one is held against the last, and the rows that differ
are painted.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.cell_grid import Run

_NO_SIZE = (-1, -1)


class Picture(Widget):
    """Rows of text and style names, made anew when `draw_again` was called or the size is another."""

    # class attributes: a reactive may change before there is an instance's own
    _rows: list[list[Run]] = []
    _rows_size: tuple[int, int] = _NO_SIZE
    _is_due = False

    def picture(self, width: int, height: int) -> list[list[Run]]:
        """The picture now: `height` rows of (text, style name), each `width` cells wide."""
        raise NotImplementedError

    def style_of(self, name: str) -> Style:
        """The style of a name that the picture uses."""
        raise NotImplementedError

    def draw_again(self) -> None:
        """Something in it has changed. However often that is said, it is drawn once, after what is going on."""
        if not self._is_due:
            self._is_due = True
            self.call_later(self._draw)

    def render_line(self, y: int) -> Strip:
        """A row of the picture."""
        width, height = self.size
        if self._rows_size != (width, height):
            self._rows, self._rows_size = self.picture(width, height), (width, height)
        if y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        return Strip([Segment(text, self.style_of(name)) for text, name in self._rows[y]], width)

    def _draw(self) -> None:
        self._is_due = False
        width, height = self.size
        if self._rows_size != (width, height):  # not painted at this size yet: the next painting draws it
            self._rows_size = _NO_SIZE
            self.refresh()
            return
        before, self._rows = self._rows, self.picture(width, height)
        changed = [y for y, rows in enumerate(zip(before, self._rows, strict=True)) if rows[0] != rows[1]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))
