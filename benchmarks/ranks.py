"""What two ranks on one machine make of an optimizer step, and of a validation, against one process.

    python benchmarks/ranks.py

The ranks are real: PyTorch's launcher starts them, and gloo exchanges gradients and targets over loopback. What is
compared takes turns in one run, one process computing while the other rank waits for it, and each figure is the median
of the turns. Efficiency is the time of one process with all threads by that of the ranks, which share as many threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.data.corpus import open_corpus
from engine.data.windows import CorpusWindows
from engine.run.placement import Placement
from engine.run.runs_file import corpus_folder
from engine.run.settings import DataConfig, ModelConfig, RunConfig, SamplerConfig
from engine.training.learner import Learner
from engine.training.rank_launch import launch_ranks
from engine.training.ranks import ManyRanks, OneProcess, joined

RANKS = 2
BATCH, ACCUMULATE = 256, 4
NUM_VALIDATED = 4096
CPU = torch.device("cpu")


def main() -> int:
    """Start the ranks; the first one prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    if "RANK" in os.environ:
        torch.set_num_threads(1)
        with joined(CPU, 600.0) as ranks:
            measure(ranks, options.turns)
        return 0
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as runs are started: threads that spin starve the others
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(Path(__file__)), "--turns", str(options.turns)]
        ended = launch_ranks(arguments, Placement(RANKS, 1, 0, "localhost:0", "benchmark"), Path(folder))
    if ended.code:
        print(ended.reason, file=sys.stderr)
    return ended.code


def measure(ranks: ManyRanks, turns: int) -> None:
    """Let ranks and one process take turns."""
    data = DataConfig()
    source = CorpusWindows(open_corpus(corpus_folder(data, Path.cwd())), data.context)
    config = RunConfig(model=ModelConfig(), sampler=SamplerConfig(batch_size=BATCH, accumulate=ACCUMULATE))
    order = np.random.default_rng(0).permutation(source.num_windows)
    micro_batches = list(order[: BATCH * ACCUMULATE].reshape(ACCUMULATE, BATCH))
    validated = order[:NUM_VALIDATED]
    together, alone = Learner(config, source, CPU, ranks=ranks), Learner(config, source, CPU, ranks=OneProcess(CPU))

    def with_threads(count: int, task: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            if ranks.is_first:
                torch.set_num_threads(count)
                task()
                torch.set_num_threads(1)

        return run

    def step(learner: Learner) -> Callable[[], object]:
        return lambda: learner.take_step(micro_batches, step=0, lr=1e-3)

    def validation(learner: Learner) -> Callable[[], object]:
        return lambda: learner.predict(validated)

    tasks = {
        "step, ranks": step(together),
        "step, all threads": with_threads(RANKS, step(alone)),
        "step, one thread": with_threads(1, step(alone)),
        "validation, ranks": validation(together),
        "validation, all threads": with_threads(RANKS, validation(alone)),
        "conferring, ranks": lambda: ranks.confer(stop=False),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(turns + 1):
        for name, task in tasks.items():
            ranks.confer(stop=False)  # all begin together
            began = time.perf_counter()
            task()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - began)
    if ranks.is_first:
        report({name: statistics.median(taken) for name, taken in times.items()})


def report(median: dict[str, float]) -> None:
    """Print figures and ratios."""
    for name, seconds in median.items():
        print(f"{name:<26} {seconds * 1000:9.1f} ms")
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    print(
        f"efficiency of a step, {RANKS} ranks of one thread by one process of {RANKS}: "
        f"{median['step, all threads'] / median['step, ranks']:.2f}"
    )
    print(
        f"speed of a step, {RANKS} ranks by one process of one thread: "
        f"{median['step, one thread'] / median['step, ranks']:.2f} (at best {RANKS})"
    )
    print(f"efficiency of a validation: {median['validation, all threads'] / median['validation, ranks']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
