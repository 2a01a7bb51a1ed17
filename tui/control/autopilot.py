"""The autopilot: walks the playbook alone for one family of runs, within limits, and journals every step.

What crashed is resumed, after a pause; what ails is mended, the likeliest cause first; else the playbook's next step is
taken, the ladder by measurement where it may probe. It keeps nothing of its own. What it has done is in the journal, so
that one that is started again after a crash goes on where it was, and takes no step twice. A person's step on the
family ends it: from then on the family is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.run.convert import ConfigError
from engine.run.runs_file import AutopilotConfig
from engine.run.state import Status
from tui.control.actions import JOURNALED_AS, Actions
from tui.control.diagnosis.catalogue import load_catalogue
from tui.control.jobs import JOBS, make_job
from tui.control.journal import Decision
from tui.control.ladder import family, probe_of
from tui.control.mending import ailing, carry_out, check_mend, waits_for_the_gate
from tui.control.plans import RefusedError
from tui.control.views import RunView

HOUR_S = 3600.0
TAKES_OVER = {"restart", "undo", "stop", "kill", "resume"}
"""What a person does to a family that makes it theirs; looking and evaluating does not."""
CRASHED = {Status.FAILED, Status.LOST}
PAUSE_S = 30.0
"""Before the first resume; what crashed at once will crash at once again, and the machine may need to recover."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a look came to."""

    words: str
    """What it did, waits for, or ended on."""
    acted: bool = False
    is_over: bool = False
    """It will not act on this family again."""


class Autopilot:
    """Acts for one family.

    Args:
        actions: on behalf of the autopilot (`who` of the journal).
        root_id: any run of the family.
        config: its limits.
        began: Unix time of its first look; the journal may know of an earlier one.
    """

    def __init__(self, actions: Actions, root_id: str, config: AutopilotConfig, began: float) -> None:
        self._actions = actions
        self._root_id = root_id
        self._config = config
        self._began = began

    def look(self, views: Sequence[RunView], now: float) -> Turn:
        """Look at the family once, and take the playbook's next step if there is one to take.

        Args:
            views: every run, oldest first.
            now: Unix time.
        """
        by_id = {view.id: view for view in views}
        if self._root_id not in by_id:
            return Turn(f"{self._root_id} is gone", is_over=True)
        members = family(by_id[self._root_id], views)
        steps = self._steps(members)
        ended = self._why_over(members, steps, now)
        if ended:
            return Turn(ended, is_over=True)
        if is_quiet(self._config.quiet, now):
            return Turn(f"quiet hours, {self._config.quiet}")
        run = members[-1]
        busy = [name for name, life in run.jobs.items() if life.is_busy]
        if busy:
            return Turn(f"{run.id}: {busy[0]} is under way")
        turn = self._after_a_crash(run, steps, now) or self._mended(run, views, steps)
        if turn is not None:
            return turn
        position = self._actions.position(run, views)
        wanted = [action for action in position.auto if not self._is_needless(action, run, views)]
        is_waiting = run.status.is_alive or run.status is Status.QUEUED
        if not wanted:
            return Turn(f"{run.id}: {position.title}", is_over=not is_waiting)
        allowed = [action for action in wanted if action in self._config.allow]
        if not allowed:
            missing = ", ".join(wanted)
            words = f"{run.id}: {position.title}; {missing} is not among [autopilot] allow"
            return Turn(words, is_over=not is_waiting)
        left = [action for action in allowed if not any(self._is_same(step, action, run) for step in steps)]
        if not left:
            tried = ", ".join(allowed)
            return Turn(f"{run.id}: {tried} was tried and did not lead on: a person has to look", is_over=True)
        if left[0] == "restart":
            turn = self._probed(run, members, steps)
            if turn is not None:
                return turn
        return self._act(left[0], run, views, position.evidence)

    def _after_a_crash(self, run: RunView, steps: Sequence[Decision], now: float) -> Turn | None:
        """Go on from the newest checkpoint, after a pause that doubles with every crash; None where it did not crash,
        or there is nothing to go on from."""
        own_kill = run.status is Status.STOPPED and any(step.run == run.id and step.action == "kill" for step in steps)
        is_crash = run.status in CRASHED and not run.is_blocked and run.state.non_finite is None
        if not (own_kill or is_crash) or "resume" not in self._config.allow:
            return None
        try:
            self._actions.check_resume(run)
        except RefusedError:
            return None
        due = run.state.last_t + PAUSE_S * 2 ** _resumes(steps)
        if now < due:
            return Turn(f"{run.id}: {run.status.lower()} ({run.reason}); resumed in {due - now:.0f} s")
        return self._try(run, "resume", lambda: self._resume(run))

    def _resume(self, run: RunView) -> str:
        self._actions.resume(run.directory)
        return f"{run.id}: resumed from its checkpoint ({run.reason or run.status.lower()})"

    def _mended(self, run: RunView, views: Sequence[RunView], steps: Sequence[Decision]) -> Turn | None:
        """Apply the remedy of what ails the run; None where nothing does, or the playbook may know more."""
        found = ailing(run)
        if found is None or (
            run.status.is_alive and run.gate_judgement(run.gate).verdict == "pending" and waits_for_the_gate(found)
        ):
            return None
        try:
            plan = check_mend(self._actions, run, views)
        except RefusedError as refusal:
            is_persons = not load_catalogue()[found.signature].mend
            return Turn(f"{run.id}: {refusal}: a person has to look", is_over=True) if is_persons else None
        allowed = "mend" if plan.restart is not None else plan.does
        if allowed not in self._config.allow or any(self._is_same(step, plan.does, run) for step in steps):
            return None

        def mend() -> str:
            child = carry_out(plan, run, self._actions)
            what = f"restarted as {child} with {plan.change}" if child else f"{plan.does} has started"
            return f"{run.id}: {what} (remedy of {found.signature})"

        return self._try(run, plan.does, mend)

    def _probed(self, run: RunView, members: Sequence[RunView], steps: Sequence[Decision]) -> Turn | None:
        """Measure the ladder before it is climbed; None where that was done, or may not be."""
        report = probe_of((run, *reversed(members)))
        if report is not None and not report.fix:
            return Turn(f"{run.id}: {report.recommendation[0]}: a person has to look", is_over=True)
        if report is not None or "probe" not in self._config.allow:
            return None
        if any(step.action == "probe" and step.run == run.id for step in steps):  # it came to no end
            return None
        try:
            intent = self._actions.plan_probe(run)
        except RefusedError:
            return None

        def probe() -> str:
            self._actions.probe(intent)
            return f"{run.id}: its ladder is being probed, {len(intent.tries)} tries"

        return self._try(run, "probe", probe)

    def _try(self, run: RunView, action: str, act: Callable[[], str]) -> Turn:
        """Act; what comes of it in words."""
        try:
            return Turn(act(), acted=True)
        except RefusedError as refusal:
            return Turn(f"{run.id}: {action} does not apply: {refusal}")
        except (ConfigError, OSError) as error:
            return Turn(f"{run.id}: {action} failed: {error}", is_over=True)

    def _is_needless(self, action: str, run: RunView, views: Sequence[RunView]) -> bool:
        """A baseline is started once, and bounds every run on the same data."""
        situation = self._actions.situation(run, views)
        is_bounded = run.spec.name == situation.baseline_name or situation.baseline is not None
        return action == "start_baseline" and is_bounded

    def _act(self, action: str, run: RunView, views: Sequence[RunView], evidence: list[str]) -> Turn:
        why = evidence[-1] if evidence else "the playbook's next step"

        def act() -> str:
            if action == "restart":
                plan = self._actions.plan_restart(run, views)
                child = self._actions.restart(plan)
                return f"{run.id}: restarted as {child.id} with {plan.rung.words} ({why})"
            if action == "start_baseline":
                baseline = self._actions.start(self._actions.file.room.compare[1], only_one=True)
                return f"{baseline.id}: started, the baseline of {run.id}"
            self._actions.start_job(run, next(job for job in JOBS if job == action))
            return f"{run.id}: {action} has started ({why})"

        return self._try(run, action, act)

    def _steps(self, members: Sequence[RunView]) -> list[Decision]:
        """Decisions about the family, one record each, the newest state of it."""
        ids = {view.id for view in members}
        outcomes = {entry.id: entry for entry in self._actions.journal.read()}
        return [entry for entry in outcomes.values() if entry.run in ids or entry.child in ids]

    def _why_over(self, members: Sequence[RunView], steps: Sequence[Decision], now: float) -> str:
        """Why it may act no more; empty while it may."""
        own = [step for step in steps if step.who == "autopilot"]
        theirs = [step for step in steps if step.who != "autopilot" and step.t > self._began]
        taken = [step for step in theirs if step.action in TAKES_OVER]
        if taken:
            return f"a person took over: {taken[-1].action} of {taken[-1].run}"
        started = [step.child for step in own if step.action in {"restart", "start"} and step.phase == "done"]
        bad = [view.id for view in members if view.status in CRASHED and (view.id in started or view is members[-1])]
        crashes = len(bad) + _resumes(steps)
        limits = self._config
        if bad and crashes > limits.max_crashes:
            return f"{crashes} crashes, the last of {bad[-1]}; max_crashes = {limits.max_crashes}"
        if len(started) >= limits.max_runs:
            return f"it has started {len(started)} runs; max_runs = {limits.max_runs}"
        if now - min([self._began, *(step.t for step in own)]) > limits.max_hours * HOUR_S:
            return f"max_hours = {limits.max_hours:g} have passed"
        return ""

    def _is_same(self, step: Decision, action: str, run: RunView) -> bool:
        """Whether a step of the journal is this very action: a second one would lead nowhere else."""
        if step.run != run.id:
            return False
        if action in {"restart", "kill"}:
            return step.action == action and step.phase == "done"
        if action not in JOBS or step.phase == "failed":
            return False
        job = next(job for job in JOBS if job == action)
        name = make_job(job, run, self._actions.index_dir).name
        return step.action == JOURNALED_AS[job] and step.detail == name


def _resumes(steps: Sequence[Decision]) -> int:
    """How often it has resumed a run of the family."""
    return sum(step.action == "resume" and step.who == "autopilot" for step in steps)


def is_quiet(hours: str, now: float) -> bool:
    """Whether a time lies in `22:00-07:00`, local time; the end is not in it, and an empty text holds nothing."""
    if not hours:
        return False
    start, _, end = hours.partition("-")
    clock = time.strftime("%H:%M", time.localtime(now))
    return start <= clock < end if start <= end else clock >= start or clock < end
