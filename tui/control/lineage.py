"""Who came of whom: the families of runs, each child with the patch that made it and what that brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from engine.run.settings import Patch
from tui.control.journal import Decision, Outcome
from tui.control.ladder import gate_value
from tui.control.outcomes import outcomes_of, restart_outcome
from tui.control.views import RunView


class Kin(Struct, frozen=True, kw_only=True):
    """A run and what came of it."""

    run: str
    fix: str
    """Title of the fix that made it; empty for a run that none made."""
    patch: Patch
    who: str
    """Who restarted it; empty where the journal does not say."""
    at_gate: float | None
    """The gate's metric at the gate's epoch."""
    outcome: Outcome | None
    """Against the run that it was patched from; None while it is not known."""
    children: list[Kin]


def families(views: Sequence[RunView], records: Sequence[Decision]) -> list[Kin]:
    """The roots, oldest first; a run whose parent is gone is one.

    Args:
        views: every run, oldest first.
        records: of the journal, oldest first.
    """
    by_id = {view.id: view for view in views}
    outcomes = outcomes_of(records, views)
    made = {entry.child: entry for entry in records if entry.action == "restart" and entry.phase == "done"}
    children: dict[str | None, list[RunView]] = {}
    for view in views:
        children.setdefault(view.spec.parent if view.spec.parent in by_id else None, []).append(view)

    def kin(view: RunView) -> Kin:
        decision, parent = made.get(view.id), by_id.get(view.spec.parent or "")
        fresh = restart_outcome(view, parent) if parent else None
        return Kin(
            run=view.id,
            fix=view.spec.fix or "",
            patch=view.spec.patch,
            who=decision.who if decision else "",
            at_gate=gate_value(view),
            outcome=outcomes.get(decision.id, fresh) if decision else fresh,
            children=[kin(child) for child in children.get(view.id, [])],
        )

    return [kin(view) for view in children.get(None, [])]


def family_lines(roots: Iterable[Kin], depth: int = 0) -> Iterator[tuple[int, str]]:
    """Each run with its depth below its root, in words: a child stands below the run it was patched from."""
    for kin in roots:
        fix = f", {kin.fix}" if kin.fix else ""
        judged = "not judged at the gate" if kin.at_gate is None else f"{kin.at_gate:.3f} at the gate"
        standing = kin.outcome.words if kin.outcome else judged
        yield depth, f"{kin.run}{fix}: {standing}"
        yield from family_lines(kin.children, depth + 1)
