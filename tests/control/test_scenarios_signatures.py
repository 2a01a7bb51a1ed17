"""What the scenarios taught the diagnosis, from both sides: causes that stood behind their symptoms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.run.events import EpochRecord
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import DataFault, Evaluated, Facts, Figures

WELL, POORLY = Figures(0.6, 1.0, 1.0), Figures(0.5, 0.85, 0.44)
"""Cosine, Contain@50, R@5 of who ranks well, and of who does not."""


def named(facts: Facts) -> list[str]:
    """What fires, in order."""
    return [diagnosis.signature for diagnosis in diagnose(facts)]


def epoch(**numbers: float) -> Facts:
    return Facts(epochs=(EpochRecord(epoch=2, **numbers),), num_ranked=600)  # type: ignore[arg-type]


def evaluated(model: Figures, floor: Figures, *, val: float, floor_cosine: float) -> Facts:
    """A model beside one floor, the usual bars on R@5 and Eff@5."""
    assert model.r5 is not None
    assert model.contain50
    gated = {"contain50": (model.contain50, 0.6), "r5": (model.r5, 0.4), "eff5": (model.r5 / model.contain50, 0.68)}
    seen = Evaluated(epoch=2, num_queries=300, gated=gated, model=model, floors={"ridge": floor})
    return replace(epoch(val_cosine=val), evaluation=seen, floors={"ridge": floor_cosine})


def test_ranking_is_not_blamed_where_a_better_floor_ranks_well() -> None:
    assert named(evaluated(POORLY, WELL, val=0.5, floor_cosine=0.6)) == ["below_floor"]


def test_ranking_is_blamed_where_the_floor_ranks_no_better_than_the_bar_or_the_model_is_better_in_cosine() -> None:
    assert named(evaluated(POORLY, POORLY, val=0.5, floor_cosine=0.5)) == ["ranking", "below_floor"]
    assert named(evaluated(POORLY, WELL, val=0.6, floor_cosine=0.5)) == ["ranking"]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"queue_drift": 1.07, "queue_negatives_per_query": 1000.0}, ["stale_queue"]),
        ({"queue_drift": 0.301, "queue_negatives_per_query": 1000.0}, ["stale_queue"]),
        ({"queue_drift": 0.094, "queue_negatives_per_query": 500.0}, []),
        ({"queue_drift": 1.07, "queue_negatives_per_query": 0.0}, []),  # nothing of it reaches the loss
        ({"queue_drift": 1.07}, []),
        ({"queue_negatives_per_query": 1000.0}, []),
    ],
)
def test_a_queue_is_stale_by_its_drift_where_it_reaches_the_loss(
    numbers: dict[str, float], expected: list[str]
) -> None:
    assert named(epoch(**numbers)) == expected


def test_a_head_that_is_built_wrong_stands_before_the_collapse_it_brings() -> None:
    collapsed = epoch(pairwise_cosine=0.67, top1_projected=0.0, top1_target=0.3)
    assert named(collapsed) == ["collapse"]
    assert named(replace(collapsed, head_fault="outputs are not of unit length")) == ["dead_head", "collapse"]


def test_wrong_keys_stand_before_the_leak_they_make() -> None:
    leak = DataFault("leak", True, "chunks_shared: 857 of 2,137 chunks")
    keys = DataFault("provenance", True, "payload_alignment: 1,024 truths")
    assert named(Facts(faults=(leak, keys))) == ["provenance", "leak"]


def test_a_gate_out_of_reach_stands_before_a_truth_that_cannot_be_found() -> None:
    lost = Evaluated(epoch=2, num_queries=300, gated={"contain50": (0.01, 0.6)})
    ceiling = DataFault("reach", False, "gate_within_reach: 0.433")
    assert named(Facts(faults=(ceiling,), evaluation=lost)) == ["hopeless", "retrieval_gap"]


@pytest.mark.parametrize(("update", "expected"), [(9e-5, ["vanishing"]), (1.3e-3, [])])
def test_a_learning_rate_a_hundred_times_too_low_is_told_from_a_low_one(update: float, expected: list[str]) -> None:
    assert named(epoch(update_ratio=update, lr=1e-4)) == expected


def wrong_space(model: Figures, floor: Figures, bar: float = 0.6) -> Facts:
    """Truths rank higher behind the head; the searched space finds what is said, of 300 queries."""
    seen = Evaluated(
        epoch=2,
        num_queries=300,
        gated={"contain50": (model.contain50, bar)},
        model=model,
        floors={"context_mean": floor},
    )
    return replace(epoch(ranked_apart=605.0, nearer_projected=0.71), evaluation=seen)


def test_a_space_that_nobody_searches_is_named_where_the_searched_one_falls_short() -> None:
    lost, mean, well = Figures(None, 0.15, 0.02), Figures(None, 0.68, 0.36), Figures(None, 0.66, 0.36)
    assert named(wrong_space(lost, mean)) == ["space_mismatch", "retrieval_gap"]
    assert named(wrong_space(lost, mean, bar=0.1)) == ["space_mismatch"]  # the gate is not all there is
    assert named(wrong_space(well, mean)) == []  # within the noise of 300 queries


def test_an_oscillation_stands_before_the_overfitting_that_its_best_turn_feigns() -> None:
    values = [0.40, 0.46, 0.40, 0.45, 0.39, 0.44, 0.40, 0.44]
    rows = [
        EpochRecord(epoch=number, val_cosine=value, train_ar_cosine=0.5 + 0.01 * number)
        for number, value in enumerate(values, start=1)
    ]
    assert named(Facts(epochs=tuple(rows))) == ["oscillating", "overfit"]


def test_an_oscillation_stands_before_the_floor_that_a_run_which_never_settles_does_not_reach() -> None:
    rows = [
        EpochRecord(epoch=number, val_cosine=value)
        for number, value in enumerate([0.40, 0.46, 0.40, 0.45, 0.39, 0.44], start=1)
    ]
    floor = Figures(0.70, 1.0, 1.0)
    seen = Evaluated(epoch=6, num_queries=300, gated={}, model=Figures(0.44, 0.8, 0.3), floors={"ridge": floor})
    low = Facts(epochs=tuple(rows), evaluation=seen, floors={"ridge": 0.70})
    assert named(low) == ["oscillating", "below_floor"]
    settled = replace(low, epochs=(EpochRecord(epoch=6, val_cosine=0.44),))
    assert named(settled) == ["below_floor"]


def test_an_evaluation_that_asks_something_else_is_not_called_a_leak_where_unseen_articles_gain_alike() -> None:
    seen = Evaluated(
        epoch=2, num_queries=300, gated={}, model=Figures(0.39, 0.6, 0.3), floors={"context_mean": Figures(0.41)}
    )
    numbers = {"val_cosine": 0.74, "val_lift": 0.3, "unseen_lift": 0.295, "unseen_windows": 500}
    (alike,) = diagnose(replace(epoch(**numbers), evaluation=seen, floors={"context_mean": 0.44}))
    assert "another distribution" in alike.evidence[1]
    leaky = diagnose(replace(epoch(**{**numbers, "unseen_lift": 0.1}), evaluation=seen, floors={"context_mean": 0.44}))
    assert "validation knew" in next(one for one in leaky if one.signature == "eval_far_below_val").evidence[1]
