"""What the command line says of a diagnosis: the `diagnose --json` record, and the same as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from tui.control.diagnosis.catalogue import load_catalogue
from tui.control.diagnosis.diagnose import Diagnosis, has_alarm
from tui.control.ladder import Rung
from tui.control.playbook import Position
from tui.control.views import RunView

SCHEMA = 1
WIDTH = 79
"""Columns of the text, so that nothing wraps on a terminal of 80."""


def diagnosis_record(run: RunView, found: list[Diagnosis], position: Position) -> dict[str, Any]:
    """What is diagnosed, as plain data; the most likely cause comes first, and an empty list is healthy."""
    return {
        "schema": SCHEMA,
        "position": position.node,
        "gate": {
            "name": run.gate.name,
            "verdict": run.gate_judgement(run.gate).verdict,
            "detail": gate_words(run),
        },
        "diagnoses": [
            {
                "signature": diagnosis.signature,
                "cause": diagnosis.cause,
                "evidence": list(diagnosis.evidence),
                "confidence": diagnosis.confidence,
                "remedy": remedy_words(diagnosis, position.rungs),
                "action": diagnosis.action,
                "explained_by": diagnosis.explained_by,
                "level": "note" if diagnosis.is_note else "alarm",
            }
            for diagnosis in found
        ],
        "next": {
            "title": position.title,
            "say": position.say,
            "actions": list(position.actions),
            "evidence": position.evidence,
        },
    }


def diagnosis_lines(run: RunView, found: list[Diagnosis], position: Position) -> list[str]:
    """The same for people, at most `WIDTH` columns wide."""
    reason = f" ({run.reason})" if run.reason else ""
    done = run.latest.epoch if run.latest else 0
    best = run.state.best
    value = f", val_cosine {best.val_cosine:.4f} at best (epoch {best.epoch})" if best and best.val_cosine else ""
    lines = _wrapped(f"{run.id}  {run.status}{reason}, {done} epochs{value}")
    lines += _wrapped(f"gate {run.gate.name} {run.gate_judgement(run.gate).verdict}: {gate_words(run)}")
    if not has_alarm(found):
        lines += ["", "No failure signature fires on what is on record."]
    for number, diagnosis in enumerate(found, start=1):
        lines += ["", *_one(number, diagnosis, position.rungs)]
    lines += ["", *_wrapped(f"Next: {position.title}")]
    for words in position.evidence:
        lines += _wrapped(words, "  - ")
    lines += _wrapped(position.say, "  ")
    if position.actions:
        lines += _wrapped(f"actions: {', '.join(position.actions)}", "  ")
    return lines


def gate_words(run: RunView) -> str:
    """The gate's number, bar and margin; where it was missed, whether it has risen since."""
    judged = run.gate_judgement(run.gate)
    if judged.verdict != "missed" or judged.value is None:
        return judged.detail
    later = [
        (record.epoch, value)
        for record in run.state.epochs
        if record.epoch > run.gate.epoch and (value := getattr(record, run.gate.metric)) is not None
    ]
    if not later:
        return judged.detail
    epoch, highest = max(later, key=lambda pair: pair[1])
    since = next((epoch for epoch, value in later if value >= judged.bar), None)
    if since is not None:
        return f"{judged.detail}; rising, and at the bar by epoch {since}"
    trend = f"rising, {highest:.3f} at epoch {epoch}" if highest > judged.value else "not risen since"
    return f"{judged.detail}; {trend}"


def remedy_words(diagnosis: Diagnosis, rungs: Iterable[Rung]) -> str:
    """The remedy, and its number where a fix of the ladder that was not tried yet is just that.

    Args:
        diagnosis: what fired.
        rungs: the ladder as it stands for the run's family.
    """
    patches = [mend.patch for mend in load_catalogue()[diagnosis.signature].mend]
    fixes = (rung.number for rung in rungs if rung.standing in {"next", "open"} and rung.patch in patches)
    number = next(fixes, None)
    is_fix = "" if number is None else f" It is fix {number} of the ladder: `lvm-tui triage ID --fix {number}`."
    return diagnosis.remedy + is_fix


def _one(number: int, diagnosis: Diagnosis, rungs: Iterable[Rung]) -> list[str]:
    kind = "note" if diagnosis.is_note else f"{diagnosis.confidence:.0%} sure"
    symptom = f", a symptom of {diagnosis.explained_by}" if diagnosis.explained_by else ""
    lines = _wrapped(f"{number}. {diagnosis.signature} ({kind}{symptom})")
    lines += _wrapped(diagnosis.cause, "   ")
    for words in diagnosis.evidence:
        lines += _wrapped(words, "   - ")
    action = f" [{diagnosis.action}]" if diagnosis.action else ""
    return lines + _wrapped(f"Remedy: {remedy_words(diagnosis, rungs)}{action}", "   ")


def _wrapped(text: str, lead: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead) or "  ")
