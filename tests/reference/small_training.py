"""A training of seconds: a small corpus, a small model, and what it takes to run and to compare it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from engine.data.split import split_windows
from engine.data.windows import open_windows
from engine.models.floors import fit_ridge, measure_floors
from engine.run.directory import RunDirectory
from engine.run.events import EpochRecord
from engine.run.settings import DataConfig, Gate, PatchValue, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.training.ranks import OneProcess
from engine.training.recorder import Recorder
from engine.training.trainer import Outcome, Trainer
from tests.reference.small_corpus import make_corpus

SMALL: dict[str, PatchValue] = {
    "epochs": 3,
    "model.width": 16,
    "model.layers": 2,
    "model.state": 8,
    "model.head_width": 8,
    "sampler.batch_size": 8,
    "sampler.accumulate": 2,
    "loss.projection_hidden": 16,
    "loss.projection_width": 8,
    "optimizer.lr": 3e-3,
    "schedule.warmup_steps": 1,
}


def make_spec(folder: Path, *, gates: list[Gate] | None = None, **patch: PatchValue) -> RunSpec:
    """A spec over a small corpus beside `folder`; keyword `a__b` sets `a.b`."""
    corpus = folder.parent / "corpus"
    if not corpus.exists():
        make_corpus(corpus, [7, 9, 12, 8, 10, 7, 9, 11, 8, 12])
    config = apply_patch(RunConfig(), {**SMALL, **{key.replace("__", "."): value for key, value in patch.items()}})
    return RunSpec(
        id=folder.name,
        name=config.model.kind,
        created="2030-01-01T00:00:00+00:00",
        config=config,
        data=DataConfig(corpus=str(corpus), context=3, val_share=0.2, test_share=0.1),
        gates=[Gate()] if gates is None else gates,
    )


def make_run(folder: Path, *, gates: list[Gate] | None = None, **patch: PatchValue) -> RunDirectory:
    """A run directory with such a spec, not started."""
    folder.mkdir(parents=True)
    run = RunDirectory(folder)
    run.spec_file.write_bytes(msgspec.json.encode(make_spec(folder, gates=gates, **patch)))
    return run


def train_run(
    run: RunDirectory,
    *,
    stop_at: int | None = None,
    resume: bool = False,
    prepare: Callable[[Trainer], None] | None = None,
    ranks: OneProcess | None = None,
) -> Outcome:
    """Train in this process; `stop_at` asks for the end once that many steps are taken.

    Args:
        run: its directory.
        stop_at: optimizer steps after which to stop.
        resume: go on from the last checkpoint.
        prepare: called with the trainer before the first step.
        ranks: with whom; None for nobody.
    """
    spec = run.read_spec()
    ranks = ranks or OneProcess(torch.device("cpu"))
    recorder = Recorder(run, spec, is_silent=not ranks.is_first)
    source = open_windows(spec.data, run.path)
    split = split_windows(
        source, val_share=spec.data.val_share, test_share=spec.data.test_share, seed=spec.data.split_seed
    )
    trainer = Trainer(
        spec,
        source,
        split,
        torch.device("cpu"),
        recorder,
        lambda: stop_at is not None and trainer.progress.step >= stop_at,
        ranks=ranks,
    )
    if resume:
        trainer.restore()
    if prepare is not None:
        prepare(trainer)
    try:
        return trainer.train(
            lambda: measure_floors(source, fit_ridge(source, split.train), split.val) if ranks.is_first else {}
        )
    finally:
        recorder.close()


def weights_digest(run: RunDirectory, label: str = "last") -> str:
    """sha256 of a checkpoint's weights."""
    return hashlib.sha256((run.checkpoints / label / "model.safetensors").read_bytes()).hexdigest()


def rows_without_time(run: RunDirectory) -> list[EpochRecord]:
    """The history, apart from how long it took."""
    return [msgspec.structs.replace(record, time=None) for record in run.read_history()]
