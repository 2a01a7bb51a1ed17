"""Mamba and AMN side by side: the same axes, the numbers that decide, their difference, and what it means."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from tui.control.curves import METRICS, positions, values
from tui.control.scene import Scene
from tui.control.versus import Row, bounds_verdict, compare, differences
from tui.control.views import RunView
from tui.keymap import key_of
from tui.panes.empty import no_run
from tui.panes.figures import decision_marks, level_lines
from tui.panes.pane import Pane
from tui.panes.words import lines
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_data import Level, Series
from tui.widgets.steady_text import SteadyText

_TRAINS = ("act.start", "act.start_baseline")
"""What starts a run of the left table, and of the right one."""
_CHARTS_FROM_HEIGHT = 24
"""Below this many rows there is room for the numbers only; the chart pane draws both runs anyway."""


class VersusPane(Pane):
    """A model and its baseline."""

    NUMBER = 6
    NAME = "Mamba-S │ AMN"

    DEFAULT_CSS = """
    VersusPane Horizontal { height: 1fr; display: none; }
    VersusPane Horizontal LineChart { width: 1fr; }
    VersusPane VerticalScroll { height: 1fr; }
    VersusPane.-tall Horizontal { display: block; }
    VersusPane.-tall VerticalScroll { height: auto; max-height: 60%; }
    """

    def compose(self) -> ComposeResult:
        with Horizontal():
            for chart_id in ("left", "right", "difference"):
                yield LineChart(id=chart_id, x_label="epoch")
        with VerticalScroll():
            yield SteadyText()

    def watch_plain(self, plain: bool) -> None:
        super().watch_plain(plain)
        for chart in self.query(LineChart):
            chart.ascii = plain

    def on_resize(self) -> None:
        """Charts where there is room for them."""
        self.set_class(self.size.height >= _CHARTS_FROM_HEIGHT, "-tall")

    def depends_on(self, scene: Scene) -> Hashable:
        return tuple((view.id, view.version) if view else None for view in scene.pair)

    def show(self, scene: Scene) -> None:
        self.query_one(SteadyText).show(lines(*self._rows(*scene.pair, scene)))
        self._draw_charts(*scene.pair, scene.keys)

    def _draw_charts(self, left: RunView | None, right: RunView | None, keys: Mapping[str, str]) -> None:
        metric = METRICS[0]
        runs = [view for view in (left, right) if view is not None]
        heights = [value for view in runs for value in values(view, metric) if value is not None]
        heights += [level.value for view in runs for level in level_lines(view, metric)]
        epochs = [epoch for view in runs for epoch in positions(view, metric, "epoch")]
        for kind, (name, view) in enumerate((("left", left), ("right", right))):
            chart = self.query_one(f"#{name}", LineChart)
            # one pair of axes for both: the same height must mean the same number
            chart.y_range = (min(heights), max(heights)) if heights else None
            chart.x_range = (min(epochs), max(epochs)) if epochs else None
            chart.empty_text = "no epoch yet" if view else f"{key_of(_TRAINS[kind], keys)} trains it"
            chart.series = [Series(view.id, *_line(view), kind)] if view else []
            chart.levels = level_lines(view, metric) if view else []
            chart.marks = decision_marks(view, "epoch") if view else []
        difference = self.query_one("#difference", LineChart)
        difference.x_range = (min(epochs), max(epochs)) if epochs else None
        difference.series = [Series("Δ", *_difference(left, right), kind=2)] if left and right else []
        difference.levels = [Level(0.0, "equal")]

    def _rows(self, left: RunView | None, right: RunView | None, scene: Scene) -> Iterator[Content]:
        if left is None and right is None:
            yield self.say(no_run(scene), "$foreground-muted")
        yield self.say(bounds_verdict(left, right), "bold $text-accent")
        for binding_id, view in zip(_TRAINS, (left, right), strict=True):
            if view is None and not scene.readonly and (left or right):
                yield self.say(f"{key_of(binding_id, scene.keys)} trains it", "bold")
        table = compare(left, right)
        widths = [max(len(cell) for cell in column) for column in zip(*(_cells(row) for row in table), strict=True)]
        for row in table:
            label, *cells = (cell.ljust(width) for cell, width in zip(_cells(row), widths, strict=True))
            yield Content.assemble(
                self.say(label, "$foreground-muted"),
                "  ",
                self.say("  ".join(cells).rstrip()),
            )
        for difference in differences(left, right):
            yield self.say(difference, "$foreground-muted")


def _line(view: RunView) -> tuple[list[float], list[float | None]]:
    return positions(view, METRICS[0], "epoch"), values(view, METRICS[0])


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.label, row.left, row.right, row.difference


def _difference(left: RunView, right: RunView) -> tuple[list[float], list[float | None]]:
    """Left minus right at the epochs that both have ended."""
    theirs = {row.epoch: row.val_cosine for row in right.state.epochs}
    shared = [row for row in left.state.epochs if row.epoch in theirs]
    pairs = [(row.val_cosine, theirs[row.epoch]) for row in shared]
    values = [None if ours is None or other is None else ours - other for ours, other in pairs]
    return [float(row.epoch) for row in shared], values
