"""RunState: what is known of a run, folded from its events; and its status, derived from that and its life.

`fold(events)` equals folding in any number of parts, so that reattaching is the same code path as starting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, assert_never

import msgspec
from msgspec import Struct, field

from engine.run.directory import Life
from engine.run.events import (
    CheckJudged,
    CheckpointSaved,
    EpochEnded,
    EpochRecord,
    Event,
    FloorsMeasured,
    GateJudged,
    NonFiniteFound,
    PreflightJudged,
    RankFigures,
    RanksMeasured,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepLogged,
    WarningRaised,
)
from engine.run.launch import JobSeen


class Status(StrEnum):
    """Where a run is in its life. Derived, never stored."""

    QUEUED = "QUEUED"
    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STALLED = "STALLED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    LOST = "LOST"
    UNKNOWN = "UNKNOWN"

    @property
    def is_alive(self) -> bool:
        """Whether an engine is there, or may be, or may come."""
        return self in _ALIVE


_ALIVE = frozenset(
    {
        Status.SUBMITTED,
        Status.PENDING,
        Status.STARTING,
        Status.RUNNING,
        Status.STOPPING,
        Status.STALLED,
        Status.UNKNOWN,
    }
)
"""What may not be started again. What is not known may be running: it is never taken to be dead."""


SETTLE_S = 60.0
"""Shared folders may show what another host wrote only after so long: a scheduler's word of an end waits for it."""


class Point(NamedTuple):
    """A logged step, as the charts need it."""

    step: int
    epoch: int
    loss: float | None
    infonce: float | None
    ar_cosine: float | None
    lr: float
    grad_norm: float | None
    negatives_per_query: float
    windows_per_s: float
    trained_s: float
    """Seconds since the first step of all, the waits between attempts left out."""


MOST_POINTS = 8192
"""Steps kept at least, once there were so many; twice that at most, 7 MB. Days of training log millions."""


class RunState(Struct, kw_only=True):
    """Everything the events say. Grows by `apply`; never read from anywhere else."""

    started: RunStarted | None = None
    starts: int = 0
    """How often an engine got as far as its first step, resumes included."""
    preflight: PreflightJudged | None = None
    """None where it was not run: by a program that had none yet, or not so far."""
    floors: dict[str, float] = field(default_factory=dict)
    epochs: list[EpochRecord] = field(default_factory=list)
    """One per epoch, in order; a repeated epoch (after a resume) replaces the earlier one."""
    points: list[Point] = field(default_factory=list)
    """Steps in order; of a long training a sample, the denser the nearer to its end."""
    ended_s: dict[int, float] = field(default_factory=dict)
    """By epoch: when it ended, in the seconds that points count."""
    clock_began: float = 0.0
    """Unix time at which those seconds would have begun without the waits; a resume moves it on."""
    gates: dict[str, GateJudged] = field(default_factory=dict)
    """By name; a gate is judged once, so the first verdict stands."""
    checks: dict[int, dict[str, CheckJudged]] = field(default_factory=dict)
    """By epoch, then by name."""
    checkpoints: dict[str, CheckpointSaved] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    non_finite: NonFiniteFound | None = None
    ending: RunStopped | RunFinished | RunFailed | None = None
    """The engine's own last word; None while it runs, and again after a resume."""
    last_step: StepLogged | None = None
    ranks: list[RankFigures] = field(default_factory=list)
    """What each rank costs, as it was told last."""
    last_t: float = 0.0
    """When the engine last said anything."""

    def apply(self, event: Event) -> None:
        """Take one event in."""
        self.last_t = max(self.last_t, event.t)
        match event:
            case RunStarted():
                self.started, self.ending, self.non_finite, self.ranks = event, None, None, []
                self.starts += 1
                self.points = [point for point in self.points if point.step <= event.resumed_step]
                kept = [self.ended_s.get(row.epoch, 0.0) for row in self.epochs if row.step <= event.resumed_step]
                done_s = max([*kept, *(point.trained_s for point in self.points[-1:])], default=0.0)
                self.clock_began = event.t - done_s
            case PreflightJudged():
                self.preflight = event
            case FloorsMeasured():
                self.floors = event.floors
            case StepLogged():
                self.last_step = event
                self.points.append(self._point(event))
                if len(self.points) >= 2 * MOST_POINTS:
                    self.points = _thinned(self.points)
            case RanksMeasured():
                self.ranks = event.ranks
            case EpochEnded(record=record):
                self.ended_s[record.epoch] = event.t - self.clock_began
                self.epochs = [known for known in self.epochs if known.epoch < record.epoch] + [record]
            case GateJudged():
                self.gates.setdefault(event.name, event)
            case CheckJudged():
                self.checks.setdefault(event.epoch, {})[event.name] = event
            case CheckpointSaved():
                self.checkpoints[event.label] = event
            case WarningRaised():
                if event.message not in self.warnings:
                    self.warnings.append(event.message)
            case NonFiniteFound():
                self.non_finite = event
            case RunStopped() | RunFinished() | RunFailed():
                self.ending = event
            case _:
                assert_never(event)

    def _point(self, event: StepLogged) -> Point:
        return Point(
            step=event.step,
            epoch=event.epoch,
            loss=event.loss,
            infonce=event.infonce,
            ar_cosine=event.ar_cosine,
            lr=event.lr,
            grad_norm=event.grad_norm,
            negatives_per_query=event.negatives_per_query,
            windows_per_s=event.windows_per_s,
            trained_s=event.t - self.clock_began,
        )

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest val_cosine."""
        judged = [record for record in self.epochs if record.val_cosine is not None]
        return max(judged, key=lambda record: record.val_cosine or 0.0, default=None)

    @property
    def latest(self) -> EpochRecord | None:
        """The last epoch that ended."""
        return self.epochs[-1] if self.epochs else None

    @property
    def epoch_s(self) -> float | None:
        """Seconds an epoch takes: the mean of the last three, else estimated from the steps of the first."""
        times = [record.time for record in self.epochs[-3:] if record.time]
        if times:
            return sum(times) / len(times)
        if self.started is None or self.last_step is None or not self.last_step.windows_per_s:
            return None
        return self.started.num_train / self.last_step.windows_per_s

    def eta_s(self, epoch: int, now: float) -> float | None:
        """Seconds until the end of `epoch`, from the measured pace; 0 if it has ended, None if no pace is known."""
        done = self.epochs[-1].epoch if self.epochs else 0
        if epoch <= done:
            return 0.0
        if self.epoch_s is None or self.started is None:
            return None
        in_epoch = 0.0
        if self.last_step is not None and self.last_step.epoch == done + 1 and self.started.steps_per_epoch:
            steps = self.last_step.step - (self.epochs[-1].step if self.epochs else 0)
            in_epoch = min(1.0, steps / self.started.steps_per_epoch)
        since = max(0.0, min(now - self.last_t, self.epoch_s)) if self.last_t else 0.0
        return max(0.0, (epoch - done - in_epoch) * self.epoch_s - since)


def _thinned(points: list[Point]) -> list[Point]:
    """Half of the points: of two neighbours the one with the larger gradient, for a spike is what people look for."""
    ahead = [math.inf if point.grad_norm is None else point.grad_norm for point in points]
    return [
        points[i] if i + 1 == len(points) or ahead[i] >= ahead[i + 1] else points[i + 1]
        for i in range(0, len(points), 2)
    ]


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after `events`; `state`, if given, is where to start from and is not changed."""
    folded = RunState() if state is None else msgspec.convert(msgspec.to_builtins(state), RunState)
    for event in events:
        folded.apply(event)
    return folded


def derive_status(state: RunState, life: Life, now: float, stall_s: float) -> tuple[Status, str]:
    """Status and, where it needs one, a reason in words.

    The lock, or the heartbeat from another host, speaks first: held means alive, also while an earlier attempt's
    exit.json has not been blanked yet. Then a job that has not begun, then exit.json, then the boot id, then "lost".
    """
    if life.lock_held:
        return _alive_status(state, life, now, stall_s)
    if life.is_submitted:
        return _submitted_status(life, now)
    if life.exit is not None:
        return _ended_status(state, life)
    if life.is_silent:
        return _silent_status(life)
    if life.rebooted:
        return Status.LOST, "lost: reboot"
    if isinstance(state.ending, RunFinished):
        return Status.FINISHED, "finished; its wrapper was killed"
    if isinstance(state.ending, RunStopped):
        return Status.STOPPED, "stopped; its wrapper was killed"
    if isinstance(state.ending, RunFailed):
        return Status.FAILED, f"{state.ending.message}; its wrapper was killed"
    if life.processes is None:
        return _never_begun(life)
    if life.launch is not None and life.launch.ended == "given_up":
        return Status.LOST, f"lost, given up: {life.launch.why}"
    return Status.LOST, "lost, exit unknown"


def _alive_status(state: RunState, life: Life, now: float, stall_s: float) -> tuple[Status, str]:
    unsupervised = life.processes is not None and not life.supervised
    note = "running, unsupervised" if unsupervised else ""
    is_resuming = life.processes is not None and life.processes.attempt > state.starts
    if state.started is None or (state.ending is not None and is_resuming):
        return Status.STARTING, note
    if state.ending is not None:
        return Status.STOPPING, note
    if life.stop_requested:
        return Status.STOPPING, note
    if now - state.last_t > stall_s:
        return Status.STALLED, f"silent for {now - state.last_t:.0f} s"
    return Status.RUNNING, note


def _submitted_status(life: Life, now: float) -> tuple[Status, str]:
    """Of a job that was handed to a scheduler and has not begun: the scheduler's word, and none for what it forgot."""
    launch, job = life.launch, life.job
    assert launch is not None
    if job is None or not (job.state or job.problem or launch.job_id or now - launch.asked > SETTLE_S):
        return Status.SUBMITTED, _named(life) if launch.job_id else "on its way to the scheduler"
    if job.problem:
        return Status.UNKNOWN, f"{_named(life)}: {job.problem}"
    if job.is_waiting:
        return Status.PENDING, waiting_words(job)
    if job.is_running:
        return Status.STARTING, f"job {job.job_id} begins"
    if not job.state:
        return Status.UNKNOWN, f"the scheduler knows no {_named(life)}, which has not begun"
    why = f"job {job.job_id} {job.state.lower().replace('_', ' ')}{f', {job.reason}' if job.reason else ''}"
    if job.nodes and (job.ended is None or now - job.ended < SETTLE_S):
        return Status.STARTING, f"{why}, says the scheduler; the run's folder says nothing yet"
    return (Status.STOPPED if job.state.startswith("CANCELLED") else Status.FAILED), f"never began: {why}"


def waiting_words(job: JobSeen) -> str:
    """Why a job waits, and until when as far as the scheduler can say; local time."""
    parts = [job.reason or f"job {job.job_id}"]
    if job.starts is not None:
        parts.append(f"starts {datetime.fromtimestamp(job.starts).astimezone():%d %b %H:%M}")
    return ", ".join(parts)


def _silent_status(life: Life) -> tuple[Status, str]:
    """Of an attempt that another host began and that is not heard any more: what the scheduler says, no more."""
    job, launch, processes = life.job, life.launch, life.processes
    assert launch is not None
    assert processes is not None
    silent = f"{processes.host} is silent for {life.silent_s:.0f} s"
    if job is None or job.problem:
        return Status.UNKNOWN, f"{silent}; {_named(life)}: {job.problem if job else 'not asked for yet'}"
    if job.is_running:
        return Status.STALLED, f"{silent}; {_named(life)} runs, says the scheduler"
    if job.has_ended:
        return Status.LOST, f"lost: {_named(life)} {job.state.lower().replace('_', ' ')}; {silent}"
    return Status.UNKNOWN, f"{silent}; the scheduler knows no {_named(life)}"


def _never_begun(life: Life) -> tuple[Status, str]:
    launch = life.launch
    if launch is None or not launch.ended:
        return Status.QUEUED, "not started"
    status = {"cancelled": Status.STOPPED, "refused": Status.FAILED, "given_up": Status.LOST}[launch.ended]
    return status, f"never began: {launch.why}"


def _named(life: Life) -> str:
    launch = life.launch
    assert launch is not None
    return f"job {launch.job_id or launch.nonce}"


def _ended_status(state: RunState, life: Life) -> tuple[Status, str]:
    ended = life.exit
    assert ended is not None
    if ended.code == 0:
        if isinstance(state.ending, RunStopped):
            return Status.STOPPED, ""
        is_early = isinstance(state.ending, RunFinished) and state.ending.reason == "early_stopping"
        best = state.best.epoch if state.best else 0
        return Status.FINISHED, f"early stopping, best at epoch {best}" if is_early else ""
    reason = {
        "exited": f"exit {ended.code}",
        "signal": f"signal {ended.code - 128}",
        "out_of_memory": "out of memory",
        "disk_full": "disk full",
        "never_started": "never started",
    }[ended.kind]
    if isinstance(state.ending, RunFailed):
        return Status.FAILED, f"{reason}: {state.ending.message}"
    if ended.kind == "signal":  # its last words are not why
        return Status.FAILED, reason
    return Status.FAILED, f"{reason}: {ended.last_line}" if ended.last_line else reason
