"""Small trainings in ranks that stop and resume: `python -m tests.reference.rank_trainings FOLDER LEG ...`.

A leg is `NAME`, a run in the folder that is trained to its end, `NAME@4`, one that stops after four steps, or `+NAME`,
one that is gone on with.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from engine.run.directory import RunDirectory
from engine.training.ranks import OneProcess, joined
from tests.reference.rank_programs import TIMEOUT_S
from tests.reference.small_training import train_run


def train_legs(folder: Path, legs: list[str], ranks: OneProcess) -> None:
    """Train one leg after the other, with whoever else does."""
    for leg in legs:
        name, _, stop = leg.removeprefix("+").partition("@")
        outcome = train_run(
            RunDirectory(folder / name), stop_at=int(stop) if stop else None, resume=leg.startswith("+"), ranks=ranks
        )
        assert outcome == ("stopped" if stop else "finished")


def main() -> None:
    """Train as one of the ranks that the environment tells of."""
    folder, *legs = sys.argv[1:]
    torch.set_num_threads(1)
    with joined(torch.device("cpu"), TIMEOUT_S) as ranks:
        train_legs(Path(folder), legs, ranks)


if __name__ == "__main__":
    main()
