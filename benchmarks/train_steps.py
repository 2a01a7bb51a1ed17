"""Speed of whole training steps, as ratios within one process: models, and the exact effective batch against the naive.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/train_steps.py

Best of several rounds that take turns: wall times on a shared machine are noisy, ratios within one run less so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.data.split import split_windows
from engine.data.windows import open_windows
from engine.learner import Learner
from engine.run.settings import DataConfig, RunConfig
from engine.run.spec import apply_patch

RUNS = {
    "mamba_s 256 x 4": {"model.kind": "mamba_s"},
    "mamba_s 256 x 4, vectors contrasted": {"model.kind": "mamba_s", "loss.contrast_space": "target"},
    "amn 256 x 4": {"model.kind": "amn"},
}


def main() -> None:
    """Print windows a second for each, and what exactness costs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    data = DataConfig()
    source = open_windows(data, Path.cwd())
    split = split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    effective = np.array_split(split.train[:1024], 4)
    print(
        f"{torch.get_num_threads()} thread(s), effective batch of {len(split.train[:1024])} in {len(effective)} parts"
    )
    for name, patch in RUNS.items():
        learner = Learner(apply_patch(RunConfig(), patch), source, torch.device("cpu"))

        def exact(learner: Learner = learner) -> None:
            learner.take_step(effective, step=0, lr=1e-4)

        def naive(learner: Learner = learner) -> None:
            for part in effective:  # each contrasted against itself alone
                learner._accumulate_gradients([part], 0)
            learner._update_weights(1e-4)
            learner.optimizer.zero_grad(set_to_none=True)

        exact_s, naive_s = best_of([exact, naive], rounds)
        print(f"{name:38s} {1024 / exact_s:6.0f} windows/s, {exact_s / naive_s:.2f} times the naive accumulation")


def best_of(bodies: list[Callable[[], None]], rounds: int) -> list[float]:
    """Shortest time of each, in seconds, after one round of warming up."""
    times: list[list[float]] = [[] for _ in bodies]
    for _ in range(rounds + 1):
        for body, taken in zip(bodies, times, strict=True):
            began = time.perf_counter()
            body()
            taken.append(time.perf_counter() - began)
    return [min(taken[1:]) for taken in times]


if __name__ == "__main__":
    main()
