"""Learning rate: linear warm-up, then a cosine. A function of the step alone: a resume has nothing to restore."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.run.settings import ScheduleConfig

LONGEST_WARMUP = 0.1
"""Warm-up is cut to this share of a run: the playbook's 1000 steps would outlast a small run altogether."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a run's steps."""

    peak: float
    warmup_steps: int
    num_steps: int
    min_lr_ratio: float
    was_cut: bool = False
    """The warm-up asked for was too long for the run."""

    def rate(self, step: int) -> float:
        """The learning rate of the step after `step` others; the peak follows the warm-up, the end is the last step."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        progress = min(1.0, (step - self.warmup_steps) / max(1, self.num_steps - 1 - self.warmup_steps))
        share = self.min_lr_ratio + (1 - self.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.peak * share


def plan_schedule(config: ScheduleConfig, *, peak: float, num_steps: int) -> Schedule:
    """The schedule of a run of `num_steps` optimizer steps, its warm-up cut to a tenth of them where it was longer."""
    longest = int(num_steps * LONGEST_WARMUP)
    return Schedule(
        peak=peak,
        warmup_steps=min(config.warmup_steps, longest),
        num_steps=num_steps,
        min_lr_ratio=config.min_lr_ratio,
        was_cut=config.warmup_steps > longest,
    )
