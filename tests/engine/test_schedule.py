"""Learning rates of a run's steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.run.settings import ScheduleConfig
from engine.training.schedule import plan_schedule


def test_the_rate_rises_to_its_peak_and_falls_to_its_end() -> None:
    schedule = plan_schedule(ScheduleConfig(warmup_steps=10, min_lr_ratio=0.1), peak=1e-3, num_steps=200)
    rates = [schedule.rate(step) for step in range(200)]
    assert not schedule.was_cut
    assert rates[10] == max(rates) == 1e-3
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1e-4)


def test_a_warm_up_longer_than_a_tenth_of_the_run_is_cut() -> None:
    schedule = plan_schedule(ScheduleConfig(warmup_steps=1000), peak=1e-3, num_steps=60)
    assert schedule.was_cut
    assert schedule.warmup_steps == 6


@given(steps=st.integers(1, 500), warmup=st.integers(0, 2000), ratio=st.floats(0, 1), peak=st.floats(1e-6, 1e-1))
def test_no_rate_is_negative_or_above_the_peak(steps: int, warmup: int, ratio: float, peak: float) -> None:
    schedule = plan_schedule(ScheduleConfig(warmup_steps=warmup, min_lr_ratio=ratio), peak=peak, num_steps=steps)
    rates = [schedule.rate(step) for step in range(steps)]
    assert all(0 <= rate <= peak * (1 + 1e-12) for rate in rates)
    assert max(rates) == pytest.approx(peak)
