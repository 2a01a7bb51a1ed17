"""What decisions brought: a restart against the run it was patched from, an evaluation its gates, a fit its lift.

Pure: the same record gives the same outcome, whoever looks and when. That is why a restart is measured at the gates of
both runs, and not at whatever either has reached since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from engine.run.directory import Life
from engine.run.evals import EvalReport
from engine.run.events import EpochRecord
from engine.run.heads import DECIDES, HeadReport, Lift, RerankReport
from engine.run.settings import Gate
from engine.run.state import Status
from tui.control.answers import RETRIEVAL_LABELS, newest_eval
from tui.control.jobs import has_failed
from tui.control.journal import Decision, Outcome, measured, measured_ids
from tui.control.ladder import gate_value
from tui.control.plans import Plans
from tui.control.probe.plan import JOB as PROBE_JOB
from tui.control.views import RunView

CLOCK_SLACK_S = 1.0
"""A job's start is stamped in whole seconds, a decision in fractions of them."""


def record_outcomes(plans: Plans, views: Sequence[RunView]) -> list[Decision]:
    """Write down what is known by now and not on record; returns what was written. A reader writes nothing.

    Raises:
        OSError: it cannot be written.
    """
    if plans.readonly:
        return []
    found = due(plans.journal.records(), views)
    return plans.journal.record_once(found) if found else []


def due(records: Sequence[Decision], views: Sequence[RunView]) -> list[Decision]:
    """The records to write of decisions whose outcome is known by now and not on record.

    Args:
        records: of the journal, oldest first.
        views: every run.
    """
    known, by_id = measured_ids(records), {view.id: view for view in views}
    decisions = _decisions(records)
    unknown = [decision for decision in decisions if decision.id not in known]
    outcomes = [(decision, measure(decision, decisions, by_id)) for decision in unknown]
    return [measured(decision, outcome) for decision, outcome in outcomes if outcome is not None]


def outcomes_of(records: Sequence[Decision], views: Sequence[RunView]) -> dict[str, Outcome]:
    """What every decision brought, by its id: as it is on record, else as it can be measured now."""
    fresh = {entry.id: entry.outcome for entry in due(records, views)}
    kept = {entry.id: entry.outcome for entry in records if entry.phase == "measured"}
    return {decision: outcome for decision, outcome in (fresh | kept).items() if outcome is not None}


def measure(decision: Decision, decisions: Sequence[Decision], views: Mapping[str, RunView]) -> Outcome | None:
    """What a decision brought; None while that cannot be known, and for one that brings nothing to measure.

    Args:
        decision: as it ended, stamped with when it was taken.
        decisions: all of them, oldest first: a job's report is the newest's that asked for it.
        views: every run, by its id.
    """
    if decision.phase != "done":
        return None
    if decision.action == "restart":
        child = views.get(decision.child)
        parent = views.get(child.spec.parent or "") if child else None
        return restart_outcome(child, parent) if child and parent else None
    job, run = _job_of(decision), views.get(decision.run)
    newest = next((entry for entry in reversed(decisions) if job and _is_same_job(entry, decision)), None)
    if run is None or newest is None or newest.id != decision.id:
        return None
    life = run.jobs.get(job)
    return _job_outcome(decision, run, life) if life and _has_ended_since(life, decision.t) else None


def restart_outcome(child: RunView, parent: RunView) -> Outcome | None:
    """A child minus the run it was patched from, at the child's gate; None until both were judged there."""
    gate = child.gate
    if child.catching_up or parent.catching_up:
        return None
    after_record, before_record = _record(child, gate.epoch), _record(parent, gate.epoch)
    before = _gate_value(parent, gate)
    if after_record is None and _has_diverged(child):
        return Outcome(words="diverged before the gate", metric=gate.metric, epoch=gate.epoch, before=before)
    if after_record is None or before_record is None:
        return None
    after = _gate_value(child, gate)
    step = min(after_record.step, before_record.step)
    r5_after, r5_before = _r5(child), _r5(parent)
    both = r5_after is not None and r5_before is not None
    outcome = Outcome(
        words="",
        metric=gate.metric,
        epoch=gate.epoch,
        before=before,
        after=after,
        change=_difference(after, before),
        step=step,
        change_at_step=_difference(*(_value_at_step(view, gate.metric, step) for view in (child, parent))),
        r5_before=r5_before if both else None,
        r5_after=r5_after if both else None,
    )
    is_same_step = after_record.step == before_record.step
    return _with_words(outcome, parent, is_same_step=is_same_step)


def _decisions(records: Iterable[Decision]) -> list[Decision]:
    """Each decision as it ended, stamped with when it was taken: a job starts before its launch is known to be done."""
    ended: dict[str, Decision] = {}
    for entry in records:
        if entry.phase != "measured":
            taken = ended.get(entry.id, entry).t
            ended[entry.id] = msgspec.structs.replace(entry, t=taken)
    return list(ended.values())


def _with_words(outcome: Outcome, parent: RunView, *, is_same_step: bool) -> Outcome:
    if outcome.after is None:
        parts = ["no number at the gate"]
    elif outcome.change is None:
        parts = [f"{outcome.after:.3f} at the gate, where {parent.id} has no number"]
    else:
        parts = [f"{outcome.after:.3f} at the gate, {outcome.change:+.3f}"]
    if outcome.change_at_step is not None and not is_same_step:
        parts.append(f"{outcome.change_at_step:+.3f} at the same step, {outcome.step:,}")
    if outcome.r5_after is not None and outcome.r5_before is not None:
        parts.append(f"R@5 {outcome.r5_before:.3f} → {outcome.r5_after:.3f}")
    return msgspec.structs.replace(outcome, words="; ".join(parts))


def _record(view: RunView, epoch: int) -> EpochRecord | None:
    return next((record for record in view.state.epochs if record.epoch == epoch), None)


def _gate_value(view: RunView, gate: Gate) -> float | None:
    """The gate's metric at the gate's epoch, also of a run whose own gate is another one."""
    if (view.gate.metric, view.gate.epoch) == (gate.metric, gate.epoch):
        return gate_value(view)
    return getattr(_record(view, gate.epoch), gate.metric, None)


def _has_diverged(view: RunView) -> bool:
    """Whether it ended on a number that was not finite: resumed, it would do so again."""
    is_over = not view.status.is_alive and view.status is not Status.QUEUED
    return is_over and view.state.non_finite is not None


def _value_at_step(view: RunView, metric: str, step: int) -> float | None:
    """A metric at an optimizer step, on the line between the ends of the epochs around it; None outside of them."""
    known = [(record.step, getattr(record, metric)) for record in view.state.epochs]
    points = sorted((at, value) for at, value in known if value is not None)
    for (left, low), (right, high) in zip(points, points[1:] or points, strict=False):
        if left <= step <= right:
            share = (step - left) / (right - left) if right > left else 0.0
            return float(low + (high - low) * share)
    return None


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _r5(view: RunView) -> float | None:
    report = newest_eval(view, "smoke")
    return report.judged.exact.r5 if report and "model" in report.rows else None


# ── jobs on a run ────────────────────────────────────────────────────────────────────────────────────────────────────


def _job_of(decision: Decision) -> str:
    """The job that a decision started; empty for none."""
    if decision.action == "probe":
        return PROBE_JOB
    return decision.detail if decision.action in {"evaluate", "align", "rerank", "preflight"} else ""


def _is_same_job(decision: Decision, other: Decision) -> bool:
    is_same = decision.run == other.run and _job_of(decision) == _job_of(other)
    return is_same and decision.phase != "failed"  # one that could not be started has left the job as it was


def _has_ended_since(life: Life, began: float) -> bool:
    """Whether the job that a decision started, and not one before it, has come to its end."""
    if life.is_busy or life.exit is None or life.processes is None:
        return False
    try:
        started = datetime.fromisoformat(life.processes.started).timestamp()
    except ValueError:
        return False
    return started + CLOCK_SLACK_S > began


def _job_outcome(decision: Decision, run: RunView, life: Life) -> Outcome | None:
    """What a job has reported; None where its report is gone or damaged."""
    if has_failed(life):
        last = life.exit.last_line or life.exit.kind if life.exit else ""
        return Outcome(words=f"could not run: {last}")
    match decision.action:
        case "evaluate":
            report = run.evals.get(decision.detail)
            return _of_evaluation(report) if report and "model" in report.rows else None
        case "align":
            return _of_fit(run.head) if run.head else None
        case "rerank":
            return _of_fit(run.reranker) if run.reranker else None
        case "probe":
            words = "; ".join(run.probe.recommendation) if run.probe else ""
            return Outcome(words=words or "ended before its time") if run.probe else None
        case _:
            blocking = ", ".join(item.name for item in run.preflight.blocking) if run.preflight else ""
            words = f"{blocking} must pass and did not" if blocking else "all that must pass did"
            return Outcome(words=words) if run.preflight else None


def _of_evaluation(report: EvalReport) -> Outcome:
    figures = report.judged.exact
    missed = [f"{RETRIEVAL_LABELS[gate.name]} {gate.detail}" for gate in report.gates if gate.verdict != "passed"]
    words = f"R@5 {figures.r5:.3f}, Contain@50 {figures.contain50:.3f}; {'; '.join(missed) or 'all gates passed'}"
    return Outcome(words=words, metric=DECIDES, epoch=report.epoch, after=figures.r5)


def _of_fit(report: HeadReport | RerankReport) -> Outcome:
    lift = _lift(report)
    if lift is None:
        return Outcome(words=report.verdict)
    return Outcome(words=report.verdict, metric=DECIDES, before=lift.before, after=lift.after, change=lift.difference)


def _lift(report: HeadReport | RerankReport) -> Lift | None:
    """Of what was saved."""
    if isinstance(report, HeadReport):
        return next((known.lifts.get(DECIDES) for known in report.maps if known.kind == report.saved), None)
    saved = (report.saved, report.features)
    return next((each.lifts.get(DECIDES) for each in report.rerankers if (each.model, each.features) == saved), None)
