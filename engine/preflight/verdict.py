"""What follows from a report: lines for people, an event, and whether it may be trained."""

from __future__ import annotations

import logging

import msgspec

from engine.run.convert import ConfigError
from engine.run.events import PreflightJudged
from engine.run.files import write_atomically
from engine.run.preflight import PreflightItem, PreflightReport
from engine.training.recorder import Recorder, log


def describe(item: PreflightItem) -> str:
    """`[PREFLIGHT] near_duplicates PASSED: ...`"""
    return f"[PREFLIGHT] {item.name} {item.verdict.upper()}: {item.detail}"


def verdict_event(report: PreflightReport) -> PreflightJudged:
    """The report as an event."""
    return PreflightJudged(
        verdict="missed" if report.blocking else "passed",
        blocking=[f"{item.name}: {item.detail}" for item in report.blocking],
        warnings=[f"{item.name}: {item.detail}" for item in report.warnings],
        override=report.override,
    )


def needs_verdict(known: PreflightJudged | None) -> bool:
    """Whether a run must be looked at: not where it passed before, or was allowed for a written reason."""
    return known is None or (known.verdict != "passed" and not known.override)


def write_report(report: PreflightReport) -> bytes:
    """The report as it is stored."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def act_on(report: PreflightReport, recorder: Recorder, reason: str) -> None:
    """Store and say what was found.

    Args:
        report: the findings.
        recorder: of the run.
        reason: why it may be trained although something blocks; empty for none.

    Raises:
        ConfigError: something blocks, and no reason was given.
    """
    report = msgspec.structs.replace(report, override=reason if report.blocking else "")
    write_atomically(recorder.run.preflight_file, write_report(report))
    remarkable = [*report.blocking, *report.warnings]
    for item in report.items:
        log.log(logging.WARNING if item in remarkable else logging.INFO, "%s", describe(item))
    event = verdict_event(report)
    recorder.write(event)
    if not report.blocking:
        return
    names = ", ".join(item.name for item in report.blocking)
    if reason:
        recorder.warn(f"preflight: {names} did not pass, and it is trained all the same. The reason given: {reason}")
        return
    raise ConfigError(
        f"preflight: {'; '.join(event.blocking)}. Nothing was trained. Mend that, or give a written reason: "
        f"lvm-engine train --run-dir {recorder.run.path} --override-preflight REASON; in the room, "
        f"lvm-tui start {recorder.spec.name} --override REASON"
    )
