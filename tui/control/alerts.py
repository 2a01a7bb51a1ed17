"""Alerts: what a person wants to be told the moment it happens, to a run or by an autopilot. `news` finds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from engine.run.state import Status
from tui.control.answers import RETRIEVAL_LABELS, blocking_items
from tui.control.jobs import has_failed
from tui.control.journal import Decision
from tui.control.noticed import UNSEEN, Alert, Seen, Severity
from tui.control.views import RunView

ENDINGS = {Status.FINISHED, Status.STOPPED, Status.FAILED, Status.LOST, Status.STALLED}
"""States that are news."""


def look(view: RunView) -> Seen:
    """What there is to notice now."""
    if view.brief is not None:
        return view.brief.seen
    return Seen(
        view.status,
        frozenset(view.state.gates),
        frozenset(_reports(view)),
        _failed_jobs(view),
        view.state.non_finite is not None,
    )


def alerts_since(before: Seen | None, view: RunView) -> list[Alert]:
    """What happened to `view` since `before`; nothing where that is None, for a run that was there at first."""
    if before is None:
        return []
    if before is UNSEEN and view.brief is not None:
        return view.brief.alerts
    alerts = [*_of_training(before, view), *_of_jobs(before, view)]
    if view.status is not before.status and view.status in ENDINGS:
        alerts.append(_ending(view))
    return alerts


def history(views: Iterable[RunView], records: Iterable[Decision], *, most: int = 200) -> list[Alert]:
    """All that has happened, newest first, whether anybody was told or not.

    Args:
        views: of the runs.
        records: of the journal.
        most: how many are kept.
    """
    of_runs = [alert for view in views for alert in alerts_since(UNSEEN, view)]
    by_autopilots = filter(None, map(of_decision, records))
    return sorted([*of_runs, *by_autopilots], key=lambda alert: alert.t, reverse=True)[:most]


def of_decision(entry: Decision) -> Alert | None:
    """What a new record of the journal says of an autopilot; None for what a person did."""
    if entry.phase == "intent":
        return None
    if entry.action == "autopilot":
        return Alert(entry.run, "AUTOPILOT OVER", entry.detail, "warning", entry.t)
    if entry.who != "autopilot":
        return None
    if entry.phase == "failed":
        return Alert(entry.run, "AUTOPILOT FAILED", f"{entry.action}: {entry.detail}", "error", entry.t)
    patch = ", ".join(f"{key} = {value}" for key, value in entry.patch.items())
    did = [entry.action, entry.detail, f"→ {entry.child}" if entry.child else "", f"with {patch}" if patch else ""]
    why = f" ({entry.evidence[-1]})" if entry.evidence else ""
    about = entry.child if entry.action == "start" else entry.run  # which is a table of runs.toml there
    return Alert(about, "AUTOPILOT ACTED", " ".join(filter(None, did)) + why, "information", entry.t)


def _of_training(before: Seen, view: RunView) -> Iterator[Alert]:
    for name in sorted(frozenset(view.state.gates) - before.gates):
        judged = view.state.gates[name]
        severity: Severity = "information" if judged.verdict == "passed" else "warning"
        yield Alert(view.id, f"{name} {judged.verdict.upper()}", judged.detail, severity, judged.t)
    if view.state.non_finite is not None and not before.is_non_finite:
        found = view.state.non_finite
        text = f"{found.what} was {found.value} at step {found.step}; the optimizer did not move"
        yield Alert(view.id, "NOT FINITE", text, "error", found.t)


def _of_jobs(before: Seen, view: RunView) -> Iterator[Alert]:
    reports = _reports(view)
    for key in sorted(reports.keys() - before.reports):
        # the look before a training is told by how that goes on
        if reports[key][0] != "PREFLIGHT" or "preflight" in view.jobs:
            yield Alert(view.id, *reports[key])
    for name in sorted(_failed_jobs(view) - before.failed_jobs):
        job = view.jobs[name]
        ended, began = job.exit, job.processes.started if job.processes else ""
        text = (ended.last_line or ended.kind) if ended else ""
        yield Alert(view.id, f"{name} COULD NOT RUN", text, "error", _time(began))


def _ending(view: RunView) -> Alert:
    judged = view.state.preflight
    if view.status is Status.FAILED and view.is_blocked and judged is not None:
        items = ", ".join(blocking_items(judged))
        text = f"{items} must pass and did not; nothing was trained. 8 shows how to mend it, 4 what can be done."
        return Alert(view.id, "BLOCKED by the preflight", text, "error", judged.t)
    is_bad = view.status in {Status.FAILED, Status.LOST, Status.STALLED}
    # its last sign of life: nothing writes down when a process was lost
    return Alert(view.id, str(view.status), view.reason, "error" if is_bad else "information", view.state.last_t)


def _time(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0


def _failed_jobs(view: RunView) -> frozenset[str]:
    """Jobs that ended without a report; exit code 1 is a verdict."""
    return frozenset(name for name, life in view.jobs.items() if has_failed(life))


def _reports(view: RunView) -> dict[str, tuple[str, str, Severity, float]]:
    """Title, text, severity and time of reports, by what made them and when, so that a second one is news again."""
    found: dict[str, tuple[str, str, Severity, float]] = {}
    for name, evaluation in view.evals.items():
        missed = [RETRIEVAL_LABELS[gate.name] for gate in evaluation.gates if gate.verdict != "passed"]
        text = f"missed: {', '.join(missed)}" if missed else "all gates passed"
        mood: Severity = "warning" if missed else "information"
        found[f"EVAL {name} {evaluation.created}"] = (f"EVAL {name}", text, mood, _time(evaluation.created))
    for title, report in (("ALIGN", view.head), ("RERANK", view.reranker)):
        if report is not None:
            severity: Severity = "information" if report.lifted else "warning"
            created = report.judged.created
            found[f"{title} {created}"] = (title, report.verdict, severity, _time(created))
    looked = view.preflight
    if looked is not None:
        items = ", ".join(item.name for item in looked.blocking)
        text = f"{items} must pass and did not" if items else "all that must pass did"
        mood = "warning" if items else "information"
        found[f"PREFLIGHT {looked.created}"] = ("PREFLIGHT", text, mood, _time(looked.created))
    probe = view.probe
    if probe is not None and probe.state != "running":
        text = probe.recommendation[0] if probe.recommendation else "ended before its time; a probe goes on with it"
        mood = "information" if probe.fix else "warning"
        found[f"PROBE {probe.state} {probe.seconds}"] = ("PROBE", text, mood, _time(probe.created))
    return found
