"""The autopilot: walks the playbook alone for one family of runs, within limits, and journals every step.

It keeps nothing of its own. What it has done is in the journal, so that one that is started again after a crash goes
on where it was, and takes no step twice. A person's step on the family ends it: from then on the family is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.convert import ConfigError
from engine.run.runs_file import AutopilotConfig
from engine.run.state import Status
from tui.control.actions import JOURNALED_AS, Actions
from tui.control.jobs import JOBS, make_job
from tui.control.journal import Decision
from tui.control.ladder import family
from tui.control.plans import RefusedError
from tui.control.views import RunView

HOUR_S = 3600.0
TAKES_OVER = {"restart", "undo", "stop", "kill", "resume"}
"""What a person does to a family that makes it theirs; looking and evaluating does not."""


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
        position = self._actions.position(run, views)
        busy = [name for name, life in run.jobs.items() if life.lock_held]
        if busy:
            return Turn(f"{run.id}: {busy[0]} is under way")
        wanted = [action for action in position.auto if not self._is_needless(action, run, views)]
        if not wanted:
            is_waiting = run.status.is_alive or run.status is Status.QUEUED
            return Turn(f"{run.id}: {position.title}", is_over=not is_waiting)
        allowed = [action for action in wanted if action in self._config.allow]
        if not allowed:
            missing = ", ".join(wanted)
            return Turn(f"{run.id}: {position.title}; {missing} is not among [autopilot] allow", is_over=True)
        left = [action for action in allowed if not any(self._is_same(step, action, run) for step in steps)]
        if not left:
            tried = ", ".join(allowed)
            return Turn(f"{run.id}: {tried} was tried and did not lead on: a person has to look", is_over=True)
        return self._act(left[0], run, views, position.evidence)

    def _is_needless(self, action: str, run: RunView, views: Sequence[RunView]) -> bool:
        """A baseline is started once, and bounds every run on the same data."""
        situation = self._actions.situation(run, views)
        is_bounded = run.spec.name == situation.baseline_name or situation.baseline is not None
        return action == "start_baseline" and is_bounded

    def _act(self, action: str, run: RunView, views: Sequence[RunView], evidence: list[str]) -> Turn:
        why = evidence[-1] if evidence else "the playbook's next step"
        try:
            if action == "restart":
                plan = self._actions.plan_restart(run, views)
                child = self._actions.restart(plan)
                change = ", ".join(f"{key} = {new}" for key, _old, new in plan.change)
                return Turn(f"{run.id}: restarted as {child.id} with {change} ({why})", acted=True)
            if action == "start_baseline":
                baseline = self._actions.start(self._actions.file.room.compare[1], only_one=True)
                return Turn(f"{baseline.id}: started, the baseline of {run.id}", acted=True)
            job = next(job for job in JOBS if job == action)
            self._actions.start_job(run, job)
        except RefusedError as refusal:
            return Turn(f"{run.id}: {action} does not apply: {refusal}")
        except (ConfigError, OSError) as error:
            return Turn(f"{run.id}: {action} failed: {error}", is_over=True)
        return Turn(f"{run.id}: {action} has started ({why})", acted=True)

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
        bad = [view.id for view in members if view.id in started and view.status in {Status.FAILED, Status.LOST}]
        limits = self._config
        if len(bad) > limits.max_crashes:
            return f"{len(bad)} of its runs failed or were lost ({', '.join(bad)}); max_crashes = {limits.max_crashes}"
        if len(started) >= limits.max_runs:
            return f"it has started {len(started)} runs; max_runs = {limits.max_runs}"
        if now - min([self._began, *(step.t for step in own)]) > limits.max_hours * HOUR_S:
            return f"max_hours = {limits.max_hours:g} have passed"
        return ""

    def _is_same(self, step: Decision, action: str, run: RunView) -> bool:
        """Whether a step of the journal is this very action: a second one would lead nowhere else."""
        if step.run != run.id:
            return False
        if action == "restart":
            return step.action == "restart" and step.phase == "done"
        if action not in JOBS or step.phase == "failed":
            return False
        job = next(job for job in JOBS if job == action)
        name = make_job(job, run, self._actions.index_dir).name
        return step.action == JOURNALED_AS[job] and step.detail == name


def is_quiet(hours: str, now: float) -> bool:
    """Whether a time lies in `22:00-07:00`, local time; the end is not in it, and an empty text holds nothing."""
    if not hours:
        return False
    start, _, end = hours.partition("-")
    clock = time.strftime("%H:%M", time.localtime(now))
    return start <= clock < end if start <= end else clock >= start or clock < end
