"""Speeds, and one amount of memory, as ratios within one run.

Machines are noisy, so what is compared is measured in turns, minute by minute.

Each figure is the least time of several turns; the ratio of two such figures is what a change should be judged by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from engine.bench.queue import QueueTask, peak_bytes
from engine.data.windows import WindowSource
from engine.models.mamba import MambaBlock
from engine.run.convert import ConfigError
from engine.run.settings import ModelConfig, QueueConfig, RunConfig
from engine.training.learner import Learner
from engine.training.losses import mask_candidates, micro_loss, project_candidates

BATCH = 256
ACCUMULATE = 4


class Comparison(Struct, frozen=True, kw_only=True):
    """Something held against something else, in the same run."""

    what: str
    against: str
    ratio: float
    """Time, or memory, of `what` by that of `against`."""
    reach: float | None
    """What the ratio should not exceed; None where it only informs."""
    seconds: float | None = None
    """Time of `what`; None where memory was measured."""
    num_bytes: int | None = None
    """Memory of `what`, likewise."""

    @property
    def is_within_reach(self) -> bool:
        """Whether the ratio is what it should be."""
        return self.reach is None or self.ratio <= self.reach


def run_benchmarks(source: WindowSource, turns: int) -> list[Comparison]:
    """Every comparison, on the windows of a corpus.

    Raises:
        ConfigError: it has too few windows for an effective batch.
    """
    if source.num_windows < BATCH * ACCUMULATE:
        raise ConfigError(
            f"{source.num_windows:,} windows are too few to measure batches of {BATCH} x {ACCUMULATE}. Name another "
            "corpus, or none for the embedded one."
        )
    return [
        _windows_long_and_short(turns),
        _exact_and_naive(source, turns),
        *_queue_streamed_and_naive(turns, share=QueueConfig().same_topic_share),
        *_queue_streamed_and_naive(turns, share=0.0),
        _mamba_and_amn(source, turns),
        _bf16_and_float32(source, turns),
    ]


def _windows_long_and_short(turns: int) -> Comparison:
    """A window 20 times as long should cost about 20 times as much, not 400."""
    block = MambaBlock(ModelConfig())
    width = ModelConfig().width

    def pass_over(length: int) -> Callable[[], object]:
        hidden = torch.randn(BATCH // 4, length, width, requires_grad=True)
        return lambda: block(hidden).sum().backward()

    best = _least_times({"long": pass_over(100), "short": pass_over(5)}, turns)
    return Comparison(
        what="Mamba-S block, window 100",
        against="window 5",
        ratio=best["long"] / best["short"],
        reach=25.0,
        seconds=best["long"],
    )


def _exact_and_naive(source: WindowSource, turns: int) -> Comparison:
    """Negatives from all of the effective batch, against negatives from each micro-batch alone."""
    learner = Learner(RunConfig(), source, torch.device("cpu"))
    micro_batches = _micro_batches(source)

    def naive() -> None:
        for windows in micro_batches:
            _contrast_alone(learner, source, windows)
        learner.optimizer.zero_grad(set_to_none=True)

    def exact() -> None:
        learner.accumulate_gradients(micro_batches, 0)
        learner.optimizer.zero_grad(set_to_none=True)

    best = _least_times({"exact": exact, "naive": naive}, turns)
    return Comparison(
        what=f"exact negatives over {BATCH} x {ACCUMULATE}",
        against="accumulated naively",
        ratio=best["exact"] / best["naive"],
        reach=1.1,
        seconds=best["exact"],
    )


def _queue_streamed_and_naive(turns: int, *, share: float) -> list[Comparison]:
    """A queue's negatives in blocks, against all logits at once: time, and memory on top of what is there.

    Args:
        turns: how often each is timed.
        share: asked for of the same topic; with 0 every entry is computed with, and nothing can be left out.
    """
    task = QueueTask(share=share)
    best = _least_times({"streamed": task.streamed, "naive": task.naive}, turns)
    streamed_bytes = peak_bytes(task.streamed)
    what, against = f"queue of {task.size:,}, same-topic share {share:g}, streamed", "all logits at once"
    return [
        Comparison(
            what=f"{what}, time",
            against=against,
            ratio=best["streamed"] / best["naive"],
            reach=0.6,
            seconds=best["streamed"],
        ),
        Comparison(
            what=f"{what}, memory",
            against=against,
            ratio=streamed_bytes / peak_bytes(task.naive),
            reach=0.1,
            num_bytes=streamed_bytes,
        ),
    ]


def _bf16_and_float32(source: WindowSource, turns: int) -> Comparison:
    """Whole training steps of Mamba-S in the two precisions."""
    micro_batches = _micro_batches(source)

    def steps_in(precision: Literal["float32", "bf16"]) -> Callable[[], object]:
        learner = Learner(RunConfig(precision=precision), source, torch.device("cpu"))
        return lambda: learner.take_step(micro_batches, step=0, lr=1e-3)

    best = _least_times({"bf16": steps_in("bf16"), "float32": steps_in("float32")}, turns)
    return Comparison(
        what="training step of Mamba-S in bf16",
        against="in float32",
        ratio=best["bf16"] / best["float32"],
        reach=None,
        seconds=best["bf16"],
    )


def _mamba_and_amn(source: WindowSource, turns: int) -> Comparison:
    """Whole training steps of the two models."""
    micro_batches = _micro_batches(source)

    def steps_of(model: ModelConfig) -> Callable[[], object]:
        learner = Learner(RunConfig(model=model), source, torch.device("cpu"))
        return lambda: learner.take_step(micro_batches, step=0, lr=1e-3)

    steps = {"mamba_s": steps_of(ModelConfig()), "amn": steps_of(ModelConfig(kind="amn", layers=2))}
    best = _least_times(steps, turns)
    rate = BATCH * ACCUMULATE / best["mamba_s"]
    return Comparison(
        what=f"training step of Mamba-S ({rate:,.0f} windows/s)",
        against=f"of AMN ({BATCH * ACCUMULATE / best['amn']:,.0f} windows/s)",
        ratio=best["mamba_s"] / best["amn"],
        reach=None,
        seconds=best["mamba_s"],
    )


def _contrast_alone(learner: Learner, source: WindowSource, windows: NDArray[np.int64]) -> None:
    """What accumulating gradients comes to without care: 255 negatives a query, whatever the effective batch."""
    contexts, targets = (torch.from_numpy(array) for array in source.gather(windows))
    articles = source.articles[windows]
    candidates = project_candidates(targets, articles, learner.head)
    mask = mask_candidates(articles, 0, len(windows), mask_same_article=True)
    share = micro_loss(learner.model(contexts), targets, candidates, mask, 0, learner.config.loss, learner.head)
    share.loss.backward()  # type: ignore[no-untyped-call]


def _micro_batches(source: WindowSource) -> list[NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(source.num_windows)[: BATCH * ACCUMULATE]
    return list(order.reshape(ACCUMULATE, BATCH))


def _least_times(tasks: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The least seconds of each task; the tasks take turns, so that a slow minute hits them all."""
    best = dict.fromkeys(tasks, float("inf"))
    for turn in range(turns + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if turn:  # the first turn warms up
                best[name] = min(best[name], time.perf_counter() - began)
    return best
