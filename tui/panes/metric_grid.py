"""Every metric as a small chart, as many to a page as fit; arrows walk them, Enter opens one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from textual import events
from textual.binding import Binding
from textual.containers import Grid
from textual.message import Message
from textual.reactive import reactive

from tui.control.curves import METRICS, Axis, stamp
from tui.control.scene import Scene
from tui.panes.figures import Figures, shown_runs
from tui.widgets.line_chart import LineChart

_NARROWEST, _LOWEST = 25, 9
"""Cells that a small chart needs for its numbers, its name and three ticks."""


class SmallChart(LineChart, can_focus=False):
    """A chart to glance at. The mouse belongs to the grid, since a zoom would be lost with the page."""

    DEFAULT_CSS = """
    SmallChart { padding: 0 1 0 0; }
    SmallChart.-chosen { background: $boost; }
    SmallChart.-chosen > .line-chart--title { text-style: bold reverse; }
    """

    drawn: Hashable = None
    """What of the scene it shows."""

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Left to the grid."""
        event.prevent_default()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Left to the grid."""
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        """Left to the grid."""
        event.prevent_default()


class MetricGrid(Grid, can_focus=True):
    """A page of small charts. It holds no more of them than are seen, and draws those whose metric has changed."""

    BINDINGS = [
        Binding("left", "walk(-1, 0)", "left", show=False, id="grid.left", tooltip="the chart to the left"),
        Binding("right", "walk(1, 0)", "right", show=False, id="grid.right", tooltip="the chart to the right"),
        Binding("up", "walk(0, -1)", "up", show=False, id="grid.up", tooltip="the chart above; the page before"),
        Binding("down", "walk(0, 1)", "down", show=False, id="grid.down", tooltip="the chart below; the next page"),
        Binding("enter", "open", "open", show=False, id="grid.open", tooltip="this metric large (a click does both)"),
    ]
    DEFAULT_CSS = "MetricGrid { height: 1fr; grid-gutter: 0 1; overflow: hidden; }"

    chosen: reactive[int] = reactive(0, init=False)
    """Index into METRICS."""
    plain: reactive[bool] = reactive(False, init=False)
    """Draw with ASCII only."""

    @dataclass
    class Walked(Message):
        """Another metric was chosen; `opened` where it shall be shown large."""

        index: int
        opened: bool

    def __init__(self, figures: Figures) -> None:
        """An empty grid.

        Args:
            figures: what charts are made of, shared with the large one.
        """
        super().__init__()
        self._figures = figures
        self._scene: Scene | None = None
        self._axis: Axis = "epoch"
        self._columns = self._rows = 0

    @property
    def charts(self) -> list[SmallChart]:
        """The charts of the page."""
        return list(self.query(SmallChart))

    @property
    def page(self) -> range:
        """The metrics of the page, as indices into METRICS."""
        room = max(1, self._columns * self._rows)
        first = self.chosen // room * room
        return range(first, min(first + room, len(METRICS)))

    def show(self, scene: Scene, axis: Axis) -> None:
        """Draw what has changed of the page."""
        self._scene, self._axis = scene, axis
        self._fill()

    async def on_resize(self, event: events.Resize) -> None:
        """As many charts as there is room for."""
        columns = max(1, event.size.width // _NARROWEST)
        rows = max(1, event.size.height // _LOWEST)
        rows = min(rows, -(-len(METRICS) // columns))
        if (columns, rows) == (self._columns, self._rows):
            return
        self._columns, self._rows = columns, rows
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        charts = self.charts
        for chart in charts[columns * rows :]:
            await chart.remove()
        await self.mount_all(SmallChart() for _ in range(columns * rows - len(charts)))
        self._fill()

    def watch_chosen(self) -> None:
        """Mark it, on its page."""
        self._fill()

    def watch_plain(self) -> None:
        """Draw with other characters."""
        self._fill()

    def action_walk(self, right: int, down: int) -> None:
        """To a neighbour; it stays at the ends."""
        target = self.chosen + right + down * max(1, self._columns)
        if 0 <= target < len(METRICS):
            self.post_message(self.Walked(target, opened=False))

    def action_open(self) -> None:
        """Show the chosen one large."""
        self.post_message(self.Walked(self.chosen, opened=True))

    def on_click(self, event: events.Click) -> None:
        """Choose the chart under the mouse; open it if it was chosen already."""
        charts = self.charts
        if event.widget in charts:
            place = charts.index(event.widget)
            if place < len(self.page):
                index = self.page[place]
                self.post_message(self.Walked(index, opened=index == self.chosen))

    def on_mouse_scroll_down(self) -> None:
        """A row further."""
        self.action_walk(0, 1)

    def on_mouse_scroll_up(self) -> None:
        """A row back."""
        self.action_walk(0, -1)

    def _fill(self) -> None:
        scene = self._scene
        if scene is None:
            return
        page = self.page
        for place, chart in enumerate(self.charts):
            chart.visible = place < len(page)
            if not chart.visible:
                continue
            index = page[place]
            metric, is_chosen = METRICS[index], index == self.chosen
            chart.set_class(is_chosen, "-chosen")
            chart.title = f"{'>' if is_chosen else ' '}{metric.name}"
            chart.ascii = self.plain
            now = (metric.name, self._axis, tuple(stamp(view, metric) for view in shown_runs(scene)))
            if now != chart.drawn:
                chart.drawn = now
                chart.has_names, chart.log_y, chart.x_is_time = False, metric.log_y, self._axis == "time"
                self._figures.of(scene, metric, self._axis).show_on(chart)
