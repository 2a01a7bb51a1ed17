"""A brief: what lists, alerts and gates say of a run that has ended, small enough to be kept of thousands."""

from __future__ import annotations

import msgspec

from engine.run.events import EpochRecord
from engine.run.gates import Judgement
from tui.control.noticed import Alert, Seen


class Brief(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All that is asked of a run without opening it, made by the code that says it of any other."""

    latest: EpochRecord | None
    best: EpochRecord | None
    curve: list[float | None]
    """val_cosine of every epoch that ended."""
    judged: dict[str, Judgement]
    """Its gates, by name."""
    retrieval: dict[str, float]
    """Those of `run_facts.RETRIEVAL` that were measured."""
    is_evaluated: bool
    seen: Seen
    alerts: list[Alert]
    """All that has happened to it."""
