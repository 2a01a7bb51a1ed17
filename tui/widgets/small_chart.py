"""A chart to glance at: a picture of a plot, without keys, mouse or cursor, in looks that a line chart lends it.

A line chart has some thirty component styles, which Textual works out anew for each chart whenever the focus moves. A
page of small charts would pay for that sixteen times; these have none of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.style import Style
from textual.reactive import reactive

from tui.widgets.cell_grid import Run
from tui.widgets.picture import Picture
from tui.widgets.plot_draw import draw
from tui.widgets.plot_model import Plot

_CHOSEN = Style(reverse=True, bold=True)


class SmallChart(Picture, can_focus=False):
    """A picture that is drawn once for each plot and size."""

    DEFAULT_CSS = "SmallChart { height: 1fr; width: 1fr; }"

    plot: reactive[Plot] = reactive(Plot, init=False, repaint=False)
    """What to show. Assign a new one, a changed one is not noticed."""
    is_chosen: reactive[bool] = reactive(False, init=False)
    """Whether its title stands out."""

    def __init__(self, style_of: Callable[[str], Style]) -> None:
        """An empty picture.

        Args:
            style_of: the style of a name that `draw` uses, as `LineChart.style_of` gives it.
        """
        super().__init__()
        self._lent_style = style_of

    def picture(self, width: int, height: int) -> list[list[Run]]:
        """The plot in this many cells."""
        return draw(self.plot, width, height)

    def style_of(self, name: str) -> Style:
        """The line chart's; that of a chosen title is its own."""
        style = self._lent_style(name)
        return style + _CHOSEN if self.is_chosen and name == "title" else style

    def watch_plot(self) -> None:
        """Draw it."""
        self.draw_again()

    def notify_style_update(self) -> None:
        """Textual's notice that theme or stylesheet changed: the lent styles have, too."""
        super().notify_style_update()
        self.refresh()
