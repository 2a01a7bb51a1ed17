"""The preflight: what the data are like, item by item, each with its number, its bar and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from engine.run.preflight import PreflightItem, PreflightReport
from engine.run.state import Status
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.keymap import key_of
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.panes.words import lines, number, verdict_mark
from tui.widgets.steady_text import SteadyText

GROUPS = {
    "leak": "leak between the splits",
    "provenance": "provenance and alignment",
    "vectors": "health of the vectors",
    "floors": "floors and ceiling",
    "direction": "direction of the data",
    "gate": "the gate on this data",
}


class PreflightPane(Pane):
    """The report on the selected run's data."""

    NUMBER = 8
    NAME = "Preflight"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield SteadyText()

    def show(self, scene: Scene) -> None:
        run = scene.selected
        report = run.preflight if run else None
        if run is None:
            content = self.say(f"{no_run(scene)} Its data are looked at first.", "$foreground-muted")
        elif report is None:
            content = self.say(_why_no_report(run, scene), "$foreground-muted")
        else:
            content = lines(*self._rows(run, report, key_of("act.override", scene.keys)))
        self.query_one(SteadyText).show(content)

    def _rows(self, run: RunView, report: PreflightReport, override: str) -> Iterator[Content]:
        yield self._summary(report)
        job = run.jobs.get("preflight")
        if job is not None and job.is_busy:
            yield self.say("looking again; what follows is the look before", "$text-accent")
        if run.is_blocked:
            mend = f"Mend it and start again, or {override} with a written reason."
            words = mend if report.blocking else "It may be started now."
            yield self.say(f"Nothing was trained. {words}", "bold")
        if report.override:
            yield self.say(f"overridden: {report.override}", "$text-warning")
        # what asks for an answer must not scroll below what is in order
        yield from (self._item(item) for item in (*report.blocking, *report.warnings))
        for group, title in GROUPS.items():
            items = [item for item in report.items if item.group == group and _is_in_order(item)]
            if items:
                yield self.say(title, "bold $text-accent")
                yield from (self._item(item) for item in items)
        if report.lag_curve:
            curve = " ".join(number(value, 2) for value in report.lag_curve)
            yield self.say(f"cosine of chunks 1, 2, ... apart: {curve}", "$foreground-muted")
        made = f"{report.data}, {report.seconds:.1f} s, {report.created}: {' '.join(report.argv)}"
        yield self.say(made, "$foreground-muted")

    def _summary(self, report: PreflightReport) -> Content:
        blocking, warned = (", ".join(item.name for item in items) for items in (report.blocking, report.warnings))
        words = f"{len(report.items)} items"
        words += f"; these must pass and did not: {blocking}" if blocking else "; all that must pass did"
        words += f"; look at {warned}" if warned else ""
        mark = verdict_mark("missed" if blocking else "passed", plain=self.plain, word=True)
        return Content.assemble(mark, " ", self.say(words))

    def _item(self, item: PreflightItem) -> Content:
        if item.level == "info":
            return self.say(f"  {item.name}  {item.detail}", "$foreground-muted")
        level = "" if item.level == "must" else f"  ({item.level})"
        mark = verdict_mark(item.verdict, plain=self.plain, word=False)
        return Content.assemble(mark, " ", self.say(item.name, "bold"), self.say(f"{level}  {item.detail}"))


def _is_in_order(item: PreflightItem) -> bool:
    return item.level == "info" or item.verdict == "passed"


def _why_no_report(run: RunView, scene: Scene) -> str:
    if run.status in {Status.QUEUED, Status.SUBMITTED, Status.PENDING, Status.STARTING}:
        return f"The data of {run.id} are being looked at; training follows."
    ask = "" if scene.readonly else f" {key_of('act.preflight', scene.keys)} looks at its data now."
    return f"{run.id} has no preflight report.{ask}"
