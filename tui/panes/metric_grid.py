"""Every metric as a small chart, as many to a page as fit; arrows walk them, Enter opens one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.containers import Grid
from textual.message import Message
from textual.reactive import reactive
from textual.timer import Timer

from tui.control.curves import METRICS, Axis, Metric, stamp
from tui.control.scene import Scene
from tui.panes.figures import Figures, shown_runs
from tui.widgets.plot_data import prepare
from tui.widgets.plot_model import Plot
from tui.widgets.small_chart import SmallChart

_NARROWEST, _LOWEST = 25, 9
"""Cells that a small chart needs for its numbers, its name and three ticks."""
IN_TURN, TURN_S = 4, 0.5
"""Charts with nothing but new numbers that are drawn at once, and the seconds until the next ones are."""


class MetricGrid(Grid, can_focus=True):
    """A page of small charts: no more than are seen, and of those only what has changed is drawn, a few at a time."""

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

    def __init__(self, figures: Figures, style_of: Callable[[str], Style]) -> None:
        """An empty grid.

        Args:
            figures: what charts are made of, shared with the large one.
            style_of: the large one's looks.
        """
        super().__init__()
        self._figures = figures
        self._style_of = style_of
        self._drawn: dict[SmallChart, tuple[Hashable, Hashable]] = {}
        """How each chart looks and what its numbers hang on, in the order of drawing."""
        self._turn: Timer | None = None
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
            self._drawn.pop(chart, None)
            await chart.remove()
        await self.mount_all(SmallChart(self._style_of) for _ in range(columns * rows - len(charts)))
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
        """Draw what looks otherwise now; of what has new numbers, those that have waited longest, then the others."""
        scene = self._scene
        if scene is None:
            return
        page, runs = self.page, shown_runs(scene)
        late: dict[SmallChart, tuple[Metric, tuple[Hashable, Hashable]]] = {}
        for place, chart in enumerate(self.charts):
            chart.visible = place < len(page)
            if not chart.visible:
                continue
            metric, chart.is_chosen = METRICS[page[place]], page[place] == self.chosen
            looks = (metric.name, self._axis, self.plain, chart.is_chosen, tuple(view.id for view in runs))
            now = looks, tuple(stamp(view, metric) for view in runs)
            known = self._drawn.get(chart, ((), ()))
            if known[0] != looks:
                self._draw(scene, chart, metric, now)
            elif known != now:
                late[chart] = metric, now
        if self._turn is None:
            for chart in [chart for chart in self._drawn if chart in late][:IN_TURN]:
                self._draw(scene, chart, *late.pop(chart))
            if late:
                self._turn = self.set_timer(TURN_S, self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        if self.is_on_screen:
            self._fill()

    def on_show(self) -> None:
        """Draw what had to wait out of sight."""
        self._fill()

    def _draw(self, scene: Scene, chart: SmallChart, metric: Metric, now: tuple[Hashable, Hashable]) -> None:
        self._drawn.pop(chart, None)
        self._drawn[chart] = now
        chart.plot = self._plot(scene, metric, f"{'>' if chart.is_chosen else ' '}{metric.name}")

    def _plot(self, scene: Scene, metric: Metric, title: str) -> Plot:
        figure = self._figures.of(scene, metric, self._axis)
        return Plot(
            traces=[prepare(line, log_y=metric.log_y) for line in figure.series],
            levels=figure.levels,
            marks=figure.marks,
            spots=figure.spots,
            forecasts=figure.forecasts,
            title=title,
            log_y=metric.log_y,
            x_is_time=self._axis == "time",
            has_names=False,
            ascii_only=self.plain,
        )
