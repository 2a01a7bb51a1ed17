"""The ladder of triage fixes: which were tried in a run's family, what each brought, and which one comes next.

A fix is tried on the family's best run at the gate, so that what helped is kept and what did not is dropped; what it
brought is measured against that run at the same epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from engine.run.convert import ConfigError
from engine.run.settings import Fix, Patch, PatchValue, RunConfig
from engine.run.spec import apply_patch, read_setting
from engine.run.state import Status
from tui.control.probe.record import ProbeReport
from tui.control.views import RunView

Standing = Literal["tried", "next", "open", "no change", "verified", "failed check"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One try of one fix, and how it stands."""

    number: int
    """1-based place of the fix in the ladder."""
    fix: Fix
    patch: Patch
    """Empty for a fix that only verifies."""
    standing: Standing
    child: str = ""
    """The run that tried it."""
    effect: float | None = None
    """The gate's metric in the child minus that in its parent, at the gate's epoch."""
    detail: str = ""

    @property
    def words(self) -> str:
        """`loss.temperature = 0.05`."""
        return ", ".join(f"{key} = {value}" for key, value in self.patch.items())

    def change(self, base: RunView) -> list[tuple[str, PatchValue, PatchValue]]:
        """What it changes in `base`: key, old value, new value."""
        return [(key, read_setting(base.spec.config, key), value) for key, value in self.patch.items()]


def family(run: RunView, views: Sequence[RunView]) -> list[RunView]:
    """The run's whole family, from its root on, oldest first."""
    by_id = {view.id: view for view in views}
    root = run
    seen = {run.id}
    while root.spec.parent in by_id and root.spec.parent not in seen:
        root = by_id[root.spec.parent]
        seen.add(root.id)
    members = {root.id}
    for view in views:  # a child is younger than its parent, and views are in order of age
        if view.spec.parent in members:
            members.add(view.id)
    return [view for view in views if view.id in members]


def best_of(members: Sequence[RunView], fallback: RunView) -> RunView:
    """The member that did best at the gate's epoch; `fallback` where none got there."""
    judged = [(value, view) for view in members if (value := gate_value(view)) is not None]
    return max(judged, key=lambda pair: pair[0])[1] if judged else fallback


def gate_value(view: RunView) -> float | None:
    """The gate's metric at the gate's epoch."""
    return view.gate_judgement(view.gate).value


def climb(fixes: Sequence[Fix], run: RunView, views: Sequence[RunView]) -> list[Rung]:
    """Every try of every fix in order, as it stands for this run's family. At most one is `next`.

    That is the first one that is open; where the family was probed, the one that was measured best.
    """
    members = family(run, views)
    base = best_of(members, run)
    by_id = {view.id: view for view in members}
    rungs: list[Rung] = []
    for number, fix in enumerate(fixes, start=1):
        if fix.verify:
            rungs.append(_verified(number, fix, run))
            continue
        for patch in fix.tries:
            child = next((view for view in members if view.spec.patch == patch and not is_undone(view)), None)
            if child is not None:
                effect = _effect(child, by_id.get(child.spec.parent or ""))
                rungs.append(Rung(number, fix, patch, "tried", child.id, effect))
                continue
            blocked = _blocked(base.spec.config, tuple(patch.items()))
            rungs.append(Rung(number, fix, patch, "no change" if blocked else "open", detail=blocked))
    return _with_next(rungs, _measured_order(base, run, members))


def _measured_order(base: RunView, run: RunView, members: Sequence[RunView]) -> list[Patch]:
    """Patches that a probe of the family found to help, the best first; of the base's own probe if there is one."""
    probe = probe_of((base, run, *reversed(members)))
    helping = [row for row in probe.rows if row.verdict == "helps" and row.rank] if probe else []
    return [row.tried.patch for row in sorted(helping, key=lambda row: row.rank)]


def probe_of(views: Iterable[RunView]) -> ProbeReport | None:
    """The first probe that came to its end; None where none did."""
    probes = (view.probe for view in views)
    return next((probe for probe in probes if probe is not None and probe.state == "done"), None)


def _with_next(rungs: list[Rung], measured: Sequence[Patch]) -> list[Rung]:
    """The rungs with one of the open tries made the next."""
    upcoming = [index for index, rung in enumerate(rungs) if rung.standing == "open" and rung.patch]
    if not upcoming:
        return rungs
    best = [index for patch in measured for index in upcoming if rungs[index].patch == patch]
    index = best[0] if best else upcoming[0]
    found = "the probe measured it best" if best else ""
    return [
        *rungs[:index],
        replace(rungs[index], standing="next", detail=found),
        *rungs[index + 1 :],
    ]


@lru_cache(maxsize=256)
def _blocked(config: RunConfig, patch: tuple[tuple[str, PatchValue], ...]) -> str:
    """Why a patch would do nothing to these settings; empty if it would. Asked several times for every look."""
    try:
        if apply_patch(config, dict(patch)) == config:
            return "already so"
    except ConfigError as error:
        return str(error)
    return ""


def _verified(number: int, fix: Fix, run: RunView) -> Rung:
    latest = run.latest
    check = run.state.checks.get(latest.epoch, {}).get(fix.verify) if latest else None
    if check is None:
        reason = "there is no head" if run.spec.config.loss.contrast_space == "target" else "not checked yet"
        return Rung(number, fix, {}, "open", detail=reason)
    return Rung(number, fix, {}, "verified" if check.verdict == "passed" else "failed check", detail=check.detail)


def is_undone(view: RunView) -> bool:
    """A child that ended before its gate, or never began, says nothing of its fix: it may be tried again.

    One that diverged does: it would diverge again.
    """
    has_ended = view.status in {Status.QUEUED, Status.STOPPED, Status.FAILED, Status.LOST}
    return has_ended and gate_value(view) is None and view.state.non_finite is None


def _effect(child: RunView, parent: RunView | None) -> float | None:
    if parent is None:
        return None
    after, before = gate_value(child), gate_value(parent)
    return None if after is None or before is None else after - before
