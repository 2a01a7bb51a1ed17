"""The chart: one metric of the run and its counterpart over epochs, steps or time, or all of them as small charts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive

from tui.control.chart_export import Shown
from tui.control.curves import AXES, METRICS, Axis, Course, Source, stamp
from tui.control.log_places import Place
from tui.control.scene import Scene
from tui.keymap import key_of
from tui.panes.empty import no_run
from tui.panes.figures import Figures, shown_runs
from tui.panes.metric_grid import MetricGrid
from tui.panes.pane import Pane
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_scale import Scale

_NAMES: dict[Axis, str] = {"epoch": "epoch", "step": "step", "time": "trained"}
_EMPTY: dict[Source, str] = {
    "epochs": "No epoch has ended yet.",
    "steps": "No step has been logged yet.",
    "evals": "Not evaluated yet: {evaluate} runs the smoke evaluation.",
}


class ChartPane(Pane):
    """The selected run's metric beside its counterpart's."""

    NUMBER = 2
    NAME = "val_cosine"
    BINDINGS = [
        Binding("a", "next_axis", "axis", show=False, id="chart.axis", tooltip="x axis: epochs, steps, time trained"),
        Binding("g", "toggle_grid", "grid", show=False, id="chart.grid", tooltip="all metrics as small charts"),
        Binding("x", "export", "export", show=False, id="chart.export", tooltip="what is shown as SVG, PNG, CSV files"),
        Binding("l", "link", "log", show=False, id="chart.link", tooltip="the log's lines of the cursor's epoch"),
        Binding("escape", "back", "back", show=False, id="chart.back", tooltip="back from a small chart, or from them"),
    ]

    metric: reactive[int] = reactive(0)
    """Index into METRICS."""
    axis: reactive[Axis] = reactive[Axis]("epoch", init=False)
    """What x counts."""
    is_grid: reactive[bool] = reactive(False, init=False)
    """Whether all metrics show."""

    _run_id = ""
    _before_grid: int | None = None
    """The metric that was shown before the grid: where Escape leads from what was opened there."""

    @dataclass
    class ExportWanted(Message):
        """A person wants files of what is shown."""

        shown: Shown

    @dataclass
    class EpochWanted(Message):
        """A person wants to see in the log what was said of an epoch."""

        epoch: int

    def __init__(self) -> None:
        super().__init__()
        self._figures = Figures()

    def compose(self) -> ComposeResult:
        chart = LineChart()
        grid = MetricGrid(self._figures, chart.style_of)
        grid.display = False
        yield chart
        yield grid

    @property
    def chart(self) -> LineChart:
        """The large one."""
        return self.query_exactly_one("ChartPane > LineChart", LineChart)

    @property
    def grid(self) -> MetricGrid:
        """The small ones."""
        return self.query_one(MetricGrid)

    def on_mount(self) -> None:
        super().on_mount()
        for name in ("view", "smoothing", "has_levels", "log_y"):
            self.watch(self.chart, name, self._say_how_it_is_shown, init=False)

    def watch_plain(self, plain: bool) -> None:
        super().watch_plain(plain)
        self.chart.ascii = self.grid.plain = plain

    def depends_on(self, scene: Scene) -> Hashable:
        metrics = METRICS if self.is_grid else METRICS[self.metric : self.metric + 1]
        stamps = tuple(stamp(view, metric) for view in shown_runs(scene) for metric in metrics)
        return self.metric, self.axis, self.is_grid, stamps

    def watch_metric(self) -> None:
        """Draw another number, on the scale that suits it."""
        self.chart.log_y = METRICS[self.metric].log_y
        self.grid.chosen = self.metric
        self.watch_scene(self.scene)

    def watch_axis(self, before: Axis, axis: Axis) -> None:
        """Count x in something else. What was zoomed to stays in sight, and so does the cursor's place."""
        chart, runs = self.chart, shown_runs(self.scene) if self.scene else []
        course = Course(runs[0]) if runs else None

        def moved(x: float) -> float | None:
            return None if course is None else course.convert(x, before, axis)

        view, cursor = chart.view, chart.cursor_x
        low, high = (moved(view.low), moved(view.high)) if view else (None, None)
        chart.view = Scale(low, high) if low is not None and high is not None and low < high else None
        self.watch_scene(self.scene)
        chart.cursor_x = None if cursor is None else moved(cursor)

    def watch_is_grid(self, is_grid: bool) -> None:
        """One large chart, or all small ones."""
        had_focus = self.has_focus_within
        self.chart.display, self.grid.display = not is_grid, is_grid
        self.watch_scene(self.scene)
        if had_focus:
            self.focus_inside()

    def show(self, scene: Scene) -> None:
        runs = shown_runs(scene)
        chart, metric = self.chart, METRICS[self.metric]
        if runs and runs[0].id != self._run_id:  # another run's epochs: its own view, not what was zoomed to before
            self._run_id = runs[0].id
            chart.action_fit()
            chart.cursor_x = None
        if self.is_grid:
            self.grid.show(scene, self.axis)
        else:
            chart.empty_text = _why_empty(metric.source, scene)
            chart.x_label, chart.x_is_time = _NAMES[self.axis], self.axis == "time"
            self._figures.of(scene, metric, self.axis).show_on(chart)
        self.set_title("", name="all metrics" if self.is_grid else metric.name)
        self._say_how_it_is_shown()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape belongs to the room where there is nothing to go back from."""
        return action != "back" or self.is_grid or self._before_grid is not None

    def walk(self, step: int) -> None:
        """Go on to the next metric (1) or the previous one (-1)."""
        self.metric = (self.metric + step) % len(METRICS)

    def action_next_axis(self) -> None:
        """Epochs, steps, time trained."""
        self.axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]

    def action_toggle_grid(self) -> None:
        """All metrics, or the chosen one alone."""
        self._before_grid = None if self.is_grid else self.metric
        self.is_grid = not self.is_grid

    def action_back(self) -> None:
        """From an opened chart to the small ones; from those to what was shown before them."""
        if not self.is_grid:
            self.is_grid = True
            return
        before, self._before_grid = self._before_grid, None
        self.is_grid = False
        self.metric = self.metric if before is None else before

    def action_export(self) -> None:
        """Ask for files of what is shown: the large chart, or the chosen one of the small ones."""
        if self.scene is None:
            return
        chart = self.chart
        view = None if self.is_grid or chart.view is None else (chart.view.low, chart.view.high)
        shown = Shown(
            METRICS[self.metric],
            self.axis,
            shown_runs(self.scene),
            within=view,
            log_y=chart.log_y,
            smoothing=0.0 if self.is_grid else chart.smoothing,
            has_levels=chart.has_levels,
        )
        self.post_message(self.ExportWanted(shown))

    def action_link(self) -> None:
        """Ask for the log of the epoch that the cursor stands in."""
        runs = shown_runs(self.scene) if self.scene else []
        cursor = self.chart.cursor_x
        epoch = None if cursor is None or not runs else Course(runs[0]).convert(cursor, self.axis, "epoch")
        if epoch is None:
            self.set_subtitle("left and right put a cursor; l leads from it to the log")
        else:
            self.post_message(self.EpochWanted(max(1, math.ceil(epoch))))

    def show_place(self, place: Place) -> None:
        """Put the cursor of every chart where a line of the log stands; one large chart, so that it is seen."""
        runs = shown_runs(self.scene) if self.scene else []
        if not runs:
            return
        self.is_grid = False
        of_step, course = place.step is not None and METRICS[self.metric].source == "steps", Course(runs[0])
        source: Axis = "step" if of_step else "epoch"
        x = course.convert(float(place.step if place.step is not None and of_step else place.epoch), source, self.axis)
        self.chart.place_cursor(x)

    def on_metric_grid_walked(self, event: MetricGrid.Walked) -> None:
        """Another small chart was chosen, or opened."""
        self.metric = event.index
        if event.opened:
            self.is_grid = False

    def _say_how_it_is_shown(self) -> None:
        self.set_subtitle("  ".join(self._words()))

    def _words(self) -> Iterator[str]:
        chart = self.chart
        if self.is_grid:
            yield "Enter opens"
        else:
            if chart.view is not None:
                yield "zoomed, = shows all"
            if chart.smoothing > 0:
                yield f"smoothed {chart.smoothing:g}"
            if chart.log_y:
                yield "log y"
            if not chart.has_levels:
                yield "t shows levels"
        yield f"a by {self.axis}"
        yield "g one" if self.is_grid else "g all"
        yield f"[ ] metric {self.metric + 1} of {len(METRICS)}"


def _why_empty(source: Source, scene: Scene) -> str:
    """What a chart without a point says."""
    if scene.selected is None:
        return no_run(scene)
    return _EMPTY[source].format(evaluate=key_of("act.evaluate", scene.keys))
