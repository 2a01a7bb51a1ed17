"""Figures of predictions against pair-by-pair definitions, and a collapse that they must show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from engine.run.events import EpochRecord
from engine.run.gates import judge_checks
from engine.run.settings import CheckBars
from engine.training.sanity import (
    effective_rank,
    inspect_predictions,
    mean_negative_cosine,
    mean_pairwise_cosine,
    ranks_of_own,
    share_first,
)


def units(rows: int, dim: int = 16, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


@given(articles=st.lists(st.integers(-1, 3), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_negatives_are_the_targets_of_other_articles(articles: list[int], seed: int) -> None:
    predictions, targets = units(len(articles), seed=seed), units(len(articles), seed=seed + 1)
    pairs = [
        float(predictions[i] @ targets[j])
        for i in range(len(articles))
        for j in range(len(articles))
        if i != j and (articles[i] == -1 or articles[i] != articles[j])
    ]
    found = mean_negative_cosine(predictions, targets, np.array(articles))
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-6) if pairs else math.isnan(found)


@given(rows=st.integers(2, 12), seed=st.integers(0, 99))
def test_pairwise_cosine_is_the_mean_over_different_rows(rows: int, seed: int) -> None:
    vectors = units(rows, seed=seed)
    plain = [float(vectors[i] @ vectors[j]) for i in range(rows) for j in range(rows) if i != j]
    assert mean_pairwise_cosine(vectors) == pytest.approx(sum(plain) / len(plain), abs=1e-6)


def test_effective_rank_counts_directions() -> None:
    assert effective_rank(units(1).expand(50, -1)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.eye(16)) == pytest.approx(16, rel=1e-6)
    assert effective_rank(torch.eye(4).repeat(20, 1)) == pytest.approx(4, rel=1e-6)
    singular = torch.linalg.svdvals(units(40).double())
    shares = singular / singular.sum()
    assert effective_rank(units(40)) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-6)
    assert math.isnan(effective_rank(torch.full((4, 4), torch.nan)))


def test_top1_asks_for_the_own_candidate_and_takes_no_tie() -> None:
    candidates = units(20)

    def top1(queries: Tensor, among: Tensor) -> float:
        return share_first(ranks_of_own(queries, among))

    assert top1(candidates, candidates) == 1
    assert top1(candidates.roll(1, 0), candidates) == 0
    assert top1(units(1).expand(20, -1), units(1, seed=1).expand(20, -1)) == 0
    assert top1(torch.full((20, 8), torch.nan), units(20, 8)) == 0


def test_a_rank_counts_the_others_that_are_at_least_as_close() -> None:
    queries, candidates = units(40, 6), units(40, 6, seed=1)
    cosines = (queries @ candidates.T).tolist()
    plain = [sum(row[other] >= row[own] for other in range(40) if other != own) for own, row in enumerate(cosines)]
    assert ranks_of_own(queries, candidates).tolist() == plain


def test_good_predictions_pass_the_bars_and_collapsed_ones_do_not() -> None:
    targets, articles = units(300, 64), np.arange(300) // 3
    good = functional.normalize(targets + 0.5 * units(300, 64, seed=1), dim=-1)
    collapsed = functional.normalize(targets.mean(0, keepdim=True) + 0.01 * units(300, 64, seed=1), dim=-1)
    verdicts = []
    for predictions in (good, collapsed):
        seen = inspect_predictions(predictions, targets, articles)
        record = EpochRecord(
            epoch=1,
            margin=seen.margin,
            pairwise_cosine=seen.pairwise_cosine,
            effective_rank=seen.effective_rank,
            effective_rank_limit=seen.effective_rank_limit,
            same_article_negatives=0,
        )
        verdicts.append({name: judged.verdict for name, judged in judge_checks(CheckBars(), record).items()})
    assert set(verdicts[0].values()) == {"passed"}
    assert verdicts[1] == {
        **dict.fromkeys(("margin", "pairwise_cosine"), "missed"),
        **dict.fromkeys(("same_article_negatives", "effective_rank"), "passed"),  # noise around it keeps directions
    }


def test_few_directions_are_caught_where_pairs_are_as_far_apart_as_ever() -> None:
    plane = functional.normalize(torch.cat([units(300, 4), torch.zeros(300, 60)], dim=1), dim=-1)
    seen = inspect_predictions(plane, plane, np.arange(300))
    record = EpochRecord(
        epoch=1,
        pairwise_cosine=seen.pairwise_cosine,
        effective_rank=seen.effective_rank,
        effective_rank_limit=seen.effective_rank_limit,
    )
    judged = judge_checks(CheckBars(), record)
    assert judged["pairwise_cosine"].verdict == "passed"
    assert judged["effective_rank"].verdict == "missed"


def test_the_bar_on_directions_is_what_the_windows_allow() -> None:
    def verdict(rank: float, limit: int | None) -> str:
        record = EpochRecord(epoch=1, effective_rank=rank, effective_rank_limit=limit)
        return judge_checks(CheckBars(), record)["effective_rank"].verdict

    assert (verdict(9.0, 512), verdict(11.0, 512), verdict(9.0, None)) == ("missed", "passed", "missed")
    assert (verdict(3.0, 8), verdict(1.5, 8)) == ("passed", "missed")


def test_both_spaces_are_ranked_and_one_may_fail_where_the_other_does_not() -> None:
    targets = units(50, 16)
    predictions = functional.normalize(torch.cat([targets[:, :4], units(50, 12, seed=1) * 5], dim=1), dim=-1)
    seen = inspect_predictions(
        predictions, targets, np.arange(50), lambda vectors: functional.normalize(vectors[:, :4], dim=-1)
    )
    assert seen.top1_projected == 1
    assert seen.top1_target < 0.5
    assert seen.ranked_apart is not None
    assert seen.ranked_apart >= 25
    assert seen.nearer_projected == 1  # whatever is ranked apart is first behind the head
    alone = inspect_predictions(predictions, targets, np.arange(50))
    assert (alone.top1_projected, alone.ranked_apart, alone.nearer_projected) == (None, None, None)
    same = inspect_predictions(predictions, targets, np.arange(50), lambda vectors: vectors)
    assert (same.ranked_apart, same.nearer_projected) == (0, None)


def test_one_window_gives_figures_that_say_they_cannot_be_known() -> None:
    seen = inspect_predictions(units(1), units(1), np.array([0]))
    assert seen.val_cosine == pytest.approx(1)
    assert math.isnan(seen.margin)
    assert math.isnan(seen.pairwise_cosine)
