"""What may be done now, and what it would do: pure, asked before every action and at every tick for its greyed key."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.run.convert import ConfigError, suggestion
from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig, PatchValue, RunConfig
from engine.run.spec import apply_patch
from engine.run.state import Status
from tui.control import launcher
from tui.control.answers import Situation
from tui.control.jobs import JobAction, is_searchable, lifts
from tui.control.journal import Decision, Journal, Who
from tui.control.ladder import Rung, best_of, family
from tui.control.launching.slurm import sbatch_argv
from tui.control.playbook import Position, describe_rung, playbook_of
from tui.control.probe.plan import ProbeIntent, tries_of
from tui.control.report import duration
from tui.control.views import RunView
from tui.control.walk import locate

OVERRIDE = "O overrides that with a written reason, as does lvm-tui triage {} --override REASON"


class RefusedError(ConfigError):
    """An action that does not apply now. The message is the reason shown beside its greyed key."""


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """What a triage restart will do, before it does it."""

    stops: RunView
    """The run that is stopped; it may have ended already."""
    base: RunView
    """The run that is patched: the best of the family at the gate."""
    rung: Rung
    config: RunConfig
    evidence: list[str] = field(default_factory=list)
    override: str = ""
    """A person's reason for turning a knob that the playbook locks."""
    known: frozenset[str] = frozenset()
    """The runs that were there when it was made; a child that has come since is somebody else's."""

    @property
    def change(self) -> list[tuple[str, PatchValue, PatchValue]]:
        """Key, old value, new value."""
        return self.rung.change(self.base)

    def lines(self) -> list[str]:
        """The plan in words."""
        stopped = f"stops {self.stops.id} at a step's end, with a checkpoint" if self.stops.status.is_alive else ""
        return [
            describe_rung(self.rung),
            self.rung.fix.reason,
            *(f"{key}: {old} → {new}" for key, old, new in self.change),
            f"starts a child of {self.base.id}",
            *([f"with {shlex.join(self.base.spec.argv[:-1])} RUN_DIR"] if self.base.spec.argv else []),
            *self._cost(),
            *([stopped] if stopped else []),
        ]

    def _cost(self) -> list[str]:
        """How long it will take to know more; nothing where no pace is known."""
        pace, gate = self.base.state.epoch_s, self.base.gate
        return [] if pace is None else [f"about {duration(pace * gate.epoch)} to its gate at {self.base.id}'s pace"]


class Plans:
    """What one kind of actor may do on one runs folder. Each refusal is a RefusedError with the reason."""

    def __init__(
        self, file: RunsFile, runs_dir: Path, who: Who, *, readonly: bool = False, train: Sequence[str] = ()
    ) -> None:
        self.file = file
        self.runs_dir = runs_dir
        self.who: Who = who
        self.readonly = readonly
        self.train = train
        """The command that trains, where it is not the engine's own."""
        self.journal = Journal(runs_dir)
        self.playbook = playbook_of(file)

    def situation(self, run: RunView, views: Sequence[RunView]) -> Situation:
        """What the playbook looks at for a run."""
        return Situation(run, views, self.file.fix, self.file.room.compare[1])

    def position(self, run: RunView, views: Sequence[RunView]) -> Position:
        """Where a run stands in the decision tree."""
        return locate(self.situation(run, views), self.playbook)

    def plan_restart(
        self, run: RunView, views: Sequence[RunView], *, fix: int | None = None, override: str = ""
    ) -> RestartPlan:
        """The restart that the tree recommends, or the next try of fix number `fix`.

        Raises:
            RefusedError: knobs are locked, the gate is still open, a check failed, or no fix is left.
        """
        self.refuse_readonly()
        position = self.position(run, views)
        gate = run.gate_judgement(run.gate)
        override = override.strip()
        if not override:
            if gate.verdict == "passed":
                raise RefusedError(f"the gate has passed: knobs are locked. {OVERRIDE.format(run.id)}")
            if gate.verdict != "missed":
                raise RefusedError(f"gate {run.gate.name}: {gate.detail}")
            if position.forbids_fixes:
                raise RefusedError(f"{position.title.lower()}: no fix mends that. {OVERRIDE.format(run.id)}")
        rungs = [rung for rung in position.rungs if rung.patch and (fix is None or rung.number == fix)]
        untried = [rung for rung in rungs if rung.standing in {"next", "open"}]
        if not untried:
            raise RefusedError(self._why_no_rung(fix, rungs))
        rung = next((rung for rung in untried if rung.standing == "next"), untried[0])
        base = best_of(family(run, views), run)
        config = apply_patch(base.spec.config, rung.patch)
        launcher.launcher_settings(self.file, self.runs_dir, config.launcher)
        known = frozenset(view.id for view in views)
        return RestartPlan(run, base, rung, config, position.evidence, override, known)

    def how_started(self, settings: RunConfig | EvalConfig) -> list[str]:
        """The command that hands a run or an evaluation to a scheduler, in words; nothing for this machine."""
        try:
            launch = launcher.launcher_settings(self.file, self.runs_dir, settings.launcher)
        except ConfigError as error:
            return [str(error)]
        if launch is None:
            return []
        nproc, nodes = (settings.nproc, settings.nodes) if isinstance(settings, RunConfig) else (1, 1)
        argv = sbatch_argv(launch, "NAME", Path("RUN_DIR"), nproc, nodes)
        return [f"as a job of [launcher.{settings.launcher}]: {shlex.join(argv)}"]

    def check_stop(self, run: RunView) -> None:
        """Raises RefusedError unless the run can be asked to stop."""
        self.refuse_readonly()
        if not run.status.is_alive:
            raise RefusedError(f"{run.id} is not running")
        if run.status is Status.STOPPING:
            raise RefusedError(f"{run.id} is stopping already")

    def check_resume(self, run: RunView) -> None:
        """Raises RefusedError unless the run ended before its time and left a checkpoint."""
        self.refuse_readonly()
        if run.life.launch is not None and run.life.is_submitted and not run.life.launch.job_id:
            return  # whether the scheduler took its job is not known: asking once more looks for it first
        if run.status not in {Status.STOPPED, Status.FAILED, Status.LOST}:
            raise RefusedError(f"{run.id} is {run.status.lower()}")
        if "last" not in run.state.checkpoints:
            raise RefusedError(f"{run.id} has no checkpoint to go on from")

    def check_kill(self, run: RunView) -> None:
        """Raises RefusedError unless there is something to kill."""
        self.refuse_readonly()
        if not run.life.is_busy:
            raise RefusedError(f"{run.id} is not running")

    def check_start(self, name: str, views: Sequence[RunView]) -> None:
        """Raises RefusedError if a run of this table is alive: one key press must not start two."""
        self.refuse_readonly()
        self.file.named(name)
        alive = [view for view in views if view.spec.name == name and view.status.is_alive]
        if alive and alive[-1].status is Status.UNKNOWN:
            raise RefusedError(f"{alive[-1].id} may be running, which is not known; K gives it up")
        if alive:
            raise RefusedError(f"{alive[-1].id} is running already; stop it first")

    def check_evaluate(self, run: RunView, name: str) -> None:
        """Raises RefusedError unless there is a checkpoint to evaluate and no job under way."""
        names = {"smoke", "full", *run.spec.evals}
        if name not in names:
            raise RefusedError(f'{run.id} has no evaluation "{name}".{suggestion(name, names)}')
        self.check_job(run, "evaluate")

    def check_job(self, run: RunView, action: JobAction) -> None:
        """Raises RefusedError unless the run has what the job needs, and no other job is under way."""
        self.refuse_readonly()
        if action != "preflight" and "best" not in run.state.checkpoints:
            is_coming = run.status.is_alive or run.status is Status.QUEUED
            raise RefusedError(
                "no checkpoint yet: the first one comes with the first epoch"
                if is_coming
                else f"{run.id} ended without a checkpoint of a whole epoch: nothing to use"
            )
        if action != "preflight":
            _refuse_unsearchable(run)
        if action == "evaluate_fitted" and not any(map(lifts, run.fitted.values())):
            raise RefusedError(_why_nothing_fitted(run))
        self._refuse_busy(run)

    def _refuse_busy(self, run: RunView) -> None:
        busy = [job for job, life in run.jobs.items() if life.is_busy]
        if busy:
            raise RefusedError(f"{busy[0]} is under way")

    def plan_probe(self, run: RunView) -> ProbeIntent:
        """What a probe of the run would try.

        Raises:
            RefusedError: there is nothing to try, or a job is under way.
        """
        self.refuse_readonly()
        tries = tries_of(run.spec, self.file.fix)
        if len(tries) == 1:
            raise RefusedError(f"no fix of the ladder changes anything in {run.id}")
        if run.is_blocked:
            raise RefusedError(f"the preflight blocks {run.id}: short runs of it would be blocked as well")
        _refuse_unsearchable(run)
        self._refuse_busy(run)
        return ProbeIntent(run, tries)

    def check_override(self, run: RunView, views: Sequence[RunView]) -> RestartPlan | None:
        """What a written reason would let happen: a locked restart, or, None, a start that the preflight blocks.

        Raises:
            RefusedError: nothing is locked.
        """
        self.refuse_readonly()
        if run.is_blocked:
            self.check_start(run.spec.name, views)
            return None
        try:
            self.plan_restart(run, views)
        except RefusedError:
            return self.plan_restart(run, views, override="asked")
        raise RefusedError("nothing is locked: a restart needs no reason")

    def check_undo(self) -> Decision:
        """The restart that an undo would take back; raises RefusedError if there is none."""
        self.refuse_readonly()
        decision = self.journal.undoable(self.file.room.undo_s)
        if decision is None:
            raise RefusedError(f"no restart in the last {self.file.room.undo_s:.0f} s")
        return decision

    def refuse_readonly(self) -> None:
        if self.readonly:
            raise RefusedError("read-only: no action can be taken")

    def _why_no_rung(self, fix: int | None, rungs: Sequence[Rung]) -> str:
        if fix is None:
            return "the ladder is exhausted: every fix was tried"
        if not 1 <= fix <= len(self.file.fix):
            return f"there is no fix {fix}; the ladder has {len(self.file.fix)}"
        if self.file.fix[fix - 1].verify:
            return f"fix {fix} only verifies; it changes nothing"
        return f"fix {fix}: " + "; ".join(f"{rung.standing} {rung.child or rung.detail}".strip() for rung in rungs)


def _refuse_unsearchable(run: RunView) -> None:
    if run.spec.data.train_npz and not is_searchable(run):
        raise RefusedError(
            "trained on a file of windows, which holds no corpus to search: name [eval.smoke] corpus, or eval_npz "
            "and payload, in runs.toml before the run is started"
        )


def _why_nothing_fitted(run: RunView) -> str:
    """Why there is nothing to evaluate behind: not fitted, fitted to an older checkpoint, or no lift."""
    known = {"A, the alignment head": run.head, "L, the reranker": run.reranker}
    missing = [name for name, report in known.items() if report is None]
    outdated = [name for name, report in known.items() if report and run.is_outdated(report)]
    if len(missing) == len(known):
        return "nothing that lifts R@5 is fitted yet: fit an alignment head or a reranker first"
    if outdated:
        return f"the best checkpoint is newer than what was fitted to it: once more {' and '.join(outdated)}"
    left = f"; not fitted yet: {missing[0]}" if missing else ""
    return f"what was fitted does not lift R@5 beyond its interval{left}"
