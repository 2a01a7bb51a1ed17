"""Optimizer steps out of windows."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.run.convert import ConfigError
from engine.training.sampler import EffectiveBatchSampler


def make(articles: list[int], *, batch: int = 8, accumulate: int = 2, cap: int = 0, seed: int = 0):
    """A sampler of windows 100, 101, ..."""
    windows = np.arange(100, 100 + len(articles), dtype=np.int64)
    return EffectiveBatchSampler(
        windows,
        np.array(articles, np.int64),
        batch_size=batch,
        accumulate=accumulate,
        max_per_article=cap,
        seed=seed,
    )


def flat(steps: list[list[np.ndarray]]) -> list[list[int]]:
    return [batch.tolist() for step in steps for batch in step]


@given(
    st.lists(st.integers(-1, 8), min_size=2, max_size=150),
    st.integers(2, 20),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
def test_every_window_comes_once_and_no_micro_batch_exceeds_the_cap(
    articles: list[int], batch: int, accumulate: int, cap: int, number: int
) -> None:
    try:
        sampler = make(articles, batch=batch, accumulate=accumulate, cap=cap)
    except ConfigError as error:
        assert "max_per_article" in str(error)  # noqa: PT017
        assume(False)
    steps = sampler.epoch(number)
    batches = flat(steps)
    assert sorted(chain.from_iterable(batches)) == list(range(100, 100 + len(articles)))
    assert len(steps) == sampler.steps_per_epoch
    assert all(len(step) == accumulate for step in steps[:-1])
    assert 1 <= len(steps[-1]) <= accumulate
    assert all(2 <= len(found) <= batch + 1 for found in batches)
    if cap:
        for found in batches:
            counts = Counter(articles[window - 100] for window in found)
            assert all(count <= cap for article, count in counts.items() if article >= 0)


def test_micro_batches_are_full_but_for_the_last() -> None:
    sizes = [len(batch) for batch in flat(make([window // 3 for window in range(100)], batch=16, cap=2).epoch(0))]
    assert sizes == [16] * 6 + [4]


def test_a_single_leftover_joins_the_previous_micro_batch() -> None:
    assert [len(batch) for batch in flat(make([-1] * 17).epoch(0))] == [8, 9]
    assert [len(batch) for batch in flat(make([-1] * 18).epoch(0))] == [8, 8, 2]


def test_without_a_cap_an_article_may_fill_a_micro_batch() -> None:
    batches = flat(make([0] * 40 + [1] * 40).epoch(0))
    assert max(sum(window < 140 for window in batch) for batch in batches) > 2


def test_a_long_article_makes_more_and_smaller_micro_batches() -> None:
    articles = [0] * 20 + list(range(1, 61))
    batches = flat(make(articles, batch=40, cap=2).epoch(0))
    assert [len(batch) for batch in batches] == [8] * 10


def test_a_cap_that_would_leave_single_windows_is_refused() -> None:
    with pytest.raises(ConfigError, match="Raise the cap"):
        make([0] * 90 + [1] * 10, cap=1)


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    articles = [window // 4 for window in range(64)]
    for cap in (0, 2):
        straight = [flat(make(articles, cap=cap).epoch(number)) for number in range(3)]
        assert flat(make(articles, cap=cap).epoch(2)) == straight[2]
        assert straight[0] != straight[1]
        assert flat(make(articles, cap=cap, seed=1).epoch(0)) != straight[0]


def test_dealing_mixes_articles_differently_every_epoch() -> None:
    sampler = make([window // 4 for window in range(64)], cap=2)
    together = [{frozenset(batch) for batch in flat(sampler.epoch(number))} for number in range(2)]
    assert not together[0] & together[1]


def test_one_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to contrast"):
        make([0])
