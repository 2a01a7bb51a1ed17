"""Runs side by side: the same axes, the numbers that decide, the difference to the reference, and what it means."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from tui.control.curves import METRICS, positions, values
from tui.control.listing import Listing
from tui.control.scene import Scene
from tui.control.versus import compare, table, value_at
from tui.control.versus_words import bounds_verdict, verdict
from tui.control.views import RunView
from tui.keymap import key_of
from tui.messages import Relisted
from tui.panes.empty import no_run
from tui.panes.figures import BASELINE, MODEL, OTHER, decision_marks, level_lines
from tui.panes.pane import Pane
from tui.panes.words import lines
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_data import Level, Series
from tui.widgets.steady_text import SteadyText

_TRAINS = ("act.start", "act.start_baseline")
"""What starts a run of the left side, and of the right one."""
_CHARTS_FROM_HEIGHT = 24
"""Below this many rows there is room for the numbers only; the chart pane draws both runs anyway."""
_LOOK_OF_REFERENCE, _LOOKS_OF_OTHERS = BASELINE, (MODEL, OTHER, OTHER + 1)
"""No more are drawn: with a fifth, two lines would look alike."""


class VersusPane(Pane):
    """A model and its baseline, or the runs that were marked."""

    NUMBER = 6
    NAME = "Mamba-S │ AMN"

    BINDINGS = [
        Binding(
            "d",
            "all_settings",
            "settings",
            show=False,
            id="versus.settings",
            tooltip="the settings that differ, or all",
        ),
    ]
    DEFAULT_CSS = """
    VersusPane Horizontal { height: 1fr; display: none; }
    VersusPane Horizontal LineChart { width: 1fr; margin-right: 1; }
    VersusPane Horizontal #difference { margin-right: 0; }
    VersusPane VerticalScroll { height: 1fr; overflow-x: auto; }
    VersusPane #table { width: auto; }
    VersusPane.-tall Horizontal { display: block; }
    VersusPane.-tall VerticalScroll { height: auto; max-height: 60%; }
    """

    listing: reactive[Listing] = reactive(Listing, init=False, repaint=False)
    """Which runs are marked; set by data binding, never by the pane."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            for chart_id in ("left", "right", "difference"):
                yield LineChart(id=chart_id, x_label="epoch")
        with VerticalScroll():
            yield SteadyText(id="verdict")
            yield SteadyText(id="table")

    def watch_plain(self, plain: bool) -> None:
        super().watch_plain(plain)
        for chart in self.query(LineChart):
            chart.ascii = plain

    def watch_listing(self) -> None:
        """Put other runs side by side."""
        self.watch_scene(self.scene)

    def on_resize(self) -> None:
        """Charts where there is room for them."""
        self.set_class(self.size.height >= _CHARTS_FROM_HEIGHT, "-tall")

    def depends_on(self, scene: Scene) -> Hashable:
        shown = tuple((view.id, view.turn) for view in self._runs(scene))
        return shown, self._is_pair(scene), self.listing.all_settings

    def show(self, scene: Scene) -> None:
        runs = self._runs(scene)
        self._say_what_it_is(scene, runs)
        self.query_one("#verdict", SteadyText).show(lines(*self._verdict(scene, runs)))
        self.query_one("#table", SteadyText).show(lines(*self._table(runs)))
        if self._is_pair(scene):
            self._draw_charts([view for view in scene.pair[:1] if view is not None], scene.pair[1], scene.keys)
        else:
            self._draw_charts(runs[:-1], runs[-1], scene.keys)

    def action_all_settings(self) -> None:
        """The settings that differ, or all."""
        self.post_message(Relisted(replace(self.listing, all_settings=not self.listing.all_settings)))

    def _runs(self, scene: Scene) -> list[RunView]:
        return self.listing.side_by_side(scene.pair, scene.views, _selected_id(scene))

    def _is_pair(self, scene: Scene) -> bool:
        return self.listing.is_of_pair(scene.views, _selected_id(scene))

    def _say_what_it_is(self, scene: Scene, runs: Sequence[RunView]) -> None:
        if self._is_pair(scene):
            self.set_title("")
        else:
            self.set_title(f"{len(runs)} runs, reference {runs[-1].id}", name="Compare")
        self.set_subtitle(f"d {'differing' if self.listing.all_settings else 'all'} settings" if len(runs) > 1 else "")

    def _draw_charts(self, others: Sequence[RunView], reference: RunView | None, keys: Mapping[str, str]) -> None:
        """The others left, the reference right, and each difference to it; the same axes for both sides."""
        left = list(zip(others, _LOOKS_OF_OTHERS, strict=False))
        right = [(reference, _LOOK_OF_REFERENCE)] if reference else []
        runs = [view for view, _ in left + right]
        heights = [value for view in runs for value in values(view, METRICS[0]) if value is not None]
        heights += [level.value for view in runs for level in level_lines(view, METRICS[0])]
        epochs = [epoch for view in runs for epoch in positions(view, METRICS[0], "epoch")]
        across = (min(epochs), max(epochs)) if epochs else None
        for name, side, trains in (("left", left, _TRAINS[0]), ("right", right, _TRAINS[1])):
            chart = self.query_one(f"#{name}", LineChart)
            # the same height must mean the same number
            chart.y_range, chart.x_range = (min(heights), max(heights)) if heights else None, across
            chart.empty_text = "no epoch yet" if side else f"{key_of(trains, keys)} trains it"
            chart.series = [Series(view.id, *_line(view), look) for view, look in side]
            chart.levels = [level for view, _ in side[:1] for level in level_lines(view, METRICS[0])]
            chart.marks = [mark for view, _ in side[:1] for mark in decision_marks(view, "epoch")]
        difference = self.query_one("#difference", LineChart)
        difference.x_range = across
        difference.levels = [Level(0.0, "equal")]
        difference.series = [
            Series(self.say(f"Δ {view.id}").plain, *_difference(view, reference), look)
            for view, look in left
            if reference
        ]

    def _verdict(self, scene: Scene, runs: Sequence[RunView]) -> Iterator[Content]:
        if not runs:
            yield self.say(no_run(scene), "$foreground-muted")
        told = verdict(compare(runs, runs[-1])) if len(runs) > 1 else [bounds_verdict(*scene.pair)]
        for sentence in told:
            yield self.say(sentence, "bold $text-accent")
        for binding_id, view in zip(_TRAINS, scene.pair, strict=True):
            if view is None and not scene.readonly and runs and self._is_pair(scene):
                yield self.say(f"{key_of(binding_id, scene.keys)} trains it", "bold")

    def _table(self, runs: Sequence[RunView]) -> Iterator[Content]:
        if not runs:
            return
        rows = table(compare(runs, runs[-1]), all_settings=self.listing.all_settings)
        name_width = max(len(label) for label, _ in rows)
        widths = [max(map(len, column)) for column in zip(*(cells for _, cells in rows), strict=True)]
        for label, cells in rows:
            told = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
            yield Content.assemble(self.say(label.ljust(name_width), "$foreground-muted"), "  ", self.say(told))


def _selected_id(scene: Scene) -> str:
    return scene.selected.id if scene.selected else ""


def _line(view: RunView) -> tuple[list[float], list[float | None]]:
    return positions(view, METRICS[0], "epoch"), values(view, METRICS[0])


def _difference(view: RunView, reference: RunView) -> tuple[list[float], list[float | None]]:
    """A run minus the reference at the epochs that both have ended."""
    shared = [row for row in view.state.epochs if any(row.epoch == theirs.epoch for theirs in reference.state.epochs)]
    pairs = [(row.val_cosine, value_at(reference, row.epoch)) for row in shared]
    gaps = [None if ours is None or other is None else ours - other for ours, other in pairs]
    return [float(row.epoch) for row in shared], gaps
