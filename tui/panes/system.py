"""System: what the runs cost this machine, and when its gates, evaluations and end are due."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from engine.run.events import RankFigures
from tui.control.report import duration
from tui.control.scene import Scene
from tui.control.timeline import Milestone, timeline
from tui.control.usage import ProcessUsage
from tui.control.views import RunView
from tui.panes.empty import press_to_start
from tui.panes.pane import Pane
from tui.panes.words import lines
from tui.widgets.steady_text import SteadyText

IN_FULL, MANY_S = 6, 6.0
"""Of more runs that are alive, only the selected one has more than a line; and the seconds between their figures."""
FEW_CHECKPOINTS = 20
"""Fewer than this fit: somebody should make room before the night."""


class SystemPane(Pane):
    """CPU, memory and disk of the runs that are alive."""

    NUMBER = 7
    NAME = "System"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield SteadyText()

    def depends_on(self, scene: Scene) -> Hashable:
        has_many = sum(view.status.is_alive for view in scene.views) > IN_FULL
        figures = scene.now // MANY_S if has_many and scene.usage else scene.usage
        return figures, scene.turn, scene.selected and scene.selected.id

    def show(self, scene: Scene) -> None:
        self.query_one(SteadyText).show(lines(*self._rows(scene)))

    def _rows(self, scene: Scene) -> Iterator[Content]:
        usage = scene.usage
        if usage is None:
            return
        used, total = usage.memory_used_bytes, usage.memory_total_bytes
        machine = (
            f"this machine: {usage.cpu_percent:.0f} % of {usage.cores} cores, memory {_gib(used)} of {_gib(total)}"
        )
        yield self.say(f"{machine}, disk free {_gib(usage.disk_free_bytes)}")
        alive = [view for view in scene.views if view.status.is_alive]
        if not alive:
            words = f"no run is alive: {press_to_start(scene)}" if not scene.readonly else "no run is alive"
            yield self.say(words, "$foreground-muted")
        for view in sorted(alive, key=lambda view: view is not scene.selected):
            process = usage.processes.get(view.id)
            if len(alive) <= IN_FULL or view is scene.selected:
                yield from self._run_rows(view, process, usage.disk_free_bytes, scene.now)
            else:
                yield self.say(f"{view.id}  {_cost(process)}  {_pace(view)}", "$foreground-muted")

    def _run_rows(self, view: RunView, process: ProcessUsage | None, disk_free: int, now: float) -> Iterator[Content]:
        saved = view.state.checkpoints.get("last")
        yield self.say(f"{view.id}  {_cost(process)}", "bold")
        yield self.say(f"  {_pace(view)}", "$foreground-muted")
        ranks = view.state.ranks
        for figures in ranks:
            if len(ranks) > 1 or figures.device_total_bytes is not None:  # of one on a CPU the line above tells all
                yield self.say(f"  {_words_of_rank(figures)}", "$foreground-muted")
        if saved and saved.bytes:
            fits = disk_free // saved.bytes
            # a new one is whole beside the old one before that goes
            words = f"  checkpoint {saved.bytes / 1e6:.1f} MB, the disk has room for {fits:,}"
            yield self.say(words, "$foreground-muted" if fits >= FEW_CHECKPOINTS else "$text-warning")
        due = ", ".join(_words(milestone) for milestone in timeline(view, now))
        yield self.say(f"  {due}", "$foreground-muted")


def _cost(process: ProcessUsage | None) -> str:
    return f"{process.cpu_percent:.0f} % CPU, {_gib(process.memory_bytes)}" if process else "-"


def _pace(view: RunView) -> str:
    last = view.state.last_step
    return f"{last.windows_per_s:.0f} windows/s" if last else "no step yet"


def _words(at: Milestone) -> str:
    """`gate val_cosine@2 in 40s`."""
    due = f"in {duration(at.eta_s)}" if at.eta_s is not None else f"after epoch {at.epoch}"
    done = f"after {duration(at.trained_s)}" if at.trained_s is not None else "done"
    said = {"done": done, "due": due, "overdue": f"due since epoch {at.epoch}", "never": "never"}
    return f"{at.what} {said[at.when]}"


def _words_of_rank(figures: RankFigures) -> str:
    """`rank 1 on cuda:1: 5.0 GiB of 8.0 GiB, 87 % busy; process 2.1 GiB, 3m of CPU`."""
    busy = "" if figures.device_percent is None else f", {figures.device_percent:.0f} % busy"
    used, total = figures.device_used_bytes, figures.device_total_bytes
    device = "" if used is None or total is None else f"{_gib(used)} of {_gib(total)}{busy}; process "
    cost = f"{_gib(figures.memory_bytes)}, {duration(figures.cpu_s)} of CPU"
    return f"rank {figures.rank} on {figures.device}: {device}{cost}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
