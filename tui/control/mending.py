"""Mending a run: the remedy of what ails it, as one thing to do, with what it will change and why.

Only the likeliest cause is mended: what follows from it says nothing while it stands. What was tried on the run itself
is not tried on it again; a child that still ails is mended in its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.run.convert import ConfigError
from engine.run.settings import Fix
from engine.run.spec import apply_patch
from tui.control.actions import Actions
from tui.control.answers import newest_eval
from tui.control.diagnosis.catalogue import load_catalogue
from tui.control.diagnosis.diagnose import Diagnosis, diagnose
from tui.control.diagnosis.facts import gather
from tui.control.diagnosis.mends import Mend, MendAction, resolve
from tui.control.jobs import TUNED, lifts
from tui.control.ladder import Rung, is_undone
from tui.control.plans import Plans, RefusedError, RestartPlan
from tui.control.views import RunView

MOST_REPEATS = 3
"""Runs in a row that one signature's remedy may make: a tenth of a tenth of a tenth of a learning rate is enough."""


@dataclass(frozen=True, slots=True)
class MendPlan:
    """What the remedy of a diagnosis will do, before it does it."""

    diagnosis: Diagnosis
    does: MendAction
    restart: RestartPlan | None = None
    """Of a remedy that restarts; None for a job on the run as it is."""

    @property
    def change(self) -> str:
        """What a restart changes, `optimizer.lr = 0.003`; empty for a job."""
        return self.restart.rung.words if self.restart else ""

    def lines(self) -> list[str]:
        """It in words."""
        found = self.diagnosis
        why = [f"{found.signature}, {found.confidence:.0%} sure: {found.cause}", *found.evidence]
        return [*why, *(self.restart.lines() if self.restart else [_JOBS[self.does]])]


_JOBS: dict[MendAction, str] = {
    "restart": "restarts it",
    "resume": "goes on from the newest checkpoint that verifies",
    "kill": "asks it to end, and kills it if it has not after 10 s; it can be resumed then",
    "rerank": "fits a reranker of the first 50, and judges it on other articles",
    "evaluate_fitted": "evaluates behind what was fitted and lifts",
    "evaluate_tuned": "builds an index of its own, tunes it by measurement, and evaluates again",
}


def ailing(run: RunView) -> Diagnosis | None:
    """The likeliest cause of what is wrong with a run; None for a healthy one."""
    return next((found for found in diagnose(gather(run)) if not found.is_note), None)


def waits_for_the_gate(found: Diagnosis) -> bool:
    """Whether a run may go on to its gate with this, so that there is more to judge it by."""
    return not load_catalogue()[found.signature].at_once


def check_mend(plans: Plans, run: RunView, views: Sequence[RunView]) -> MendPlan:
    """The remedy of the likeliest cause, if it can be applied now.

    Args:
        plans: what may be done.
        run: what ails.
        views: every run, oldest first.

    Raises:
        RefusedError: nothing ails it, nothing but a person helps, everything was tried, or it does not apply now.
    """
    plans.refuse_readonly()
    plan = plan_mend(run, views)
    if plan.does == "resume":
        plans.check_resume(run)
    elif plan.does == "kill":
        plans.check_kill(run)
    elif plan.does != "restart":
        plans.check_job(run, plan.does)
    return plan


def carry_out(plan: MendPlan, run: RunView, actions: Actions) -> str:
    """Apply a remedy; returns the id of the child, empty where there is none.

    Raises:
        RefusedError, LaunchError, ConfigError: nothing was done.
    """
    if plan.restart is not None:
        return actions.restart(plan.restart).id
    if plan.does == "resume":
        actions.resume(run.directory)
    elif plan.does == "kill":
        actions.kill(run.directory)
    elif plan.does != "restart":
        actions.start_job(run, plan.does)
    return ""


def plan_mend(run: RunView, views: Sequence[RunView]) -> MendPlan:
    """The remedy of the likeliest cause, whether or not it can be applied now.

    Raises:
        RefusedError: nothing ails it, nothing but a person helps, or everything was tried.
    """
    found = ailing(run)
    if found is None:
        raise RefusedError("no alarm: nothing is there to mend")
    mends = load_catalogue()[found.signature].mends(gather(run))
    if not mends:
        raise RefusedError(f"{found.signature}: no key mends that. {found.remedy}")
    for mend in mends:
        plan = _applied(mend, found, run, views)
        if plan is not None:
            return plan
    raise RefusedError(f"{found.signature}: its remedies are so already, or were tried. {found.remedy}")


def _applied(mend: Mend, found: Diagnosis, run: RunView, views: Sequence[RunView]) -> MendPlan | None:
    """The mend as a plan; None where it would do nothing, or was done."""
    if mend.does != "restart":
        return None if _is_done(mend.does, run) else MendPlan(found, mend.does)
    try:
        patch = resolve(mend, run.spec.config, gather(run))
    except ConfigError:  # a multiple that leaves the setting's range
        return None
    title = f"Remedy of {found.signature}"
    by_id = {view.id: view for view in views}
    tried = [view for view in views if view.spec.parent == run.id and view.spec.patch == patch and not is_undone(view)]
    if not patch or tried or _repeats(run, title, patch.keys(), by_id) >= MOST_REPEATS:
        return None
    fix = Fix(title=title, reason=found.remedy, tries=[patch])
    config = apply_patch(run.spec.config, patch)
    evidence = [f"{found.signature}, {found.confidence:.0%} sure: {words}" for words in found.evidence]
    known = frozenset(by_id)
    return MendPlan(found, "restart", RestartPlan(run, run, Rung(0, fix, patch, "next"), config, evidence, known=known))


def _repeats(run: RunView, title: str, keys: Iterable[str], by_id: Mapping[str, RunView]) -> int:
    """How many runs in a row, back from this one, the same remedy made by the same settings."""
    count = 0
    at: RunView | None = run
    while at is not None and at.spec.fix == title and at.spec.patch.keys() == set(keys):
        count += 1
        at = by_id.get(at.spec.parent or "")
    return count


def _is_done(does: MendAction, run: RunView) -> bool:
    """Whether a job was done on the run's best checkpoint, or is under way, or has nothing to work with."""
    if does == "resume":
        return "last" not in run.state.checkpoints
    if does == "rerank":
        return "reranker" in run.fitted
    if does == "evaluate_fitted":
        report = newest_eval(run, "full-fitted")
        made = [fit.judged.created for fit in run.fitted.values()]
        is_newer = report is not None and all(created <= report.created for created in made)
        return is_newer or not any(map(lifts, run.fitted.values()))
    if does == "evaluate_tuned":
        return any(name.startswith(TUNED) for name in run.evals)
    return False
