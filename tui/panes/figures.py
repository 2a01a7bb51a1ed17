"""From the scene to what a chart widget draws: which runs, in which look, with which lines around them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from tui.control.curves import (
    Axis,
    Course,
    Metric,
    best_point,
    decisions,
    levels,
    outlook,
    positions,
    stamp,
    values,
)
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_data import Forecast, Level, Mark, Series, Spot

MODEL, BASELINE, OTHER = 0, 1, 2
"""Colour, dash and marker by what a run is, whichever is selected."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The content of a chart."""

    series: Sequence[Series] = ()
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    spots: Sequence[Spot] = ()
    forecasts: Sequence[Forecast] = ()

    def show_on(self, chart: LineChart) -> None:
        """Hand it over; a chart draws again only what differs."""
        chart.series, chart.levels, chart.marks = self.series, self.levels, self.marks
        chart.spots, chart.forecasts = self.spots, self.forecasts


class Figures:
    """Makes figures, and keeps the series of runs that have nothing new."""

    def __init__(self) -> None:
        """Nothing known yet."""
        self._known: dict[tuple[str, str, Axis], tuple[Hashable, Series]] = {}

    def of(self, scene: Scene, metric: Metric, axis: Axis) -> Figure:
        """What a metric looks like now, for the runs that the scene puts side by side."""
        runs = shown_runs(scene)
        if not runs:
            return Figure()
        looks = {view.id: look_of(view, scene) for view in runs}
        if any(run_id not in looks for run_id, _, _ in self._known):  # else every run ever shown would be kept
            self._known = {key: known for key, known in self._known.items() if key[0] in looks}
        return Figure(
            series=[self._series(view, metric, axis, looks[view.id]) for view in runs],
            levels=level_lines(runs[0], metric),
            marks=decision_marks(runs[0], axis),
            spots=[spot for view in runs for spot in best_spots(view, metric, axis, looks[view.id])],
            # of the selected run alone: intervals that overlap tell nobody anything
            forecasts=list(forecasts(runs[0], metric, axis, looks[runs[0].id])),
        )

    def _series(self, view: RunView, metric: Metric, axis: Axis, kind: int) -> Series:
        key, now = (view.id, metric.name, axis), (stamp(view, metric), kind)
        known = self._known.get(key)
        if known is None or known[0] != now:
            known = now, Series(view.id, positions(view, metric, axis), values(view, metric), kind)
            self._known[key] = known
        return known[1]


def shown_runs(scene: Scene) -> list[RunView]:
    """The selected run first, then its counterpart, then the run it was patched from."""
    if scene.selected is None:
        return []
    runs = [scene.selected]
    counterpart = scene.pair[0] if scene.selected is scene.pair[1] else scene.pair[1]
    parent_id = scene.selected.spec.parent
    parent = next((view for view in scene.views if view.id == parent_id), None) if parent_id else None
    runs += [view for view in (counterpart, parent) if view is not None and view not in runs]
    return runs


def look_of(view: RunView, scene: Scene) -> int:
    """The look of a run: model, baseline, or any other."""
    if view.spec.name == scene.pair_names[1]:
        return BASELINE
    return MODEL if view is scene.pair[0] else OTHER


def level_lines(view: RunView, metric: Metric) -> list[Level]:
    """The gate line and the floors, where the metric has them."""
    return [Level(value, name) for value, name in levels(view, metric)]


def decision_marks(view: RunView, axis: Axis) -> list[Mark]:
    """The epochs at which the playbook decides."""
    course = Course(view)
    placed = [(course.convert(float(epoch), "epoch", axis), name) for epoch, name in decisions(view)]
    return [Mark(x, name) for x, name in placed if x is not None]


def best_spots(view: RunView, metric: Metric, axis: Axis, kind: int) -> Iterator[Spot]:
    """The best epoch, where the metric has one."""
    best = best_point(view, metric)
    x = None if best is None else Course(view).convert(float(best[0]), "epoch", axis)
    if best is not None and x is not None:
        yield Spot(x, best[1], f"best {best[1]:.3f}", kind)


def forecasts(view: RunView, metric: Metric, axis: Axis, kind: int) -> Iterator[Forecast]:
    """Where the run is heading; none where nobody can say."""
    course = Course(view)
    placed = [(course.convert(float(found.epoch), "epoch", axis), found) for found in outlook(view, metric)]
    known = [(x, found) for x, found in placed if x is not None]
    if len(known) > 1:
        yield Forecast(
            "projected",
            [x for x, _ in known],
            [found.value for _, found in known],
            [found.low for _, found in known],
            [found.high for _, found in known],
            kind,
        )
