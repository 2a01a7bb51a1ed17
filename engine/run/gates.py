"""Gates and bars: a number held against a bar, in words. NaN and a missing number never pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from engine.run.events import EpochRecord, Verdict
from engine.run.settings import CheckBars, Gate

LIFT_GAP_ERRORS = 2.0
"""Standard errors that a difference of lifts may have by chance: an honest one has more in 5 of 100 runs."""


MORE_ALIKE = 0.1
"""By how much predictions may be more alike than the means of their contexts: a model that filters noise out makes them
so. Held beside the plain bar, not instead of it, and only ever wider."""


class Judgement(Struct, frozen=True):
    """A verdict and why."""

    verdict: Verdict
    value: float | None
    bar: float
    detail: str


def hold(value: float | None, bar: float, *, at_least: bool, digits: int = 3) -> Judgement:
    """Hold `value` against `bar`; a number that is missing or not finite is undecidable, never passed."""
    sign = "≥" if at_least else "≤"
    if value is None or not math.isfinite(value):
        return Judgement("undecidable", None, bar, f"no number to hold against {sign} {bar:.{digits}f}")
    gap = value - bar if at_least else bar - value
    shown, limit = f"{value:.{digits}f}", f"{bar:.{digits}f}"
    if gap >= 0:
        return Judgement("passed", value, bar, f"{shown} {sign} {limit}, by {abs(gap):.{digits}f}")
    return Judgement("missed", value, bar, f"{shown} {'<' if at_least else '>'} {limit}, missed by {-gap:.{digits}f}")


def judge_gate(gate: Gate, record: EpochRecord, floors: Mapping[str, float]) -> Judgement:
    """Judge a gate on the record of its epoch; with `above_floor`, on the best floor too."""
    judged = hold(getattr(record, gate.metric, None), gate.at_least, at_least=True)
    if gate.above_floor is None or judged.verdict == "undecidable":
        return judged
    if not floors or not all(map(math.isfinite, floors.values())):
        return Judgement("undecidable", judged.value, gate.at_least, "the floors were not measured")
    best = max(floors, key=lambda name: floors[name])
    bar = max(gate.at_least, floors[best] + gate.above_floor)
    stricter = hold(judged.value, bar, at_least=True)
    if bar == gate.at_least:
        return judged
    return Judgement(
        stricter.verdict,
        stricter.value,
        bar,
        f"{stricter.detail} (floor {best} {floors[best]:.3f} + {gate.above_floor})",
    )


def judge_checks(bars: CheckBars, record: EpochRecord) -> dict[str, Judgement]:
    """The sanity checks of an epoch, by name; `lift_gap` where unseen windows were measured."""
    judged = {
        "margin": hold(record.margin, bars.margin_at_least, at_least=True),
        "same_article_negatives": hold(
            record.same_article_negatives, bars.same_article_negatives_at_most, at_least=False, digits=0
        ),
        "pairwise_cosine": hold(record.pairwise_cosine, _pairwise_bar(bars, record), at_least=False),
        "effective_rank": hold(record.effective_rank, _effective_rank_bar(bars, record), at_least=True, digits=1),
    }
    if record.unseen_windows is not None or record.unseen_lift is not None:
        judged["lift_gap"] = _judge_lift_gap(bars, record)
    return judged


def _pairwise_bar(bars: CheckBars, record: EpochRecord) -> float:
    """The bar, higher where the windows themselves are alike, as those of few or of closely related articles are."""
    alike = record.context_pairwise_cosine
    return bars.pairwise_cosine_at_most if alike is None else max(bars.pairwise_cosine_at_most, alike + MORE_ALIKE)


def _effective_rank_bar(bars: CheckBars, record: EpochRecord) -> float:
    """The bar, lower where a few windows or a narrow vector could not span that many directions."""
    limit = record.effective_rank_limit
    return bars.effective_rank_at_least if limit is None else min(bars.effective_rank_at_least, limit / 4)


def _judge_lift_gap(bars: CheckBars, record: EpochRecord) -> Judgement:
    """Whether validation is flattered: its lift over the context mean against the same on unseen articles."""
    seen, unseen, error = record.val_lift, record.unseen_lift, record.lift_gap_error or 0.0
    gap = None if seen is None or unseen is None else abs(seen - unseen)
    judged = hold(gap, bars.unseen_lift_gap_at_most + LIFT_GAP_ERRORS * error, at_least=False)
    if gap is None or judged.verdict == "undecidable":
        return judged
    allowance = f" (bar {bars.unseen_lift_gap_at_most:.3f} + {LIFT_GAP_ERRORS:g} x error {error:.3f})" if error else ""
    words = f"{judged.detail}{allowance}; lift {seen:+.3f} on validation, {unseen:+.3f} on unseen articles"
    return Judgement(judged.verdict, judged.value, judged.bar, words)
