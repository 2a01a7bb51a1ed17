"""Everything that changes the world, as one set of actions: a key, the command line and the autopilot all come here.

Each action first says whether it can be taken and what it will do, then journals its intent, then acts, then journals
what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, find_run, launch_lock, list_runs
from engine.run.event_file import read_events
from engine.run.events import (
    RunStopped,
)
from engine.run.settings import Patch
from engine.run.spec import RunSpec
from engine.run.state import fold
from tui.control import launcher
from tui.control.jobs import Job, JobAction, evaluation_job, make_job
from tui.control.journal import ActionName, Decision
from tui.control.plans import Plans, RefusedError, RestartPlan
from tui.control.probe.plan import JOB, ProbeIntent, driver_argv, make_plan
from tui.control.probe.record import PLAN, probe_folder, write_json
from tui.control.views import RunView

JOURNALED_AS: dict[JobAction, ActionName] = {
    "evaluate": "evaluate",
    "evaluate_full": "evaluate",
    "evaluate_fitted": "evaluate",
    "evaluate_tuned": "evaluate",
    "align": "align",
    "rerank": "rerank",
    "preflight": "preflight",
}
STOP_TIMEOUT_S = 60.0
"""How long an undo waits for the child to end. A step and a checkpoint take a few seconds."""


class Actions(Plans):
    """The actions on one runs folder, on behalf of one kind of actor."""

    def start(self, name: str, *, only_one: bool = False, override: str = "") -> RunDirectory:
        """Start `[run.NAME]`; with `only_one`, refuse if one of its runs is alive.

        Args:
            name: the table.
            only_one: one key press must not start two.
            override: a person's reason to train whatever the preflight finds.

        Raises:
            RefusedError, LaunchError, ConfigError: nothing runs that was not running.
        """
        self.refuse_readonly()
        config = self.file.named(name)
        with launch_lock(self.runs_dir):
            if only_one:
                self._refuse_alive(name)
            with self._journaled(Decision(who=self.who, action="start", run=name, detail=override)) as done:
                run = launcher.create_run(
                    self.file, self.runs_dir, name, config, preflight_override=override, train=self.train
                )
                launcher.start(run.path)
                done(run.id)
        return run

    def restart(self, plan: RestartPlan) -> RunDirectory:
        """Stop the run at a step's end and start its patched child. Of several that ask at once, one gets it.

        Raises:
            RefusedError: another terminal has just done it.
            LaunchError: the child could not be started; the run goes on.
        """
        self.refuse_readonly()
        patch: Patch = plan.rung.patch
        intent = Decision(
            who=self.who,
            action="restart",
            run=plan.stops.id,
            stopped=launcher.is_busy(plan.stops.directory),
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
                    preflight_override=plan.base.spec.preflight_override,
                    train=self.train,
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
        self.refuse_readonly()
        stopped = find_run(self.runs_dir, decision.run)
        child = find_run(self.runs_dir, decision.child)
        intent = Decision(who=self.who, action="undo", run=stopped.id, child=child.id, fix=decision.fix)
        with ExitStack() as stack:
            with launch_lock(self.runs_dir):
                if self.check_undo().id != decision.id:
                    raise RefusedError("there is a newer restart; look again")
                done = stack.enter_context(self._journaled(intent))
            if launcher.is_busy(child):
                launcher.request_stop(child)  # one that still waits for a scheduler is called off
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
        self.refuse_readonly()
        with launch_lock(self.runs_dir):
            if run.read_life().lock_held:
                raise RefusedError(f"{run.id} is running")
            with self._journaled(Decision(who=self.who, action="resume", run=run.id)):
                launcher.start(run.path)

    def stop(self, run: RunDirectory) -> None:
        """Ask a run to finish its step, save and end."""
        self.refuse_readonly()
        if not run.read_life().is_busy:
            raise RefusedError(f"{run.id} is not running")
        with self._journaled(Decision(who=self.who, action="stop", run=run.id)):
            launcher.request_stop(run)

    def kill(self, run: RunDirectory) -> None:
        """End a run now: TERM, and KILL after a grace period."""
        self.refuse_readonly()
        with self._journaled(Decision(who=self.who, action="kill", run=run.id)):
            launcher.kill(run)

    def evaluate(self, run: RunView, name: str = "smoke") -> RunDirectory:
        """Start an evaluation of the run's best checkpoint; returns its job folder.

        Raises:
            RefusedError, LaunchError: there is nothing to evaluate, or a job is under way.
        """
        self.check_evaluate(run, name)
        return self._start_job(run, "evaluate", evaluation_job(run, name, self.index_dir))

    def start_job(self, run: RunView, action: JobAction) -> RunDirectory:
        """Start what a key asks of a run that is there already; returns its job folder.

        Raises:
            RefusedError, LaunchError: it does not apply, or a job is under way.
        """
        self.check_job(run, action)
        return self._start_job(run, JOURNALED_AS[action], make_job(action, run, self.index_dir))

    def probe(self, intent: ProbeIntent) -> RunDirectory:
        """Start short runs of the ladder's fixes on a run, driven from a process of its own; returns its job folder.

        What an earlier probe of the run has found is taken up.

        Raises:
            RefusedError, LaunchError: a job is under way, or the driver cannot be started.
        """
        self.refuse_readonly()
        run = intent.run.directory
        with self._journaled(Decision(who=self.who, action="probe", run=run.id)):
            probe_folder(run).mkdir(mode=0o700, exist_ok=True)
            write_json(probe_folder(run) / PLAN, make_plan(intent, self.index_dir))
            name = intent.run.spec.config.launcher
            launch = launcher.launcher_settings(self.file, self.runs_dir, name)
            return launcher.start_evaluation(run, JOB, driver_argv(intent.run), {}, launcher=name, launch=launch)

    @property
    def index_dir(self) -> Path:
        """Where this folder's evaluations keep their indexes."""
        return self.runs_dir / ".index"

    def _start_job(self, run: RunView, action: ActionName, job: Job) -> RunDirectory:
        argv = launcher.engine_argv(job.verb, *job.arguments)
        launch = launcher.launcher_settings(self.file, self.runs_dir, job.launcher)
        intent = Decision(who=self.who, action=action, run=run.id, detail=job.name)
        # what is timed takes one all the same
        threads = launch.cpus if launch else launcher.threads_each(self.runs_dir, 1)
        with self._journaled(intent) as done:
            folder = launcher.start_evaluation(
                run.directory, job.name, argv, launcher.engine_env(threads), launcher=job.launcher, launch=launch
            )
            done("")
        return folder

    def _refuse_alive(self, name: str) -> None:
        for run, spec in self._specs():
            if spec.name == name and launcher.is_busy(run):
                raise RefusedError(f"{run.id} is running already; stop it first")

    def _refuse_repeated(self, plan: RestartPlan) -> None:
        """A child of this patch that runs, or that the plan did not know: somebody was faster."""
        for run, spec in self._specs():
            is_same = spec.parent == plan.base.id and spec.patch == plan.rung.patch
            if is_same and (run.id not in plan.known or launcher.is_busy(run)):
                raise RefusedError(f"{run.id} already tries this fix")

    def _specs(self) -> Iterator[tuple[RunDirectory, RunSpec]]:
        """Every run whose spec can be read; one damaged folder must not stand in the way of the others."""
        for run in list_runs(self.runs_dir):
            with suppress(ConfigError):
                yield run, run.read_spec()

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
