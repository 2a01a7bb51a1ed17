"""What can be drawn of a run: its metrics as numbers over epochs, steps or seconds, their bars and floors, and where
val_cosine is heading.

One home for the chart, the small charts, the exports and the pair side by side. A number of an epoch stands at the
epoch's end; a logged step within its epoch; a retrieval figure at the epoch of the checkpoint that was evaluated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from engine.run.evals import EvalReport
from engine.run.state import Point, Status
from tui.control.projection import Projection, project
from tui.control.views import RunView

Axis = Literal["epoch", "step", "time"]
AXES: tuple[Axis, ...] = ("epoch", "step", "time")
Source = Literal["epochs", "steps", "evals"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What can be drawn: a number of each epoch, of each logged step, or of each evaluation."""

    name: str
    source: Source = "epochs"
    key: str = ""
    """Its name in the record, where that is another."""
    log_y: bool = False

    @property
    def field(self) -> str:
        """Its name in the record."""
        return self.key or self.name


METRICS = (
    Metric("val_cosine"),
    Metric("loss", "steps"),
    Metric("train_infonce", "steps", "infonce"),
    Metric("ar_cosine", "steps"),
    Metric("lr", "steps"),
    Metric("grad_norm", "steps", log_y=True),
    Metric("negatives_per_query", "steps"),
    Metric("windows_per_s", "steps"),
    Metric("margin"),
    Metric("R@5", "evals", "r5"),
    Metric("Contain@50", "evals", "contain50"),
    Metric("top1_target"),
    Metric("top1_projected"),
    Metric("pairwise_cosine"),
    Metric("effective_rank"),
    Metric("update_ratio", log_y=True),
)


class Course:
    """How far a run has come: from its epochs to its steps and seconds, and back."""

    def __init__(self, view: RunView) -> None:
        """The course of what has ended, carried on at the pace measured so far."""
        state = view.state
        started = state.started
        rows = [row for row in state.epochs if row.epoch in state.ended_s]
        epochs = [0.0, *(float(row.epoch) for row in rows)]
        steps = [0.0, *(float(row.step) for row in rows)]
        seconds = [0.0, *(state.ended_s[row.epoch] for row in rows)]
        if started is not None and started.steps_per_epoch:
            self.steps_per_epoch = float(started.steps_per_epoch)
        else:
            self.steps_per_epoch = steps[-1] / epochs[-1] if epochs[-1] else 0.0
        pace = state.epoch_s or 0.0
        self._tables: dict[Axis, list[float]] = {
            "epoch": [*epochs, epochs[-1] + 1.0],
            "step": [*steps, steps[-1] + self.steps_per_epoch],
            "time": [*seconds, seconds[-1] + pace],
        }

    def convert(self, value: float, source: Axis, target: Axis) -> float | None:
        """The same moment on another axis; None where no pace is known."""
        if source == target:
            return value
        xs, ys = self._tables[source], self._tables[target]
        index = min(max(bisect_right(xs, value), 1), len(xs) - 1)
        width = xs[index] - xs[index - 1]
        if width <= 0 or ys[index] - ys[index - 1] <= 0:
            return None
        return ys[index - 1] + (value - xs[index - 1]) / width * (ys[index] - ys[index - 1])


def values(view: RunView, metric: Metric) -> list[float | None]:
    """The metric as recorded, in order; None where a number was missing or not finite."""
    if metric.source == "steps":
        return list(map(itemgetter(Point._fields.index(metric.field)), view.state.points))
    if metric.source == "evals":
        return [getattr(report.rows["model"].exact, metric.field) for report in evaluations(view)]
    return [getattr(row, metric.field) for row in view.state.epochs]


def positions(view: RunView, metric: Metric, axis: Axis) -> list[float]:
    """Where each of `values` stands on an axis; NaN for an epoch that nobody can place."""
    state = view.state
    if metric.source == "steps":
        if axis == "time":
            return [point.trained_s for point in state.points]
        per_epoch = 1.0 if axis == "step" else max(1.0, Course(view).steps_per_epoch)
        return [point.step / per_epoch for point in state.points]
    of_evals = metric.source == "evals"
    epochs = [report.epoch for report in evaluations(view)] if of_evals else [row.epoch for row in state.epochs]
    if axis == "epoch":
        return [float(epoch) for epoch in epochs]
    ends = {row.epoch: float(row.step) for row in state.epochs} if axis == "step" else state.ended_s
    return [ends.get(epoch, float("nan")) for epoch in epochs]


def stamp(view: RunView, metric: Metric) -> Hashable:
    """Changes when what is drawn of a run does: a chart of epochs need not be drawn again for a step."""
    state = view.state
    newest: Hashable = ()
    if metric.source == "steps":
        newest = (len(state.points), state.points[-1].step if state.points else 0)
    elif metric.source == "evals":
        newest = tuple((name, report.created) for name, report in view.evals.items())
    return view.id, view.status.is_alive, len(state.epochs), state.latest, len(state.floors), newest


def evaluations(view: RunView) -> list[EvalReport]:
    """The run's own evaluations, one an epoch, the one of most queries; what a fitted head changed is not the run's."""
    by_epoch: dict[int, EvalReport] = {}
    for report in view.evals.values():
        known = by_epoch.get(report.epoch)
        if not report.head and "model" in report.rows and (known is None or known.num_queries < report.num_queries):
            by_epoch[report.epoch] = report
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def levels(view: RunView, metric: Metric) -> list[tuple[float, str]]:
    """The gate's bar and the floors, where the metric has them, with their names."""
    lines = [(gate.at_least, f"gate@{gate.epoch}") for gate in view.spec.gates if gate.metric == metric.name]
    if metric.name == "val_cosine":
        lines += [(value, name) for name, value in view.state.floors.items()]
    if metric.name == "margin":
        lines.append((view.spec.check.margin_at_least, "bar"))
    if metric.name == "pairwise_cosine":
        lines.append((view.spec.check.pairwise_cosine_at_most, "bar"))
    for report in evaluations(view)[-1:] if metric.source == "evals" else ():
        lines += [(gate.bar, "bar") for gate in report.gates if gate.name == metric.field]
        floors = {name: row for name, row in report.rows.items() if name in ("copy_last", "context_mean", "ridge")}
        lines += [(getattr(row.exact, metric.field), name) for name, row in floors.items()]
    return lines


def decisions(view: RunView) -> list[tuple[int, str]]:
    """The epochs at which the playbook decides, with what it decides by."""
    smoke = view.spec.evals.get("smoke")
    found = [(gate.epoch, f"gate@{gate.epoch}") for gate in view.spec.gates]
    return found + ([(smoke.at_epoch, "smoke")] if smoke and smoke.at_epoch else [])


def best_point(view: RunView, metric: Metric) -> tuple[int, float] | None:
    """Epoch and value of the highest val_cosine so far."""
    best = view.state.best
    if metric.name != "val_cosine" or best is None or best.val_cosine is None:
        return None
    return best.epoch, best.val_cosine


def outlook(view: RunView, metric: Metric) -> list[Projection]:
    """val_cosine from the last epoch to the next decision, an epoch each, the measured one first.

    Empty for every other metric, for a run that has ended (unless it stands right at its gate, where somebody decides
    whether it goes on), and where nobody can say.
    """
    latest = view.latest
    if metric.name != "val_cosine" or latest is None or latest.val_cosine is None or view.status is Status.FINISHED:
        return []
    if not view.status.is_alive and all(gate.epoch != latest.epoch for gate in view.spec.gates):
        return []
    series = [(row.epoch, row.val_cosine) for row in view.state.epochs if row.val_cosine is not None]
    end = view.spec.config.epochs
    until = min((epoch for epoch, _ in decisions(view) if latest.epoch < epoch <= end), default=end)
    ahead = [project(series, epoch) for epoch in range(latest.epoch + 1, until + 1)]
    found = [projection for projection in ahead if projection is not None]
    value = latest.val_cosine
    return [Projection(latest.epoch, value, value, value), *found] if found else []
