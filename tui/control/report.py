"""What the command line says of runs: the `status --json` record, and the same as a table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from engine.run.gates import Judgement
from engine.run.launch import JobSeen
from engine.run.settings import Gate
from tui.control.timeline import timeline
from tui.control.views import RunView

STATUS_SCHEMA = 1
TABLE_NOTE, TABLE_JOB = 40, 60
"""Characters of a note, and of what is known of a job, that a line of the table has; the record has all."""


def status_record(views: Sequence[RunView]) -> dict[str, Any]:
    """Every run as plain data, for `status --json`."""
    return {"schema": STATUS_SCHEMA, "runs": [_run_record(view, time.time()) for view in views]}


def status_table(views: Sequence[RunView]) -> list[str]:
    """Every run as a line of text."""
    now = time.time()
    records = [_row_record(view, now) for view in views]
    # a column for those who have a scheduler, none for the others
    has_jobs = any(run["job"] for run in records)
    rows = [("RUN", "STATE", "EPOCH", "VAL_COSINE", "BEST", "GATE", "ETA", *(("JOB",) * has_jobs), "PARENT", "NOTE")]
    for run in records:
        gates = ", ".join(f"{gate['name']} {gate['verdict']}" for gate in run["gates"])
        rows.append(
            (
                run["id"],
                run["state"],
                f"{run['epoch']}/{run['epochs']}",
                number(run["val_cosine"]),
                number(run["best_val_cosine"]),
                gates or "-",
                duration(run["eta_s"]),
                *((_job_words(run)[:TABLE_JOB],) * has_jobs),
                run["parent"] or "-",
                run["note"][:TABLE_NOTE] or "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _job_words(run: dict[str, Any]) -> str:
    job = run["job"]
    return " ".join(filter(None, (run["launcher"], job["id"], job["state"], job["reason"]))) if job else "-"


def number(value: float | None) -> str:
    """Three digits, or a dash where there is no number."""
    return "-" if value is None else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """`48s`, `12m`, `3h41`; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 100:
        return f"{whole}s"
    minutes = whole // 60
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02d}"


def age(seconds: float | None) -> str:
    """`now` within the first minute, then `12m`, `3h`, `5d`, `2y`; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes = int(seconds // 60)
    for length, unit in ((1, "m"), (60, "h"), (1440, "d"), (525_600, "y")):
        if minutes < length * (2 if unit == "y" else 1):
            break
        told = f"{minutes // length}{unit}"
    return told if minutes else "now"


def _run_record(view: RunView, now: float) -> dict[str, Any]:
    timed = [milestone.record() for milestone in timeline(view, now)]
    return _row_record(view, now) | {"floors": view.state.floors, "timeline": timed}


def _row_record(view: RunView, now: float) -> dict[str, Any]:
    """What a brief of a run that has ended knows, too."""
    latest, best = view.latest, view.best
    return {
        "id": view.id,
        "name": view.spec.name,
        "model": view.spec.config.model.kind,
        "state": str(view.status),
        "reason": view.reason,
        "epoch": latest.epoch if latest else 0,
        "epochs": view.spec.config.epochs,
        "val_cosine": latest.val_cosine if latest else None,
        "best_val_cosine": best.val_cosine if best else None,
        "gates": [_gate_record(gate, view.gate_judgement(gate)) for gate in view.spec.gates],
        "parent": view.spec.parent,
        "note": view.note,
        "tags": list(view.tags),
        "archived": view.archived,
        "launcher": view.spec.config.launcher,
        "job": _job_record(view),
        "eta_s": view.eta_s(view.spec.config.epochs, now),
    }


def _job_record(view: RunView) -> dict[str, Any] | None:
    """The run's job with a scheduler, as far as it is known; None for a run of this machine."""
    launch, job = view.life.launch, view.life.job or JobSeen()
    if launch is None:
        return None
    return {
        "id": launch.job_id or job.job_id,
        "name": launch.nonce,
        "state": job.state,
        "reason": job.problem or launch.why or job.reason,
        "priority": job.priority,
        "starts": job.starts,
        "nodes": job.nodes,
    }


def _gate_record(gate: Gate, judged: Judgement) -> dict[str, Any]:
    return {
        "name": gate.name,
        "epoch": gate.epoch,
        "value": judged.value,
        "bar": judged.bar,
        "verdict": judged.verdict,
    }
