"""Gates and sanity checks: what was judged, each number with its bar and its margin in words."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from tui.control.answers import RETRIEVAL_LABELS, blocking_items
from tui.control.jobs import has_failed
from tui.control.report import duration
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.panes.words import lines, number, signed, verdict_mark
from tui.widgets.steady_text import SteadyText

_LABELS = {
    "margin": "A margin",
    "same_article_negatives": "B same-article negatives",
    "pairwise_cosine": "C pairwise cosine",
    "effective_rank": "C effective rank",
    "lift_gap": "D lift, seen and unseen",
    "projection_head": "projection head",
}


class GatesPane(Pane):
    """The verdicts on the selected run."""

    NUMBER = 3
    NAME = "Gates & sanity"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield SteadyText()

    def on_mount(self) -> None:
        """Say how much is out of sight as that changes."""
        super().on_mount()
        scroll = self.query_one(VerticalScroll)
        for moved in ("scroll_y", "virtual_size"):
            self.watch(scroll, moved, self._say_what_is_below)

    def on_resize(self) -> None:
        """Other rows are in sight, once what is inside has its new size, too."""
        self.call_after_refresh(self._say_what_is_below)

    def _say_what_is_below(self) -> None:
        scroll = self.query_one(VerticalScroll)
        below = max(scroll.virtual_size.height - scroll.size.height - round(scroll.scroll_y), 0)
        self.set_subtitle(f"{below} more below" if below else "")

    def show(self, scene: Scene) -> None:
        run = scene.selected
        content = lines(*self._rows(run, scene.now)) if run else self.say(no_run(scene), "$foreground-muted")
        self.query_one(SteadyText).show(content)

    def _rows(self, run: RunView, now: float) -> Iterator[Content]:
        for gate in run.spec.gates:
            judged = run.gate_judgement(gate)
            detail = judged.detail
            if judged.verdict == "pending" and (eta := run.eta_s(gate.epoch, now)) is not None:
                detail += f", in {duration(eta)}"
            yield self._row(judged.verdict, gate.name, detail, word=True)
        yield from self._preflight_rows(run)
        yield from self._check_rows(run)
        yield from self._eval_rows(run)
        yield from self._fitted_rows(run)
        yield from self._note_rows(run)
        yield from self._floor_rows(run)
        for warning in run.state.warnings:
            yield Content.assemble(("! ", "$text-warning"), self.say(warning, "$text-warning"))

    def _preflight_rows(self, run: RunView) -> Iterator[Content]:
        judged = run.state.preflight
        if judged is None:
            return
        blocking = ", ".join(blocking_items(judged))
        detail = f"{blocking} must pass and did not" if blocking else f"{len(judged.warnings)} warned"
        overridden = f" (overridden: {judged.override})" if judged.override else ""
        yield self._row(judged.verdict, "preflight (8)", f"{detail}{overridden}")

    def _check_rows(self, run: RunView) -> Iterator[Content]:
        if not run.state.checks:
            yield self.say("sanity checks follow every epoch", "$foreground-muted")
            return
        epoch = max(run.state.checks)
        for name, judged in run.state.checks[epoch].items():
            yield self._row(judged.verdict, _LABELS.get(name, name), judged.detail)

    def _note_rows(self, run: RunView) -> Iterator[Content]:
        record = run.latest
        if record is not None:
            epoch = record.epoch
            yield self._note(
                f"epoch {epoch}: {number(record.negatives_per_query, 0)} negatives a query, "
                f"{number(record.masked_candidates, 0)} masked; effective rank {number(record.effective_rank, 0)}"
            )
            if record.queue_negatives_per_query is not None:
                yield self._note(
                    f"queue: {number(record.queue_negatives_per_query, 0)} negatives a query, "
                    f"{number(record.queue_same_topic_share, 2)} of its topic; drift {number(record.queue_drift)}"
                )
            if record.unseen_lift is not None:
                lifts = f"{signed(record.val_lift)} on validation, {signed(record.unseen_lift)} on unseen articles"
                yield self._note(f"lift over the context mean: {lifts}")
            searched, behind = number(record.top1_target), number(record.top1_projected)
            yield self._note(f"top-1 in the searched space {searched}, behind the head {behind}")

    def _floor_rows(self, run: RunView) -> Iterator[Content]:
        if run.state.floors:
            floors = ", ".join(f"{name} {value:.3f}" for name, value in run.state.floors.items())
            yield self._note(f"floors: {floors}")
            best, value = max(run.state.floors.items(), key=lambda pair: pair[1])
            bar = run.gate.at_least
            if run.gate.metric == "val_cosine" and value >= bar:
                yield self._note(f"the gate's {bar:.2f} is below the floor {best}: passing it shows no learning")

    def _eval_rows(self, run: RunView) -> Iterator[Content]:
        for name, life in run.jobs.items():
            if life.is_busy:
                yield self.say(f"{name} is under way", "$text-accent")
            elif life.exit is not None and has_failed(life):
                reason = life.exit.last_line or life.exit.kind
                yield self._row("undecidable", name, f"could not run: {reason}")
        for name, report in run.evals.items():
            asked = f" of {report.asked} asked" if report.asked > report.num_queries else ""
            yield self._note(f"{name}: {report.num_queries} queries{asked}; {report.payload_rule}")
            for gate in report.gates:
                yield self._row(gate.verdict, RETRIEVAL_LABELS[gate.name], gate.detail)
            for row in ("model", "reranked", "context_mean", "oracle"):
                if row in report.rows:
                    figures = report.rows[row].exact
                    words = f"R@5 {figures.r5:.3f}  Contain@50 {figures.contain50:.3f}  Eff@5 {figures.eff5:.3f}"
                    label = "model + head" if row == "model" and report.head else row
                    is_judged = report.rows[row] is report.judged and "reranked" in report.rows
                    yield self._note(f"  {label:13}{words}{'  (judged)' if is_judged else ''}")
            yield self._note(f"  index {report.index.kind}, recall@50 against exact {number(report.index.recall50)}")

    def _fitted_rows(self, run: RunView) -> Iterator[Content]:
        for name, report in (("alignment head", run.head), ("reranker", run.reranker)):
            if report is not None:
                outdated = "of an older checkpoint; fit it once more: " if run.is_outdated(report) else ""
                yield self._row("passed" if report.lifted else "missed", name, outdated + report.verdict)

    def _row(self, verdict: str, name: str, detail: str, *, word: bool = False) -> Content:
        return Content.assemble(
            verdict_mark(verdict, plain=self.plain, word=word),
            " ",
            self.say(name, "bold"),
            "  ",
            self.say(detail),
        )

    def _note(self, text: str) -> Content:
        return self.say(text, "$foreground-muted")
