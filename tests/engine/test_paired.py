"""Paired intervals of what a change of the ranking is worth."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engine.evaluation.metrics import bootstrap_intervals, retrieval_figures
from engine.evaluation.paired import measures_of, paired_lifts
from engine.run.evals import Interval
from engine.run.heads import Lift
from tests.reference.plain_retrieval import share_within


def some_ranks(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    articles = generator.integers(0, 40, 200)
    before = generator.integers(0, 60, 200)
    return before, np.maximum(before - generator.integers(-2, 6, 200), 0), articles


def test_figures_are_those_of_an_evaluation() -> None:
    before, after, articles = some_ranks(0)
    lifts = paired_lifts(measures_of(before), measures_of(after), articles)
    for side, ranks in (("before", before), ("after", after)):
        figures = retrieval_figures(ranks)
        for name in ("r1", "r5", "contain50", "mrr10", "eff5"):
            assert getattr(lifts[name], side) == pytest.approx(getattr(figures, name))
    assert all(lift.difference == pytest.approx(lift.after - lift.before) for lift in lifts.values())


def test_intervals_equal_a_bootstrap_told_article_by_article() -> None:
    before, after, articles = some_ranks(1)
    lift = paired_lifts(measures_of(before), measures_of(after), articles, resamples=2000)["eff5"]
    names, draw = sorted(set(articles.tolist())), random.Random(0)
    rows = {name: np.flatnonzero(articles == name) for name in names}
    differences = []
    for _ in range(2000):
        drawn = np.concatenate([rows[name] for name in draw.choices(names, k=len(names))])
        left, right = before[drawn].tolist(), after[drawn].tolist()
        efficiencies = [share_within(ranks, 5) / share_within(ranks, 50) for ranks in (left, right)]
        differences.append(efficiencies[1] - efficiencies[0])
    assert lift.interval is not None
    assert [lift.interval.low, lift.interval.high] == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.01)


def test_a_pair_is_far_narrower_than_its_sides() -> None:
    generator = np.random.default_rng(2)
    articles = np.repeat(np.arange(60), 5)
    before = np.repeat(generator.integers(1, 12, 60), 5)  # hard articles and easy ones
    after = np.where(generator.random(300) < 0.1, 1, before)
    lift = paired_lifts(measures_of(before), measures_of(after), articles)["r5"]
    alone = bootstrap_intervals(before, articles)
    assert lift.interval is not None
    assert alone is not None
    assert lift.interval.high - lift.interval.low < (alone.r5.high - alone.r5.low) / 2
    assert lift.effect == "lifts"


def test_the_same_ranking_twice_is_no_lift_and_one_article_shows_nothing() -> None:
    before, _, articles = some_ranks(3)
    same = paired_lifts(measures_of(before), measures_of(before), articles)["r5"]
    assert (same.difference, same.interval, same.effect) == (0.0, Interval(low=0.0, high=0.0), "does not lift")
    single = paired_lifts(measures_of(before), measures_of(np.ones_like(before)), np.zeros_like(articles))["r5"]
    assert (single.interval, single.effect) == (None, "does not lift")
    assert "a single article" in single.in_words("R@5")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.03, "lifts R@5 by +0.020 [+0.010, +0.030]"),
        (-0.01, 0.05, "does not lift R@5: the interval holds 0 (+0.020 [-0.010, +0.050])"),
        (0.0, 0.04, "does not lift R@5: the interval holds 0 (+0.020 [+0.000, +0.040])"),
        (-0.03, -0.01, "harms R@5 by +0.020 [-0.030, -0.010]"),
    ],
)
def test_the_words_follow_the_interval(low: float, high: float, words: str) -> None:
    lift = Lift(before=0.4, after=0.42, difference=0.02, interval=Interval(low=low, high=high))
    assert lift.in_words("R@5") == words
