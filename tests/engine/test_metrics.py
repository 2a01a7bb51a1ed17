"""Figures of retrieval against their definitions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.metrics import (
    bootstrap_intervals,
    contain_at_k,
    eff,
    figures_by_topic,
    latency_percentiles,
    mrr_at_k,
    recall_at_k,
    retrieval_figures,
)
from engine.run.evals import Interval
from tests.reference.plain_bootstrap import resampled_figures
from tests.reference.plain_retrieval import mean_reciprocal_rank, share_within

ranks_lists = st.lists(st.integers(0, 80), min_size=1, max_size=40)


@given(ranks_lists, st.integers(1, 60))
def test_figures_equal_their_definitions(ranks: list[int], k: int) -> None:
    array = np.array(ranks, np.int64)
    assert contain_at_k(array, k) == recall_at_k(array, k) == pytest.approx(share_within(ranks, k))
    assert mrr_at_k(array, k) == pytest.approx(mean_reciprocal_rank(ranks, k))


@given(ranks_lists)
def test_figures_are_ordered_shares(ranks: list[int]) -> None:
    figures = retrieval_figures(np.array(ranks, np.int64))
    assert 0 <= figures.r1 <= figures.mrr10 <= figures.r10 <= figures.contain20 <= figures.contain50 <= 1
    assert figures.r1 <= figures.r5 <= figures.r10
    assert 0 <= figures.eff5 <= 1


def test_ranks_of_a_known_case() -> None:
    figures = retrieval_figures(np.array([1, 4, 6, 30, 0], np.int64))
    assert (figures.r1, figures.r5, figures.r10, figures.contain20, figures.contain50) == (0.2, 0.4, 0.6, 0.6, 0.8)
    assert figures.eff5 == pytest.approx(0.5)
    assert figures.mrr10 == pytest.approx((1 + 1 / 4 + 1 / 6) / 5)


def test_eff_is_zero_where_nothing_is_contained() -> None:
    assert eff(0.0, 0.0) == 0.0
    assert eff(0.3, 0.6) == 0.5
    assert retrieval_figures(np.zeros(3, np.int64)).eff5 == 0.0


def test_latency_percentiles_interpolate_and_an_empty_sample_has_none() -> None:
    measured = latency_percentiles(np.arange(1, 102, dtype=float), threads=2)
    assert (measured.p50, measured.p95, measured.p99) == (51.0, 96.0, 100.0)
    assert (measured.threads, measured.num_queries) == (2, 101)
    nothing = latency_percentiles(np.array([]), threads=1)
    assert (nothing.p50, nothing.p95, nothing.p99, nothing.num_queries) == (None, None, None, 0)


def some_ranks(num_articles: int, seed: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ranks of 1 to 9 queries an article, alike within an article, and their articles."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 10, num_articles)
    articles = np.repeat(generator.permutation(1000)[:num_articles], lengths)
    usual_rank = np.repeat(generator.choice([2, 30, 90], num_articles), lengths)
    return generator.poisson(usual_rank) + 1, articles


def test_intervals_equal_those_of_a_plain_bootstrap_of_whole_articles() -> None:
    ranks, articles = some_ranks(60)
    intervals = bootstrap_intervals(ranks, articles)
    assert intervals is not None
    plain = resampled_figures(ranks.tolist(), articles.tolist(), resamples=4000, seed=1)
    for name in ("contain50", "r5", "eff5"):
        interval = getattr(intervals, name)
        low, high = np.percentile(plain[name], [2.5, 97.5])
        assert interval.low == pytest.approx(low, abs=0.02)
        assert interval.high == pytest.approx(high, abs=0.02)


def test_windows_of_an_article_count_as_one_so_that_repeating_them_adds_no_certainty() -> None:
    ranks, articles = some_ranks(40)
    once = bootstrap_intervals(ranks, articles)
    assert bootstrap_intervals(np.repeat(ranks, 9), np.repeat(articles, 9)) == once
    assert once is not None
    pretended = bootstrap_intervals(np.repeat(ranks, 9), np.arange(9 * len(ranks)))
    assert pretended is not None
    assert pretended.r5.high - pretended.r5.low < 0.5 * (once.r5.high - once.r5.low)


@given(ranks_lists, st.integers(2, 6))
def test_intervals_are_ordered_shares_and_decided_by_the_seed(ranks: list[int], num_articles: int) -> None:
    array, articles = np.array([*ranks, 1], np.int64), np.arange(len(ranks) + 1) % num_articles
    intervals = bootstrap_intervals(array, articles, resamples=50)
    assert intervals == bootstrap_intervals(array, articles, resamples=50)
    assert intervals is not None
    for interval in (intervals.contain50, intervals.r5, intervals.eff5):
        assert 0 <= interval.low <= interval.high <= 1


def test_a_single_article_has_no_interval_and_nothing_found_has_no_width() -> None:
    assert bootstrap_intervals(np.array([1, 9, 60]), np.array([4, 4, 4])) is None
    none_found = bootstrap_intervals(np.zeros(4, np.int64), np.array([1, 1, 2, 3]))
    assert none_found is not None
    assert none_found.contain50 == none_found.r5 == none_found.eff5 == Interval(low=0.0, high=0.0)


def test_an_interval_holds_its_ends_and_what_lies_between() -> None:
    interval = Interval(low=0.3, high=0.5)
    assert [interval.holds(value) for value in (0.29, 0.3, 0.4, 0.5, 0.51)] == [False, True, True, True, False]


def test_topics_share_out_the_queries() -> None:
    ranks = np.array([1, 60, 7, 2, 0], np.int64)
    figures = figures_by_topic(ranks, np.array([3, 3, 8, 9, 9]), ["b", "b", "a", "b", "b"])
    assert list(figures) == ["a", "b"]
    assert (figures["a"].num_queries, figures["a"].num_articles, figures["a"].intervals) == (1, 1, None)
    assert (figures["a"].r5, figures["a"].contain50) == (0.0, 1.0)
    assert (figures["b"].num_queries, figures["b"].num_articles) == (4, 2)
    assert (figures["b"].r5, figures["b"].contain50) == (0.5, 0.5)
    assert figures["b"].intervals is not None
