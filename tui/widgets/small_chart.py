"""A chart to glance at: a picture of a plot, without keys, mouse or cursor, in looks that a line chart lends it.

A line chart has some thirty component styles, which Textual works out anew for each chart whenever the focus moves. A
page of small charts would pay for that sixteen times; these have none of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.cell_grid import Run
from tui.widgets.plot_draw import draw
from tui.widgets.plot_model import Plot

_CHOSEN = Style(reverse=True, bold=True)


class SmallChart(Widget, can_focus=False):
    """A picture that is drawn once for each plot and size."""

    DEFAULT_CSS = "SmallChart { height: 1fr; width: 1fr; }"

    plot: reactive[Plot] = reactive(Plot, init=False)
    """What to show. Assign a new one, a changed one is not noticed."""
    is_chosen: reactive[bool] = reactive(False, init=False)
    """Whether its title stands out."""

    def __init__(self, style_of: Callable[[str], Style]) -> None:
        """An empty picture.

        Args:
            style_of: the style of a name that `draw` uses, as `LineChart.style_of` gives it.
        """
        self._rows: list[list[Run]] = []
        self._drawn: tuple[Plot, int, int] | None = None
        super().__init__()
        self._style_of = style_of

    def render_line(self, y: int) -> Strip:
        """A row of the picture."""
        width, height = self.size
        if self._drawn is None or self._drawn[0] is not self.plot or self._drawn[1:] != (width, height):
            self._rows, self._drawn = draw(self.plot, width, height), (self.plot, width, height)
        if y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        return Strip([Segment(text, self._paint(style)) for text, style in self._rows[y]], width)

    def notify_style_update(self) -> None:
        """Textual's notice that theme or stylesheet changed: the lent styles have, too."""
        super().notify_style_update()
        self.refresh()

    def _paint(self, name: str) -> Style:
        style = self._style_of(name)
        return style + _CHOSEN if self.is_chosen and name == "title" else style
