"""Figures of retrieval against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import contain_at_k, eff, latency_percentiles, mrr_at_k, recall_at_k, retrieval_figures
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
