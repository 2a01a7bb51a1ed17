"""What the checkpoints of a training need of the disk, asked before its first step instead of after its first epoch."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import Tensor

from engine.run.convert import ConfigError
from engine.run.settings import RunConfig
from engine.training.learner import Learner

RESERVE_BYTES = 64 << 20
"""For events, log, history and reports: a day of events at four a second, of some 200 bytes each."""
_LABELS = ("last", "best")


def checkpoint_bytes(learner: Learner) -> int:
    """About what a checkpoint takes: weights, the optimizer's two moments of each, and a full queue."""
    parts = [learner.model] if learner.head is None else [learner.model, learner.head]
    weights = sum(_bytes_of(tensor) for part in parts for tensor in part.state_dict().values())
    moments = 2 * sum(map(_bytes_of, learner.parameters))
    queue = 0 if learner.queue is None else learner.queue.num_bytes(with_vectors=learner.head is not None)
    return weights + moments + queue


def checkpoints_to_come(checkpoints: Path, config: RunConfig) -> int:
    """Checkpoints that there must be room for: those that are kept and not there yet, and the one being written.

    At least two, for whoever fills the disk next is rarely the training itself.
    """
    every = config.checkpoint.every_epochs
    kept = [*_LABELS, *(f"epoch_{epoch:04d}" for epoch in range(every, config.epochs + 1, every or 1) if every)]
    return max(2, 1 + sum(not (checkpoints / label).is_dir() for label in kept))


def refuse_small_disk(folder: Path, config: RunConfig, num_bytes: int) -> None:
    """Refuse to train where the checkpoints to come do not fit beside the reserve.

    Args:
        folder: of the run.
        config: which checkpoints it keeps.
        num_bytes: of one of them.

    Raises:
        ConfigError: says how much is free, how much is needed and for what.
    """
    free = shutil.disk_usage(folder).free
    count = checkpoints_to_come(folder / "checkpoints", config)
    needed = count * num_bytes + RESERVE_BYTES
    if free < needed:
        raise ConfigError(
            f"{folder}: {free / 1e6:,.0f} MB are free and {needed / 1e6:,.0f} MB are needed: {count} checkpoints of "
            f"{num_bytes / 1e6:,.1f} MB and a reserve of {RESERVE_BYTES / 1e6:,.0f} MB. Free some, keep fewer with "
            "checkpoint.every_epochs, or put [room] runs_dir on another disk."
        )


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
