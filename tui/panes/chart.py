"""The chart: one metric of the run and its counterpart, with the gate line, the floors and the epoch marks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.reactive import reactive

from tui.control.scene import Scene
from tui.control.views import RunView
from tui.panes.pane import Pane
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_data import Level, Mark, Series


@dataclass(frozen=True, slots=True)
class Metric:
    """What can be drawn: a number of each epoch, or of each logged step."""

    name: str
    of_steps: bool = False
    log_y: bool = False


METRICS = (
    Metric("val_cosine"),
    Metric("loss", of_steps=True),
    Metric("grad_norm", of_steps=True, log_y=True),
    Metric("lr", of_steps=True),
    Metric("margin"),
    Metric("top1_target"),
    Metric("top1_projected"),
    Metric("pairwise_cosine"),
    Metric("effective_rank"),
    Metric("train_infonce"),
    Metric("update_ratio", log_y=True),
)


class ChartPane(Pane):
    """The selected run's metric beside its counterpart's, over epochs."""

    NUMBER = 2
    NAME = "val_cosine"

    metric: reactive[int] = reactive(0)
    """Index into METRICS."""

    _run_id = ""

    def compose(self) -> ComposeResult:
        yield LineChart(x_label="epoch")

    def on_mount(self) -> None:
        super().on_mount()
        self.watch(self.query_one(LineChart), "view", self._say_what_is_hidden, init=False)

    def watch_plain(self, plain: bool) -> None:
        super().watch_plain(plain)
        self.query_one(LineChart).ascii = plain

    def depends_on(self, scene: Scene) -> Hashable:
        return self.metric, tuple((view.id, view.version) for view in shown_runs(scene))

    def watch_metric(self) -> None:
        """Draw another number, on the scale that suits it."""
        self.query_one(LineChart).log_y = METRICS[self.metric].log_y
        if self.scene is not None:
            self.watch_scene(self.scene)

    def show(self, scene: Scene) -> None:
        metric = METRICS[self.metric]
        runs = shown_runs(scene)
        chart = self.query_one(LineChart)
        if runs and runs[0].id != self._run_id:  # another run's epochs: its own view, not what was zoomed to before
            self._run_id = runs[0].id
            chart.action_fit()
            chart.cursor_x = None
        chart.empty_text = "No epoch has ended yet." if runs else "T trains Mamba-S, B the AMN baseline."
        chart.series = [Series(view.id, *points(view, metric), kind=look_of(view, scene)) for view in runs]
        chart.levels = levels(runs[0], metric) if runs else []
        chart.marks = epoch_marks(runs[0]) if runs else []
        self.border_title = f"{self.NUMBER} {metric.name}"
        self._say_what_is_hidden()

    def _say_what_is_hidden(self) -> None:
        zoomed = "zoomed, = shows all   " if self.query_one(LineChart).view is not None else ""
        self.set_subtitle(f"{zoomed}[ ] metric {self.metric + 1} of {len(METRICS)}")


def shown_runs(scene: Scene) -> list[RunView]:
    """The selected run first, then its counterpart, then the run it was patched from."""
    if scene.selected is None:
        return []
    runs = [scene.selected]
    counterpart = scene.pair[0] if scene.selected is scene.pair[1] else scene.pair[1]
    parent = next((view for view in scene.views if view.id == scene.selected.spec.parent), None)
    runs += [view for view in (counterpart, parent) if view is not None and view not in runs]
    return runs


def look_of(view: RunView, scene: Scene) -> int:
    """Colour, dash and marker by what a run is, whichever is selected: model 0, baseline 1, any other 2."""
    if view.spec.name == scene.pair_names[1]:
        return 1
    return 0 if view is scene.pair[0] else 2


def points(view: RunView, metric: Metric) -> tuple[Sequence[float], Sequence[float | None]]:
    """x in epochs, y as recorded; None where a number was missing or not finite."""
    if not metric.of_steps:
        rows = view.state.epochs
        return [float(row.epoch) for row in rows], [getattr(row, metric.name) for row in rows]
    per_epoch = view.state.started.steps_per_epoch if view.state.started else 0
    steps = view.state.points
    return [point.step / max(1, per_epoch) for point in steps], [getattr(point, metric.name) for point in steps]


def levels(view: RunView, metric: Metric) -> list[Level]:
    """The gate line and the floors, where the metric has them."""
    lines = [Level(gate.at_least, f"gate@{gate.epoch}") for gate in view.spec.gates if gate.metric == metric.name]
    if metric.name == "val_cosine":
        lines += [Level(value, name) for name, value in view.state.floors.items()]
    if metric.name == "margin":
        lines.append(Level(view.spec.check.margin_at_least, "bar"))
    if metric.name == "pairwise_cosine":
        lines.append(Level(view.spec.check.pairwise_cosine_at_most, "bar"))
    return lines


def epoch_marks(view: RunView) -> list[Mark]:
    """The epochs at which the playbook decides."""
    smoke = view.spec.evals.get("smoke")
    marks = [Mark(float(gate.epoch), f"gate@{gate.epoch}") for gate in view.spec.gates]
    return marks + ([Mark(float(smoke.at_epoch), "smoke")] if smoke and smoke.at_epoch else [])
