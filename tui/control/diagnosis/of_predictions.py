"""Signatures of what a model predicts, before anything is retrieved: collapse, dead head, space mismatch."""

from __future__ import annotations

import math

from engine.run.events import EpochRecord
from engine.run.gates import judge_checks
from tui.control.diagnosis.facts import Evaluated, Facts, Figures
from tui.control.diagnosis.finding import CERTAIN, Finding, confidence, strongest

COLLAPSED_COSINE = 0.5
"""Mean pairwise cosine of predictions: a GRU that collapsed showed .50, the planted collapse .96 to 1.0; healthy runs
stay below .29, and the check's bar is 0.3."""
COLLAPSED_RANK = 4.0
"""Effective rank of one answer for everything: 3 to 5. Healthy: 23 to 263; the check's bar is 10."""
NO_NEARER, WRONG_SPACE = 0.5, 0.69
"""Share of windows whose truth ranks higher behind the head, of those ranked apart. A head that loses a little of what
is put into it stays below a half: AMN and residual models .34 to .43. Models from scratch that contrast behind it: .69
to .74. So a half is no bar that was fitted: it is where neither space is the better one. Windows of an article
overlap, so there is more noise than their number says; both sides stand four standard errors from the bar and more."""
MISMATCH, LARGE_MISMATCH = 1.5, 2.0
"""Top-1 accuracy behind the head over that in the searched space. AMN and residual models: .9 to 1.1. Models that
contrast behind the head: 1.1 to 2.3, and at equal val_cosine R@5 3.1 % against 27.8 % of those that do not. Asked of
records that do not say which windows rank apart."""
HEAD_LOSES = 0.5
"""The same, the other way round: the head knows less than what is put into it. Healthy: .79 and more."""
STUCK, STUCK_FAULT = 0.98, 1.0
"""InfoNCE as a share of ln(negatives + 1), what guessing gives, from epoch 2 on. Healthy: up to .76; nothing learned
behind the head: .997 and more."""
NOISE_ERRORS = 2.0
"""Standard errors by which two accuracies on the same windows must differ to differ at all."""


def collapse(facts: Facts) -> Finding | None:
    """Predictions of different windows point the same way: one answer for everything."""
    latest = facts.latest
    if latest is None:
        return None
    checks = judge_checks(facts.bars, latest)
    alike, rank = checks["pairwise_cosine"], checks["effective_rank"]
    by_cosine = by_rank = None
    if alike.verdict == "missed" and alike.value is not None:
        fault = COLLAPSED_COSINE if alike.bar < COLLAPSED_COSINE else 1.0
        words = f"mean pairwise cosine of predictions in epoch {latest.epoch}: {alike.detail}"
        by_cosine = Finding((words,), confidence(alike.value, bar=alike.bar, fault=fault))
    if rank.verdict == "missed" and rank.value is not None:
        fault = min(COLLAPSED_RANK, rank.bar / 2)
        words = f"effective rank of predictions in epoch {latest.epoch}: {rank.detail}"
        by_rank = Finding((words,), confidence(rank.value, bar=rank.bar, fault=fault))
    return strongest(by_cosine, by_rank)


def dead_head(facts: Facts) -> Finding | None:
    """The projection head is built wrong, or loses what is put into it, so that the contrast teaches nothing."""
    built = Finding((f"check of the projection head: {facts.head_fault}",), CERTAIN) if facts.head_fault else None
    return strongest(built, _head_that_loses(facts), _stuck_contrast(facts))


def space_mismatch(facts: Facts) -> Finding | None:
    """The contrast shapes a space that nobody searches.

    The two spaces rank the same truths, so each window is its own comparison: a sign test over those ranked apart. Two
    top-1 accuracies of one tenth, taken as if of different windows, would need a thousand windows to differ as surely.
    """
    latest = facts.latest
    if latest is None:
        return None
    if latest.ranked_apart is None:
        return _far_better_behind(latest, facts.num_ranked)
    return _nearer_behind(latest) if _falls_short(facts.evaluation) else None


def _nearer_behind(latest: EpochRecord) -> Finding | None:
    nearer, apart = latest.nearer_projected, latest.ranked_apart
    if nearer is None or apart is None or apart < 1:
        return None
    bar = NO_NEARER + NOISE_ERRORS * math.sqrt(NO_NEARER * (1 - NO_NEARER) / apart)
    if nearer <= bar:
        return None
    words = [
        f"the truth ranks higher behind the head in {nearer:.0%} of {apart:,} windows that the two spaces rank apart, "
        f"bar {bar:.0%} (epoch {latest.epoch})"
    ]
    if latest.top1_projected is not None and latest.top1_target is not None:
        behind, searched = latest.top1_projected, latest.top1_target
        words.append(f"top-1 {behind:.3f} behind the head, {searched:.3f} in the searched space")
    return Finding(tuple(words), confidence(nearer, bar=bar, fault=max(WRONG_SPACE, bar)))


def _falls_short(seen: Evaluated | None) -> bool:
    """Whether the searched space finds less than it should: less than the gate asks, or than the context mean finds.

    True where nothing was evaluated yet: what it costs is not known then, and where it comes from is.
    """
    if seen is None or seen.model.contain50 is None:
        return True
    ours, its = seen.model.contain50, seen.floors.get("context_mean", Figures()).contain50
    if seen.shortfall("contain50") is not None:
        return True
    return its is not None and its - ours > _noise(its, seen.num_queries)


def _far_better_behind(latest: EpochRecord, num_ranked: int) -> Finding | None:
    """By the two accuracies alone."""
    if latest.top1_projected is None or latest.top1_target is None:
        return None
    behind, searched = latest.top1_projected, latest.top1_target
    if behind - searched <= _noise(behind, num_ranked) or behind < MISMATCH * searched:
        return None
    ratio = behind / max(searched, 1 / num_ranked)  # nothing found is less than one window found
    times = f"{ratio:.1f} times as much, bar {MISMATCH} times"
    words = f"top-1 {behind:.3f} behind the head, {searched:.3f} in the searched space: {times} (epoch {latest.epoch})"
    return Finding((words,), confidence(ratio, bar=MISMATCH, fault=LARGE_MISMATCH))


def _head_that_loses(facts: Facts) -> Finding | None:
    """Only where predictions differ: where they do not, it is they that cannot be told apart."""
    latest = facts.latest
    if latest is None or latest.top1_projected is None or latest.top1_target is None or collapse(facts) is not None:
        return None
    behind, searched = latest.top1_projected, latest.top1_target
    if searched - behind <= _noise(searched, facts.num_ranked) or behind > HEAD_LOSES * searched:
        return None
    share = behind / searched
    words = f"top-1 {behind:.3f} behind the head, {searched:.3f} before it: {share:.0%} is kept, bar {HEAD_LOSES:.0%}"
    return Finding((words,), confidence(share, bar=HEAD_LOSES, fault=0.0))


def _stuck_contrast(facts: Facts) -> Finding | None:
    """Likewise."""
    latest = facts.latest
    if latest is None or latest.epoch < 2 or latest.train_infonce is None or not facts.contrasts:
        return None
    if latest.negatives_per_query is None or latest.negatives_per_query < 1 or collapse(facts) is not None:
        return None
    chance = math.log(latest.negatives_per_query + 1)
    share = latest.train_infonce / chance
    if share < STUCK:
        return None
    words = (
        f"InfoNCE {latest.train_infonce:.2f} in epoch {latest.epoch}, {share:.1%} of the {chance:.2f} that guessing "
        f"among {latest.negatives_per_query:.0f} negatives gives, bar {STUCK:.0%}"
    )
    return Finding((words,), confidence(share, bar=STUCK, fault=STUCK_FAULT))


def _noise(share: float, num_windows: int) -> float:
    """What the difference of two accuracies may be by chance; the windows are the same, so this is rather too much."""
    share = min(1.0, max(0.0, share))
    return NOISE_ERRORS * math.sqrt(2 * share * (1 - share) / max(1, num_windows))
