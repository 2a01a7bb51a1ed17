"""What is noticed of a run: alerts, and what was seen when they were looked for. Data alone; `alerts` finds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.run.state import Status

Severity = Literal["information", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something happened to a run."""

    run: str
    title: str
    text: str
    severity: Severity
    t: float = field(default=0.0, compare=False)
    """Unix time in seconds; 0 where nothing on record says when."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What had been noticed of a run, so that nothing is told twice."""

    status: Status
    gates: frozenset[str]
    reports: frozenset[str]
    """Of jobs, by what made them and when."""
    failed_jobs: frozenset[str]
    is_non_finite: bool


UNSEEN = Seen(Status.QUEUED, frozenset(), frozenset(), frozenset(), is_non_finite=False)
"""Of a run that has only now been made."""
