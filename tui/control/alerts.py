"""Alerts: what a person wants to be told the moment it happens, found by comparing two moments of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.run.state import Status
from tui.control.views import RunView

Severity = Literal["information", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something happened to a run."""

    run: str
    title: str
    text: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Seen:
    """What had been noticed of a run, so that nothing is told twice."""

    status: Status
    gates: frozenset[str]
    reports: frozenset[str]
    fitted: frozenset[str]
    is_non_finite: bool


def look(view: RunView) -> Seen:
    """What there is to notice now."""
    return Seen(
        view.status,
        frozenset(view.state.gates),
        frozenset(view.evals),
        frozenset(_fitted(view)),
        view.state.non_finite is not None,
    )


def alerts_since(before: Seen | None, view: RunView) -> list[Alert]:
    """What happened to `view` since `before`; nothing for a run that is seen for the first time."""
    if before is None:
        return []
    alerts = []
    for name in sorted(frozenset(view.state.gates) - before.gates):
        judged = view.state.gates[name]
        severity: Severity = "information" if judged.verdict == "passed" else "warning"
        alerts.append(Alert(view.id, f"{name} {judged.verdict.upper()}", judged.detail, severity))
    if view.state.non_finite is not None and not before.is_non_finite:
        found = view.state.non_finite
        text = f"{found.what} was {found.value} at step {found.step}; the optimizer did not move"
        alerts.append(Alert(view.id, "NOT FINITE", text, "error"))
    for name in sorted(frozenset(view.evals) - before.reports):
        missed = [gate.name for gate in view.evals[name].gates if gate.verdict != "passed"]
        outcome = f"missed: {', '.join(missed)}" if missed else "all gates passed"
        alerts.append(Alert(view.id, f"EVAL {name}", outcome, "warning" if missed else "information"))
    fitted = _fitted(view)
    news = sorted(fitted.keys() - before.fitted)
    alerts.extend(Alert(view.id, name, *fitted[name]) for name in news)
    if view.status is not before.status and view.status in {
        Status.FINISHED,
        Status.STOPPED,
        Status.FAILED,
        Status.LOST,
        Status.STALLED,
    }:
        is_bad = view.status in {Status.FAILED, Status.LOST, Status.STALLED}
        alerts.append(Alert(view.id, str(view.status), view.reason, "error" if is_bad else "information"))
    return alerts


def _fitted(view: RunView) -> dict[str, tuple[str, Severity]]:
    """What was fitted after training, with its verdict; named by when, so that a second fit is news again."""
    reports = (("ALIGN", view.head), ("RERANK", view.reranker))
    return {
        f"{name} {report.judged.created}": (report.verdict, "information" if report.lifted else "warning")
        for name, report in reports
        if report is not None
    }
