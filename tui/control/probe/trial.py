"""One trial of a probe: its spec, and its way from waiting over training and evaluation to an end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, is_locked
from engine.run.launch import LOCAL
from engine.run.settings import EvalConfig, Gate, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.state import Status
from tui.control import launcher
from tui.control.jobs import evaluation_job
from tui.control.ladder import gate_value
from tui.control.probe.record import ProbePlan, Trial, Try, TryState
from tui.control.views import RunView
from tui.control.watcher import Watcher

THREADS = 1
"""Of a trial: two at a time fill two cores, and figures do not depend on how many cores there are."""


def gate_of(spec: RunSpec) -> Gate:
    """The gate that the decision tree stands on."""
    return spec.gates[0] if spec.gates else Gate()


def trial_config(spec: RunSpec, tried: Try, seed: int) -> RunConfig:
    """A run's settings with a patch, cut to the gate's epoch.

    Raises:
        ConfigError: the patch does not fit.
    """
    patched = apply_patch(spec.config, tried.patch)
    epochs = min(gate_of(spec).epoch, patched.epochs)
    return msgspec.structs.replace(patched, epochs=epochs, seed=seed, threads=THREADS, launcher=LOCAL, nproc=1, nodes=1)


def trial_spec(spec: RunSpec, tried: Try, seed: int, folder: Path, train: list[str]) -> RunSpec:
    """The spec of a trial in its folder: data, gates and bars are the run's own."""
    smoke = spec.evals.get("smoke", EvalConfig())
    return msgspec.structs.replace(
        spec,
        id=folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=trial_config(spec, tried, seed),
        evals={"smoke": msgspec.structs.replace(smoke, tune=False)},
        parent=None,
        patch=tried.patch,
        fix=tried.title if tried.patch else None,
        argv=[*train, "--run-dir", str(folder)],
        env=launcher.engine_env(THREADS),
        launch=None,  # where the probe's driver runs, its trials run
    )


class TrialRun:
    """One try with one seed on its way."""

    def __init__(self, tried: Try, seed: int) -> None:
        self.tried = tried
        self.seed = seed
        self.trial = Trial(seed=seed)
        self.first: float | None = None
        """val_cosine after epoch 1."""
        self.num_queries = 0
        self._run: RunDirectory | None = None
        self._job: RunDirectory | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether it trains or is evaluated."""
        return self.trial.state in {"training", "evaluating"}

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.trial.state in {"done", "hopeless", "failed"}

    def begin(self, known: RunView | None, create: Callable[[], RunDirectory]) -> None:
        """Take up a run that is there, resume one that was stopped, else start a new one.

        Raises:
            ConfigError, OSError: it cannot be started.
        """
        self._run = known.directory if known is not None and _is_usable(known) else create()
        has_finished = known is not None and known.status is Status.FINISHED
        if not has_finished and not is_locked(self._run.lock_file):
            launcher.start(self._run.path)
        self._set("training", run=self._run.id)

    def follow(self, watcher: Watcher, plan: ProbePlan) -> None:
        """Take in what its run has done since, and do what comes next."""
        view = watcher.views.get(self.trial.run)
        if view is None:
            return
        records = view.state.epochs
        self.first = next((record.val_cosine for record in records if record.epoch == 1), None)
        self._set(self.trial.state, epoch=records[-1].epoch if records else 0, gate=gate_value(view))
        if self.trial.state == "training":
            self._follow_training(view, plan)
        else:
            self._follow_evaluation(view)

    def give_up(self, why: str) -> None:
        """Stop it early."""
        self.stop()
        self._set("hopeless", detail=why)

    def fail(self, why: str) -> None:
        """It cannot go on."""
        self._set("failed", detail=why)

    def stop(self) -> None:
        """Ask its training to end at a step's end, with a checkpoint; a resume goes on from there."""
        if self._run is not None and self.trial.state == "training":
            launcher.request_stop(self._run)

    def _follow_training(self, view: RunView, plan: ProbePlan) -> None:
        if view.status.is_alive or view.status is Status.QUEUED or view.life.lock_held:
            return
        if self.trial.gate is None or "best" not in view.state.checkpoints:
            self.fail(view.reason or f"{view.status.lower()} before the gate's epoch")
            return
        job = evaluation_job(view, "smoke", Path(plan.index_dir))
        self._job = RunDirectory(view.directory.evals / f"{job.name}.job")
        if job.name not in view.evals and not is_locked(self._job.lock_file):
            command = [*plan.evaluate, *job.arguments]
            try:
                launcher.start_evaluation(view.directory, job.name, command, launcher.engine_env(THREADS))
            except (ConfigError, OSError) as error:
                self.fail(str(error))
                return
        self._set("evaluating")

    def _follow_evaluation(self, view: RunView) -> None:
        assert self._job is not None, "it is set before the state is"
        life = self._job.read_life()
        if life.lock_held:
            return
        name = self._job.id.removesuffix(".job")
        report = view.directory.read_evals().get(name)  # now: its job has ended since the watcher looked
        if report is None:
            ended = life.exit
            self.fail(f"evaluation: {(ended.last_line or ended.kind) if ended else 'its wrapper was killed'}")
            return
        self.num_queries = report.num_queries
        judged = report.judged
        self._set(
            "done",
            r5=judged.exact.r5,
            r5_interval=judged.intervals.r5 if judged.intervals else None,
            contain50=judged.exact.contain50,
            seconds=round(sum(ended.wall_s for ended in (view.life.exit, life.exit) if ended), 1),
        )
        # its figures are on record, and its checkpoints take 60 MB with 4 layers of width 256
        shutil.rmtree(view.directory.checkpoints, ignore_errors=True)

    def _set(self, state: TryState, **changes: Any) -> None:  # Any: fields of a trial
        self.trial = msgspec.structs.replace(self.trial, state=state, **changes)


def _is_usable(view: RunView) -> bool:
    """Whether a run that is there can be watched, gone on with, or has all that is asked; one that failed cannot."""
    if view.status is Status.STOPPED:
        return "last" in view.state.checkpoints
    return view.status.is_alive or view.status in {Status.QUEUED, Status.FINISHED}
