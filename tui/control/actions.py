"""Everything that changes the world, as one set of actions: a key, the command line and the autopilot all come here.

Each action first says whether it can be taken and what it will do, then journals its intent, then acts, then journals
what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.run.convert import ConfigError, suggestion
from engine.run.directory import RunDirectory, find_run, is_locked, launch_lock, list_runs
from engine.run.events import RunStopped, read_events
from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig, Patch, PatchValue, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.state import Status, fold
from tui.control import launcher
from tui.control.answers import Situation
from tui.control.journal import Decision, Journal, Who
from tui.control.ladder import Rung, best_of, family
from tui.control.playbook import Position, describe_rung, locate
from tui.control.views import RunView

OVERRIDE = "With a written reason: lvm-tui triage {} --override REASON"
STOP_TIMEOUT_S = 60.0
"""How long an undo waits for the child to end. A step and a checkpoint take a few seconds."""


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
            *([stopped] if stopped else []),
        ]


class Actions:
    """The actions on one runs folder, on behalf of one kind of actor."""

    def __init__(self, file: RunsFile, runs_dir: Path, who: Who, *, readonly: bool = False) -> None:
        self.file = file
        self.runs_dir = runs_dir
        self.who: Who = who
        self.readonly = readonly
        self.journal = Journal(runs_dir)

    # ── what stands where ────────────────────────────────────────────────────────────────────────────────────────────

    def situation(self, run: RunView, views: Sequence[RunView]) -> Situation:
        """What the playbook looks at for a run."""
        return Situation(run, views, self.file.fix, self.file.room.compare[1])

    def position(self, run: RunView, views: Sequence[RunView]) -> Position:
        """Where a run stands in the decision tree."""
        return locate(self.situation(run, views))

    # ── plans: pure, they raise RefusedError with the reason ─────────────────────────────────────────────────────────

    def plan_restart(
        self, run: RunView, views: Sequence[RunView], *, fix: int | None = None, override: str = ""
    ) -> RestartPlan:
        """The restart that the tree recommends, or the next try of fix number `fix`.

        Raises:
            RefusedError: knobs are locked, the gate is still open, a check failed, or no fix is left.
        """
        self._refuse_readonly()
        position = self.position(run, views)
        gate = run.gate_judgement(run.gate)
        override = override.strip()
        if not override:
            if gate.verdict == "passed":
                raise RefusedError(f"the gate has passed: knobs are locked. {OVERRIDE.format(run.id)}")
            if gate.verdict != "missed":
                raise RefusedError(f"gate {run.gate.name}: {gate.detail}")
            if position.node in {"fault", "undecidable", "head_broken"}:
                raise RefusedError(f"{position.title.lower()}: no fix mends that. {OVERRIDE.format(run.id)}")
        rungs = [rung for rung in position.rungs if rung.patch and (fix is None or rung.number == fix)]
        untried = [rung for rung in rungs if rung.standing in {"next", "open"}]
        if not untried:
            raise RefusedError(self._why_no_rung(fix, rungs))
        base = best_of(family(run, views), run)
        config = apply_patch(base.spec.config, untried[0].patch)
        known = frozenset(view.id for view in views)
        return RestartPlan(run, base, untried[0], config, position.evidence, override, known)

    def check_stop(self, run: RunView) -> None:
        """Raises RefusedError unless the run can be asked to stop."""
        self._refuse_readonly()
        if not run.status.is_alive:
            raise RefusedError(f"{run.id} is not running")
        if run.status is Status.STOPPING:
            raise RefusedError(f"{run.id} is stopping already")

    def check_resume(self, run: RunView) -> None:
        """Raises RefusedError unless the run ended before its time and left a checkpoint."""
        self._refuse_readonly()
        if run.status not in {Status.STOPPED, Status.FAILED, Status.LOST}:
            raise RefusedError(f"{run.id} is {run.status.lower()}")
        if "last" not in run.state.checkpoints:
            raise RefusedError(f"{run.id} has no checkpoint to go on from")

    def check_kill(self, run: RunView) -> None:
        """Raises RefusedError unless there is something to kill."""
        self._refuse_readonly()
        if not run.life.lock_held:
            raise RefusedError(f"{run.id} is not running")

    def check_start(self, name: str, views: Sequence[RunView]) -> None:
        """Raises RefusedError if a run of this table is alive: one key press must not start two."""
        self._refuse_readonly()
        self.file.named(name)
        alive = [view.id for view in views if view.spec.name == name and view.status.is_alive]
        if alive:
            raise RefusedError(f"{alive[-1]} is running already; stop it first")

    def check_evaluate(self, run: RunView, name: str) -> None:
        """Raises RefusedError unless there is a checkpoint to evaluate and no evaluation under way."""
        self._refuse_readonly()
        names = {"smoke", "full", *run.spec.evals}
        if name not in names:
            raise RefusedError(f'{run.id} has no evaluation "{name}".{suggestion(name, names)}')
        if "best" not in run.state.checkpoints:
            raise RefusedError("no checkpoint yet: the first one comes with the first epoch")
        busy = [job for job, life in run.jobs.items() if life.lock_held]
        if busy:
            raise RefusedError(f"evaluation {busy[0]} is under way")

    def check_undo(self) -> Decision:
        """The restart that an undo would take back; raises RefusedError if there is none."""
        self._refuse_readonly()
        decision = self.journal.undoable(self.file.room.undo_s)
        if decision is None:
            raise RefusedError(f"no restart in the last {self.file.room.undo_s:.0f} s")
        return decision

    # ── acts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str, *, only_one: bool = False) -> RunDirectory:
        """Start `[run.NAME]`; with `only_one`, refuse if one of its runs is alive.

        Raises:
            RefusedError, LaunchError, ConfigError: nothing runs that was not running.
        """
        self._refuse_readonly()
        config = self.file.named(name)
        with launch_lock(self.runs_dir):
            if only_one:
                self._refuse_alive(name)
            with self._journaled(Decision(who=self.who, action="start", run=name)) as done:
                run = launcher.create_run(self.file, self.runs_dir, name, config)
                launcher.start(run.path)
                done(run.id)
        return run

    def restart(self, plan: RestartPlan) -> RunDirectory:
        """Stop the run at a step's end and start its patched child. Of several that ask at once, one gets it.

        Raises:
            RefusedError: another terminal has just done it.
            LaunchError: the child could not be started; the run goes on.
        """
        self._refuse_readonly()
        patch: Patch = plan.rung.patch
        intent = Decision(
            who=self.who,
            action="restart",
            run=plan.stops.id,
            stopped=is_locked(plan.stops.directory.lock_file),
            fix=plan.rung.fix.title,
            patch=patch,
            evidence=plan.evidence,
            detail=plan.override,
        )
        with launch_lock(self.runs_dir):
            self._refuse_repeated(plan)
            with self._journaled(intent) as done:
                child = launcher.create_run(
                    self.file,
                    self.runs_dir,
                    plan.base.spec.name,
                    plan.config,
                    parent=plan.base.id,
                    patch=patch,
                    fix=plan.rung.fix.title,
                )
                launcher.start(child.path)
                if intent.stopped:
                    launcher.request_stop(plan.stops.directory)
                done(child.id)
        return child

    def undo(self, decision: Decision) -> tuple[RunDirectory, bool]:
        """Stop a restart's child and resume the run it had stopped, exactly where it was. Waits for both to end.

        Returns:
            The run, and whether it goes on: one that had ended by itself is not resumed.

        Raises:
            RefusedError: somebody else is undoing it.
            LaunchError: one of them does not end, or the run cannot be resumed.
        """
        self._refuse_readonly()
        stopped = find_run(self.runs_dir, decision.run)
        child = find_run(self.runs_dir, decision.child)
        intent = Decision(who=self.who, action="undo", run=stopped.id, child=child.id, fix=decision.fix)
        with ExitStack() as stack:
            with launch_lock(self.runs_dir):
                if self.check_undo().id != decision.id:
                    raise RefusedError("there is a newer restart; look again")
                done = stack.enter_context(self._journaled(intent))
            if is_locked(child.lock_file):
                launcher.request_stop(child)
            for run in (child, stopped):
                if not launcher.wait_until_ended(run, STOP_TIMEOUT_S):
                    raise launcher.LaunchError(f"{run.id} has not ended after {STOP_TIMEOUT_S:.0f} s; stop or kill it")
            goes_on = decision.stopped and isinstance(fold(read_events(stopped.events_file)).ending, RunStopped)
            if goes_on:
                launcher.start(stopped.path)
            done(child.id)
        return stopped, goes_on

    def resume(self, run: RunDirectory) -> None:
        """Go on with a run that was stopped, failed or lost, from its newest checkpoint.

        Raises:
            RefusedError: it is running, or has nothing to go on from.
            LaunchError: it cannot be started.
        """
        self._refuse_readonly()
        with launch_lock(self.runs_dir):
            if is_locked(run.lock_file):
                raise RefusedError(f"{run.id} is running")
            with self._journaled(Decision(who=self.who, action="resume", run=run.id)):
                launcher.start(run.path)

    def stop(self, run: RunDirectory) -> None:
        """Ask a run to finish its step, save and end."""
        self._refuse_readonly()
        if not is_locked(run.lock_file):
            raise RefusedError(f"{run.id} is not running")
        with self._journaled(Decision(who=self.who, action="stop", run=run.id)):
            launcher.request_stop(run)

    def kill(self, run: RunDirectory) -> None:
        """End a run now: TERM, and KILL after a grace period."""
        self._refuse_readonly()
        with self._journaled(Decision(who=self.who, action="kill", run=run.id)):
            launcher.kill(run)

    def evaluate(self, run: RunView, name: str = "smoke") -> RunDirectory:
        """Start an evaluation of the run's best checkpoint; returns its job folder.

        Raises:
            RefusedError, LaunchError: there is nothing to evaluate, or one is under way.
        """
        self.check_evaluate(run, name)
        settings = self.evaluation(run, name)
        epoch = run.state.checkpoints["best"].epoch
        job = f"{name}-e{epoch:04d}"
        argv = launcher.engine_argv(
            "evaluate",
            *("--checkpoint", str(run.directory.checkpoints / "best")),
            *("--limit", str(settings.limit), "--nprobe", str(settings.nprobe), "--seed", str(settings.seed)),
            *("--gate-contain50", str(settings.contain50), "--gate-r5", str(settings.r5)),
            *("--gate-eff5", str(settings.eff5), "--gate-p95", str(settings.p95_ms)),
            *("--index-dir", str(self.runs_dir / ".index")),
            *("--out", str(run.directory.evals / f"{job}.json")),
        )
        with self._journaled(Decision(who=self.who, action="evaluate", run=run.id, detail=job)) as done:
            folder = launcher.start_evaluation(run.directory, job, argv, launcher.engine_env(1))
            done("")
        return folder

    def evaluation(self, run: RunView, name: str) -> EvalConfig:
        """The settings of an evaluation: the run's own, else the playbook's (all queries for `full`)."""
        default = EvalConfig(limit=0, at_epoch=0) if name == "full" else EvalConfig()
        return run.spec.evals.get(name, default)

    # ── guards ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _refuse_readonly(self) -> None:
        if self.readonly:
            raise RefusedError("read-only: no action can be taken")

    def _refuse_alive(self, name: str) -> None:
        for run, spec in self._specs():
            if spec.name == name and is_locked(run.lock_file):
                raise RefusedError(f"{run.id} is running already; stop it first")

    def _refuse_repeated(self, plan: RestartPlan) -> None:
        """A child of this patch that runs, or that the plan did not know: somebody was faster."""
        for run, spec in self._specs():
            is_same = spec.parent == plan.base.id and spec.patch == plan.rung.patch
            if is_same and (run.id not in plan.known or is_locked(run.lock_file)):
                raise RefusedError(f"{run.id} already tries this fix")

    def _specs(self) -> Iterator[tuple[RunDirectory, RunSpec]]:
        """Every run whose spec can be read; one damaged folder must not stand in the way of the others."""
        for run in list_runs(self.runs_dir):
            with suppress(ConfigError):
                yield run, run.read_spec()

    def _why_no_rung(self, fix: int | None, rungs: Sequence[Rung]) -> str:
        if fix is None:
            return "the ladder is exhausted: every fix was tried"
        if not 1 <= fix <= len(self.file.fix):
            return f"there is no fix {fix}; the ladder has {len(self.file.fix)}"
        if self.file.fix[fix - 1].verify:
            return f"fix {fix} only verifies; it changes nothing"
        return f"fix {fix}: " + "; ".join(f"{rung.standing} {rung.child or rung.detail}".strip() for rung in rungs)

    @contextmanager
    def _journaled(self, intent: Decision) -> Iterator[Callable[[str], None]]:
        """Record the intent, run the act, record what became of it. The act calls back with the run it made."""
        self.journal.record(intent)
        outcome = {"child": intent.child}
        try:
            yield lambda child: outcome.update(child=child)
        except (ConfigError, OSError) as error:
            self.journal.close(intent, failed=str(error))
            raise
        self.journal.close(intent, child=outcome["child"])
