"""Signatures of an evaluation: eval far below val, retrieval gap, ranking, below the floor, trade-off."""

from __future__ import annotations

import math

from engine.run.gates import judge_checks
from tui.control.diagnosis.facts import Evaluated, Facts, Figures
from tui.control.diagnosis.finding import Finding, confidence, strongest

EVAL_GAP, LEAKY_EVAL_GAP = 0.10, 0.259
"""val_cosine minus the evaluation's cosine. An honest run of few articles showed .044; the run that was trained on a
leaking split and evaluated on other data .515 - .256."""
GAP_CONTAIN50 = 0.162
"""Contain@50 of a model whose contrast shaped a space nobody searches; healthy ones reach .62 to .77 (gate .60)."""
RANKING_FAULT = 0.14
"""R@5, and so Eff@5, of the planted data whose cosine is right and whose ranking is not, at Contain@50 = 1. The
embedded corpus gives every model an Eff@5 of .58 to .64 (gate .68): the reranker's work, and barely beyond the bar."""
INDEX_LOSS, LARGE_INDEX_LOSS = 0.05, 0.20
"""Contain@50 by exact search minus through the index. Tuned indexes find .95 and more of the exact first 50; real
sentence vectors at too few probes .78 to .85."""
FLOOR_DEFICIT = 0.18
"""val_cosine of a model that learns from scratch below the context mean on the embedded corpus: .39 and .57."""
TRADED, RETRIEVAL_ERRORS = 0.055, 2.0
"""val_cosine below the context mean where the vectors themselves are contrasted: .579 to .524, at R@5 39 to 49 %; and
the standard errors by which R@5 must stand above the floor's to count as more."""


def eval_far_below_val(facts: Facts) -> Finding | None:
    """The evaluation's cosine is far below validation's of the same weights."""
    seen = facts.evaluation
    validated = _validated(facts, seen.epoch) if seen else None
    if seen is None or seen.model.cosine is None or validated is None:
        return None
    epoch, value = validated
    gap = value - seen.model.cosine
    if gap < EVAL_GAP:
        return None
    words = (
        f"eval cosine {seen.model.cosine:.3f}, val_cosine {value:.3f} at epoch {epoch}: {gap:.3f} below, "
        f"{gap - EVAL_GAP:.3f} beyond the bar of {EVAL_GAP:.2f}"
    )
    sure = confidence(gap, bar=EVAL_GAP, fault=LEAKY_EVAL_GAP)
    return Finding((words, *_whose_fault(facts, seen, gap)), sure)


def retrieval_gap(facts: Facts) -> Finding | None:
    """The truth is not among the first 50, or the index loses it there."""
    seen = facts.evaluation
    return strongest(_not_contained(seen), lost_by_index(seen)) if seen else None


def ranking(facts: Facts) -> Finding | None:
    """The truth is among the first 50 and not among the first 5.

    Not where a floor that is better all round ranks well enough: then the model falls short, not the ranking.
    """
    seen = facts.evaluation
    contained, bar = seen.gated.get("contain50", (None, 0.0)) if seen else (None, 0.0)
    if seen is None or contained is None or contained < bar:
        return None
    if any(_ranks_well(seen, floor) for floor in _better_floors(facts)):
        return None
    found = []
    for gate, label in (("r5", "R@5"), ("eff5", "Eff@5")):
        short = seen.shortfall(gate)
        if short is not None:
            value, bar = short
            words = f"{label} {value:.3f} < {bar:.3f}, missed by {bar - value:.3f}, at Contain@50 {contained:.3f}"
            sure = confidence(value, bar=bar, fault=min(RANKING_FAULT, bar / 2)) if bar else 0.5
            found.append(Finding((words,), sure))
    return strongest(*found)


def below_floor(facts: Facts) -> Finding | None:
    """A floor is at least as good in cosine and in retrieval: nothing was gained by training."""
    seen, latest = facts.evaluation, _validated(facts, facts.evaluation.epoch if facts.evaluation else 0)
    better = _better_floors(facts)
    if seen is None or latest is None or not better:
        return None
    (epoch, value), name = latest, better[0]
    cosine, figures = facts.floors[name], seen.floors[name]
    words = (
        f"val_cosine {value:.3f} at epoch {epoch}, {cosine - value:.3f} below {name} ({cosine:.3f})",
        f"R@5 {seen.model.r5:.3f} and Contain@50 {seen.model.contain50:.3f}, {name} {figures.r5:.3f} and "
        f"{figures.contain50:.3f}",
    )
    return Finding(words, confidence(cosine - value, bar=0.0, fault=FLOOR_DEFICIT))


def trade_off(facts: Facts) -> Finding | None:
    """val_cosine stands below the context mean and retrieval above it."""
    seen = facts.evaluation
    floor, figures = facts.floors.get("context_mean"), seen.floors.get("context_mean") if seen else None
    validated = _validated(facts, seen.epoch) if seen else None
    if seen is None or figures is None or floor is None or validated is None:
        return None
    ours, its = seen.model.r5, figures.r5
    if ours is None or its is None or seen.num_queries < 1 or validated[1] >= floor:
        return None
    error = math.sqrt(max(0.0, ours * (1 - ours) + its * (1 - its)) / seen.num_queries)
    if ours - its <= RETRIEVAL_ERRORS * error:
        return None
    epoch, value = validated
    words = (
        f"val_cosine {value:.3f} at epoch {epoch}, {floor - value:.3f} below the context mean ({floor:.3f}), and R@5 "
        f"{ours:.3f}, {ours - its:.3f} above its {its:.3f}"
    )
    return Finding((words,), confidence(floor - value, bar=0.0, fault=TRADED))


def _better_floors(facts: Facts) -> list[str]:
    """Floors that are at least as good as the model in cosine, R@5 and Contain@50; the highest cosine first."""
    seen, latest = facts.evaluation, _validated(facts, facts.evaluation.epoch if facts.evaluation else 0)
    if seen is None or latest is None:
        return []
    better = []
    for name, cosine in sorted(facts.floors.items(), key=lambda floor: -floor[1]):
        figures = seen.floors.get(name, Figures())
        pairs = [(seen.model.r5, figures.r5), (seen.model.contain50, figures.contain50)]
        if latest[1] <= cosine and all(ours is not None and its is not None and ours <= its for ours, its in pairs):
            better.append(name)
    return better


def _ranks_well(seen: Evaluated, floor: str) -> bool:
    """Whether a floor passes the bars of R@5 and Eff@5."""
    r5, contain50 = seen.floors[floor].r5, seen.floors[floor].contain50
    if r5 is None or not contain50:
        return False
    values = {"r5": r5, "eff5": r5 / contain50}
    return all(value >= seen.gated[gate][1] for gate, value in values.items() if gate in seen.gated)


def _validated(facts: Facts, epoch: int) -> tuple[int, float] | None:
    """val_cosine of the weights that were evaluated: of their epoch, else of the best one, which is what is kept."""
    values = facts.series("val_cosine")
    named = [pair for pair in values if pair[0] == epoch]
    return named[0] if named else max(values, key=lambda pair: pair[1], default=None)


def _whose_fault(facts: Facts, seen: Evaluated, gap: float) -> tuple[str, ...]:
    """Whether the context mean, which learns nothing, falls as well: then it is the data that differ."""
    before, after = facts.floors.get("context_mean"), seen.floors.get("context_mean", Figures()).cosine
    if before is None or after is None:
        return ()
    fell = before - after
    words = f"the context mean, which learns nothing, goes from {before:.3f} to {after:.3f}"
    if fell >= gap / 2:
        return (f"{words}: another distribution",)
    lifts = _honest_lifts(facts, seen.epoch)
    if lifts is not None:
        return (
            f"{words}, and articles of the same data that training never saw are lifted as validation is "
            f"({lifts[1]:+.3f}, {lifts[0]:+.3f}): another distribution",
        )
    return (f"{words}: so validation knew what it was asked",)


def _honest_lifts(facts: Facts, epoch: int) -> tuple[float, float] | None:
    """Lift of validation and of unseen articles at an epoch, where their check says that they are alike."""
    for record in facts.epochs:
        if record.epoch == epoch and record.val_lift is not None and record.unseen_lift is not None:
            is_alike = judge_checks(facts.bars, record)["lift_gap"].verdict == "passed"
            return (record.val_lift, record.unseen_lift) if is_alike else None
    return None


def _not_contained(seen: Evaluated) -> Finding | None:
    short = seen.shortfall("contain50")
    if short is None:
        return None
    value, bar = short
    words = f"Contain@50 {value:.3f} < {bar:.3f}, missed by {bar - value:.3f}"
    return Finding((words,), confidence(value, bar=bar, fault=min(GAP_CONTAIN50, bar / 2)))


def lost_by_index(seen: Evaluated) -> Finding | None:
    """Exact search finds what the index does not."""
    exact, found = seen.model.contain50, seen.on_index.contain50
    if exact is None or found is None or exact - found < INDEX_LOSS:
        return None
    words = f"the index finds {found:.3f} of the {exact:.3f} that exact search contains, {exact - found:.3f} less"
    return Finding((words,), confidence(exact - found, bar=INDEX_LOSS, fault=LARGE_INDEX_LOSS))
