"""What a run can be asked for: its fields in words, its settings and its numbers. Cheap enough for a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from engine.run.evals import EvalReport
from engine.run.events import EpochRecord
from engine.run.settings import DataConfig, RunConfig
from engine.run.spec import RunSpec, resolved_settings
from engine.run.state import Status
from tui.control.answers import newest_eval
from tui.control.views import RunView

FIELDS: dict[str, Callable[[RunView], Iterable[str]]] = {
    # a field without a value has nothing to find, whatever is looked for
    "id": lambda view: [view.id],
    "name": lambda view: [view.spec.name],
    "model": lambda view: [view.spec.config.model.kind],
    "status": lambda view: [view.status],
    "gate": lambda view: [view.gate_judgement(gate).verdict for gate in view.spec.gates],
    "note": lambda view: [view.note] if view.note else [],
    "tag": lambda view: view.tags,
    "parent": lambda view: [view.spec.parent] if view.spec.parent else [],
    "fix": lambda view: [view.spec.fix] if view.spec.fix else [],
    "is": lambda view: [word for word, holds in _STANDINGS.items() if holds(view)],
}
"""The words of a run, by the key that asks for them."""
_STANDINGS: dict[str, Callable[[RunView], bool]] = {
    "alive": lambda view: view.status.is_alive,
    "archived": lambda view: view.archived,
    "evaluated": lambda view: view.brief.is_evaluated if view.brief else bool(view.evals),
}
WORDS: dict[str, tuple[str, ...]] = {
    "gate": ("passed", "missed", "pending", "undecidable"),
    "status": tuple(status.lower() for status in Status),
    "is": tuple(_STANDINGS),
}
"""All that a field can say, where it is one of few words."""
RETRIEVAL = ("r5", "contain50", "eff5")
"""Figures of `retrieval_report`."""
NUMBERS = (*EpochRecord.__struct_fields__, "best_val_cosine", *RETRIEVAL)
"""What a run was measured to be: at its last epoch, unless the name says otherwise."""


@cache
def settings_by_default() -> dict[str, Any]:
    """The keys that every run has, with what a setting is when nobody sets it: its type tells how it compares."""
    return resolved_settings(RunSpec(id="", name="", created="", config=RunConfig(), data=DataConfig()))


def setting_of(view: RunView, dotted: str) -> Any:
    """A run's setting; None where it has no such one."""
    section: Any = view.spec.config
    path = dotted.split(".")
    if path[0] == "data":
        section, path = view.spec.data, path[1:]
    for part in path:
        section = getattr(section, part, None)
    return section


def number_of(view: RunView, name: str) -> float | None:
    """A number of NUMBERS; None where it was not measured."""
    if name == "best_val_cosine":
        return view.best.val_cosine if view.best else None
    if name in RETRIEVAL:
        if view.brief is not None:
            return view.brief.retrieval.get(name)
        report = retrieval_report(view)
        return float(getattr(report.rows["model"].exact, name)) if report else None
    value = getattr(view.latest, name) if view.latest else None
    return None if value is None else float(value)


def retrieval_report(view: RunView) -> EvalReport | None:
    """The newest smoke evaluation, which runs have alike; else the newest full one."""
    report = newest_eval(view, "smoke") or newest_eval(view, "full")
    return report if report and "model" in report.rows else None


def age_s(view: RunView, now: float) -> float | None:
    """Seconds since it was launched; None where its spec does not say when that was."""
    try:
        created = datetime.fromisoformat(view.spec.created)
    except ValueError:
        return None
    moment = created if created.tzinfo else created.replace(tzinfo=UTC)
    return max(0.0, now - moment.timestamp())
