"""Where each bar stands: silent just before it, half sure just beyond it, 95 % sure at the fault's own figure."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engine.run.events import EpochRecord
from engine.run.settings import CheckBars
from tui.control.diagnosis.diagnose import diagnose
from tui.control.diagnosis.facts import DataFault, Evaluated, Facts, Figures


def one(**numbers: float) -> Facts:
    """A third epoch, and nothing else on record."""
    return Facts(epochs=(EpochRecord(epoch=3, **numbers),), num_ranked=639)  # type: ignore[arg-type]


def then(*rows: dict[str, float]) -> Facts:
    """Epochs from 1 on."""
    return Facts(epochs=tuple(EpochRecord(epoch=epoch, **row) for epoch, row in enumerate(rows, start=1)))  # type: ignore[arg-type]


def evaluated(
    *, val: float = 0.5, floor: float | None = None, bars: tuple[float, ...] = (0.6, 0.4), **changes: object
) -> Facts:
    """An epoch and its evaluation."""
    contain50, r5 = (changes.pop(name, None) for name in ("contain50", "r5"))
    gated = {"contain50": (contain50, bars[0]), "r5": (r5, bars[1])}
    seen = replace(Evaluated(epoch=3, num_queries=10_000, gated=gated), **changes)  # type: ignore[arg-type]
    facts = replace(one(val_cosine=val), evaluation=seen)
    return facts if floor is None else replace(facts, floors={"context_mean": floor})


def leaning(gap: float) -> Facts:
    """Validation above unseen articles by this much."""
    return one(val_lift=gap, unseen_lift=0.0, unseen_windows=500)


def floored(deficit: float) -> Facts:
    """A floor above the model by this much in cosine, and just so in retrieval."""
    figures = Figures(None, 0.65, 0.3)
    return evaluated(val=0.5 - deficit, floor=0.5, model=figures, floors={"context_mean": figures})


def traded(deficit: float, gain: float = 0.1) -> Facts:
    """The context mean above the model in cosine and below it in R@5, of 10,000 queries."""
    floors = {"context_mean": Figures(None, 0.65, 0.3)}
    return evaluated(val=0.5 - deficit, floor=0.5, model=Figures(None, 0.7, 0.3 + gain), floors=floors)


def falling(fall: float, *, rise: float = 0.05, gap: float = 0.2, epochs: int = 3) -> Facts:
    """val_cosine falls from its best at epoch 1 while the training cosine rises."""
    last = {"val_cosine": 0.5 - fall, "train_ar_cosine": 0.5 - fall + gap}
    first = {"val_cosine": 0.5, "train_ar_cosine": 0.5 - fall + gap - rise}
    return then(first, *[last] * epochs)


def losing(rise: float) -> Facts:
    """A validation loss that rises from its lowest at epoch 1."""
    return then({"val_loss": 1.0, "train_loss": 1.0}, *[{"val_loss": rise, "train_loss": 0.9}] * 3)


def swinging(size: float) -> Facts:
    """Up and down by `size`, five times."""
    return then(*[{"val_cosine": 0.45 + size * (epoch % 2)} for epoch in range(6)])


def stuck(share: float) -> Facts:
    """InfoNCE at this share of what guessing gives."""
    return one(train_infonce=share * math.log(64), negatives_per_query=63.0)


def promised(count: float) -> Facts:
    """So many negatives of 1,000."""
    return replace(one(negatives_per_query=count), promised_negatives=1000)


def indexed(loss: float) -> Facts:
    """An index that loses this much of Contain@50."""
    return evaluated(model=Figures(None, 0.8, 0.5), on_index=Figures(None, 0.8 - loss, 0.5))


BARS = {
    "huge gradient": ("exploding", one(grad_norm=99), one(grad_norm=100.1), one(grad_norm=1000)),
    "jumped gradient": (
        "exploding",
        then({"grad_norm": 2.0}, {"grad_norm": 19.9}),
        then({"grad_norm": 2.0}, {"grad_norm": 20.1}),
        then({"grad_norm": 0.9}, {"grad_norm": 90.0}),
    ),
    "small jump": ("exploding", then({"grad_norm": 0.1}, {"grad_norm": 12.4}), None, None),
    "large update": ("exploding", one(update_ratio=0.0499), one(update_ratio=0.0501), one(update_ratio=0.38)),
    "growing loss": (
        "exploding",
        then({"train_loss": 1.0}, {"train_loss": 1.99}),
        then({"train_loss": 1.0}, {"train_loss": 2.001}),
        then({"train_loss": 1.0}, {"train_loss": 10.0}),
    ),
    "loss below its first": ("exploding", then({"train_loss": 9}, {"train_loss": 1}, {"train_loss": 8}), None, None),
    "small gradient": ("vanishing", one(grad_norm=1.01e-3), one(grad_norm=0.99e-3), one(grad_norm=1e-6)),
    "small update": (
        "vanishing",
        one(update_ratio=3.01e-4, lr=1e-3),
        one(update_ratio=2.99e-4, lr=1e-3),
        one(update_ratio=1e-4, lr=1e-3),
    ),
    "alike": ("collapse", one(pairwise_cosine=0.299), one(pairwise_cosine=0.301), one(pairwise_cosine=0.5)),
    "few directions": ("collapse", one(effective_rank=10.0), one(effective_rank=9.98), one(effective_rank=4.0)),
    "space": (
        "space_mismatch",
        one(top1_projected=0.149, top1_target=0.1),
        one(top1_projected=0.1501, top1_target=0.1),
        one(top1_projected=0.2, top1_target=0.1),
    ),
    "space within noise": ("space_mismatch", one(top1_projected=0.03, top1_target=0.015), None, None),
    "nearer behind the head": (
        "space_mismatch",
        one(ranked_apart=2500, nearer_projected=0.5199),
        one(ranked_apart=2500, nearer_projected=0.5201),
        one(ranked_apart=2500, nearer_projected=0.69),
    ),
    "nearer of a few": ("space_mismatch", one(ranked_apart=25, nearer_projected=0.69), None, None),
    "nearer, where ranks say more than a ratio": (
        "space_mismatch",
        one(ranked_apart=500, nearer_projected=0.41, top1_projected=0.2, top1_target=0.1),
        None,
        one(ranked_apart=500, nearer_projected=0.69, top1_projected=0.1, top1_target=0.09),
    ),
    "losing head": (
        "dead_head",
        one(top1_projected=0.101, top1_target=0.2),
        one(top1_projected=0.0999, top1_target=0.2),
        one(top1_projected=0.0, top1_target=0.2),
    ),
    "stuck contrast": ("dead_head", stuck(0.979), stuck(0.9801), stuck(1.0)),
    "few negatives": (
        "too_few_negatives",
        one(negatives_per_query=32.0),
        one(negatives_per_query=31.9),
        one(negatives_per_query=7.0),
    ),
    "broken promise": ("too_few_negatives", promised(500), promised(499.9), promised(250)),
    "lift": ("leak", leaning(0.0199), leaning(0.0201), leaning(0.044)),
    "swing": ("oscillating", swinging(0.0195), swinging(0.0201), swinging(0.08)),
    "fall": ("overfit", falling(0.0099), falling(0.01001), falling(0.014)),
    "no rise": ("overfit", falling(0.02, rise=0.019), None, falling(0.02, rise=0.021)),
    "no gap": ("overfit", falling(0.02, gap=0.049), None, falling(0.02, gap=0.051)),
    "one dip": ("overfit", falling(0.02, epochs=2), None, falling(0.02, epochs=3)),
    "loss": ("overfit", losing(1.049), losing(1.0501), losing(1.2)),
    "eval cosine": (
        "eval_far_below_val",
        evaluated(model=Figures(0.401)),
        evaluated(model=Figures(0.3999)),
        evaluated(model=Figures(0.241)),
    ),
    "contained": ("retrieval_gap", evaluated(contain50=0.6), evaluated(contain50=0.5999), evaluated(contain50=0.162)),
    "index": ("retrieval_gap", indexed(0.0499), indexed(0.0501), indexed(0.2)),
    "ranked": (
        "ranking",
        evaluated(contain50=0.7, r5=0.4),
        evaluated(contain50=0.7, r5=0.3999),
        evaluated(contain50=0.7, r5=0.14),
    ),
    "truths": (
        "provenance",
        evaluated(oracle=Figures(1.0, 0.95, 0.9)),
        evaluated(oracle=Figures(1.0, 0.9499, 0.9)),
        evaluated(oracle=Figures(1.0, 0.14, 0.1)),
    ),
    "floor": ("below_floor", floored(-0.001), floored(0.0), floored(0.18)),
    "trade": ("trade_off", traded(0.0), traded(0.0001), traded(0.055)),
    "trade within noise": ("trade_off", traded(0.055, gain=0.012), None, traded(0.055, gain=0.014)),
}
"""Signature; what stands just before its bar, just beyond it, and at the fault's own figure."""


@pytest.mark.parametrize("name", BARS)
def test_a_signature_is_silent_before_its_bar_and_sure_at_its_fault(name: str) -> None:
    signature, before, beyond, fault = BARS[name]
    assert signature not in {found.signature for found in diagnose(before)}
    for facts, sure in ((beyond, 0.5), (fault, 0.95)):
        if facts is not None:
            confidence = {found.signature: found.confidence for found in diagnose(facts)}
            assert confidence[signature] == pytest.approx(sure, abs=0.01)


def test_what_the_preflight_only_warns_of_is_likely_and_what_it_blocks_is_certain() -> None:
    for is_blocking, sure in ((False, 0.9), (True, 1.0)):
        facts = replace(one(), faults=(DataFault("leak", is_blocking, "near_duplicates: 4 %"),))
        assert [found.confidence for found in diagnose(facts)] == [sure]


def test_bars_of_the_run_are_the_bars_that_count() -> None:
    strict = CheckBars(pairwise_cosine_at_most=0.1, effective_rank_at_least=50.0)
    facts = one(pairwise_cosine=0.2, effective_rank=40.0)
    assert diagnose(facts) == []
    assert [found.signature for found in diagnose(replace(facts, bars=strict))] == ["collapse"]


def test_only_the_last_epochs_count_for_an_oscillation() -> None:
    wild = [{"val_cosine": 0.40 + 0.08 * (epoch % 2)} for epoch in range(8)]
    calm = [{"val_cosine": 0.47 + epoch / 1000} for epoch in range(8)]
    assert [found.signature for found in diagnose(then(*wild))] == ["oscillating"]
    assert diagnose(then(*wild, *calm)) == []
