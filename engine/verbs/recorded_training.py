"""Training a run whose events are recorded: its data are looked at first, once; then it trains, alone or in ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from engine.run.spec import RunSpec

if TYPE_CHECKING:
    from engine.data.corpus import Corpus
    from engine.data.split import Split
    from engine.data.windows import WindowSource
    from engine.training.ranks import OneProcess
    from engine.training.recorder import Recorder
    from engine.training.trainer import Outcome, Trainer

Plant: TypeAlias = "Callable[[Trainer], None]"
"""What is done to a trainer before its first step."""


def train_recorded(
    recorder: Recorder,
    stop: Callable[[], bool],
    *,
    resume: bool = False,
    reason: str = "",
    plant: Plant | None = None,
    looks_first: bool = True,
    payload: Corpus | None = None,
    cache: Path | None = None,
) -> Outcome:
    """Look at the data of a run and train it, from its beginning or from its last checkpoint.

    Args:
        recorder: of the run.
        stop: asked between steps, and between the items of the preflight.
        resume: go on from the last checkpoint.
        reason: why it may be trained although the preflight blocks; empty: it may not.
        plant: done to the trainer before its first step.
        looks_first: whether there is a preflight.
        payload: what the preflight is told is searched, where it is not the corpus that trains.
        cache: folder for what the preflight finds and the ridge; None for the user's.

    Raises:
        ConfigError: the data cannot be read, something blocks, or no checkpoint can be gone on from.
    """
    from engine.device import pick_device
    from engine.training.ranks import OneProcess

    device = pick_device(recorder.spec.config.device)
    source, split, floors = prepare(
        recorder, stop, resume=resume, reason=reason, looks_first=looks_first, payload=payload, cache=cache
    )
    return train_prepared(
        recorder, stop, OneProcess(device), source, split, floors, resume=resume, plant=plant, cache=cache
    )


def prepare(
    recorder: Recorder,
    stop: Callable[[], bool],
    *,
    resume: bool,
    reason: str,
    looks_first: bool = True,
    payload: Corpus | None = None,
    cache: Path | None = None,
) -> tuple[WindowSource, Split, dict[str, float]]:
    """Open a run's data and look at them, and at the checkpoints of a run that resumes: once, whoever trains then.

    Args and errors are those of `train_recorded`. Returns the windows, their split, and the floors where they were
    measured.
    """
    from engine.device import set_threads
    from engine.preflight.verdict import needs_verdict
    from engine.training.checkpoint import MODEL_FILE, TRAINING_FILE, clear_leftovers, try_first

    spec = recorder.spec
    set_threads(spec.config.threads)
    source, split = open_split(spec)
    floors: dict[str, float] = {}
    if looks_first and needs_verdict(recorder.known.preflight):
        floors = _look_first(recorder, source, split, payload, stop, reason, cache)
    clear_leftovers(recorder.run.checkpoints)
    if resume:
        for label in ("last", "best"):
            try_first(recorder.run.checkpoints / label, MODEL_FILE, TRAINING_FILE)
    return source, split, floors


def open_split(spec: RunSpec) -> tuple[WindowSource, Split]:
    """A run's windows and their split.

    Raises:
        ConfigError: the data cannot be read or split.
    """
    from engine.data.split import split_windows
    from engine.data.windows import open_windows

    data = spec.data
    source = open_windows(data, Path.cwd())
    return source, split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)


def train_prepared(
    recorder: Recorder,
    stop: Callable[[], bool],
    ranks: OneProcess,
    source: WindowSource,
    split: Split,
    floors: dict[str, float],
    *,
    resume: bool,
    plant: Plant | None = None,
    cache: Path | None = None,
) -> Outcome:
    """Train a run whose data were looked at, as one of its ranks.

    Args:
        recorder: of the run.
        stop: asked between steps.
        ranks: with whom.
        source: its windows.
        split: which of them train.
        floors: as they were measured; empty to measure them.
        resume: go on from the last checkpoint.
        plant: done to the trainer before its first step.
        cache: folder for the ridge; None for the user's.

    Raises:
        ConfigError: the disk is too small, or no checkpoint can be gone on from.
    """
    from engine.models.floors import measure_floors
    from engine.models.kept_ridge import kept_ridge, ridge_cache
    from engine.training.disk import checkpoint_bytes, refuse_small_disk
    from engine.training.trainer import Trainer
    from engine.training.validation import open_unseen

    spec, base = recorder.spec, Path.cwd()
    unseen = open_unseen(spec.data, base, source)
    trainer = Trainer(spec, source, split, ranks.device, recorder, stop, unseen, ranks)
    if plant is not None:
        plant(trainer)  # before it is restored: what was planted may be part of what was saved
    refuse_small_disk(recorder.run.path, spec.config, checkpoint_bytes(trainer.learner))
    if resume:
        trainer.restore()

    def measured_floors() -> dict[str, float]:
        if floors or not ranks.is_first:
            return floors
        return measure_floors(source, kept_ridge(source, split.train, cache or ridge_cache()), split.val)

    return trainer.train(measured_floors)


def _look_first(
    recorder: Recorder,
    source: WindowSource,
    split: Split,
    payload: Corpus | None,
    stop: Callable[[], bool],
    reason: str,
    cache: Path | None,
) -> dict[str, float]:
    """Run the preflight and act on it; the floors it measured, none where it was asked to stop.

    A run that is stopped meanwhile has no verdict, so it is looked at when it resumes.

    Raises:
        ConfigError: something blocks, and no reason was given why it may be trained all the same.
    """
    from engine.preflight.run import StoppedEarlyError, default_cache, run_preflight
    from engine.preflight.subject import subject_of
    from engine.preflight.verdict import act_on

    spec = recorder.spec
    subject = subject_of(spec.data, spec.gates, Path.cwd(), source, split, payload)
    try:
        report = run_preflight(subject, stop_requested=stop, cache=cache or default_cache())
    except StoppedEarlyError:
        return {}
    act_on(report, recorder, reason.strip())
    return report.floors
