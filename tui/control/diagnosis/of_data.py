"""Signatures of the data and of the negatives: leak, provenance, hopeless, hygiene, too few negatives, stale queue."""

from __future__ import annotations

from engine.run.gates import judge_checks
from tui.control.diagnosis.facts import Facts, Subject
from tui.control.diagnosis.finding import CERTAIN, Finding, confidence, strongest

LIKELY = 0.9
"""Of a preflight item that only warns: its bar is statistical, a 95 % interval or a share of near duplicates."""
LEAKY_LIFT_GAP = 0.044
"""What a split by window showed on long pages; an honest one showed 0.003, and the check's bar is 0.02."""
ORACLE_BAR, ORACLE_FAULT = 0.95, 0.14
"""Truth vectors that search among themselves find themselves: 1.0 in every consistent corpus; .95 is the preflight's
bar. .14 is the mean cosine of "the same" chunks in two encoders' spaces, where next to none find themselves."""
FEW_NEGATIVES, TOO_FEW_NEGATIVES = 32, 7
"""A query. With 63 a run on the embedded corpus reaches as much as with 1,023 (top-1 in the searched space .108 to
.117); with 7, learning rate and model alike, .042."""
SHARE_OF_PROMISE, SHARE_OF_FAULT = 0.5, 0.25
"""Gradient accumulation that forgets to contrast across micro-batches gave 255 of 1,023. Healthy runs reach .98 and
more; what is missing there are masked candidates of the own article."""

STALE, WHOLLY_STALE = 0.3, 1.0
"""Drift of what the queue holds. Healthy queues behind a head: .09 in the first epoch, at the highest learning rate,
.01 and less after it. One that was filled once and left: 1.07 to 1.10, which is chance."""


def leak(facts: Facts) -> Finding | None:
    """Validation knows articles of training: the preflight saw it, or unseen articles gain less than validation."""
    return strongest(_missed(facts, "leak"), _lift_gap(facts))


def provenance(facts: Facts) -> Finding | None:
    """Vectors of different encoders meet: the preflight saw it, or truths do not find themselves."""
    return strongest(_missed(facts, "provenance"), _lost_truths(facts))


def hopeless(facts: Facts) -> Finding | None:
    """The gate stands above what the past can tell of the next chunk, and was not passed."""
    return None if facts.gate_verdict == "passed" else _missed(facts, "reach")


def hygiene(facts: Facts) -> Finding | None:
    """Candidates of the query's own article reached the loss as negatives."""
    bar = facts.bars.same_article_negatives_at_most
    epochs = [(epoch, count) for epoch, count in facts.series("same_article_negatives") if count > bar]
    if not epochs or not facts.contrasts:
        return None
    epoch, count = epochs[-1]
    words = f"{count:,.0f} same-article negatives in epoch {epoch}, bar {bar}: {count - bar:,.0f} over"
    return Finding((words,), CERTAIN)


def too_few_negatives(facts: Facts) -> Finding | None:
    """A query is contrasted against few others, or against far fewer than the effective batch promises."""
    series = facts.series("negatives_per_query")
    if not series or not facts.contrasts:
        return None
    epoch, count = series[-1]
    few = kept = None
    if count < FEW_NEGATIVES:
        words = f"{count:.0f} negatives a query in epoch {epoch} < {FEW_NEGATIVES}, by {FEW_NEGATIVES - count:.0f}"
        few = Finding((words,), confidence(max(count, 1.0), bar=FEW_NEGATIVES, fault=TOO_FEW_NEGATIVES, log=True))
    promised = facts.promised_negatives
    if promised and count / promised < SHARE_OF_PROMISE:
        share = count / promised
        words = f"{count:.0f} of {promised:,} that the effective batch promises: {share:.0%} < {SHARE_OF_PROMISE:.0%}"
        kept = Finding((words,), confidence(share, bar=SHARE_OF_PROMISE, fault=SHARE_OF_FAULT))
    return strongest(few, kept)


def stale_queue(facts: Facts) -> Finding | None:
    """The queue's negatives are vectors that the head has long stopped giving."""
    latest = facts.latest
    if latest is None or not facts.contrasts or not latest.queue_negatives_per_query or latest.queue_drift is None:
        return None
    drift = latest.queue_drift
    if drift < STALE:
        return None
    words = (
        f"1 - cosine between what the queue holds and the same targets projected anew: {drift:.2f} in epoch "
        f"{latest.epoch}, {drift - STALE:.2f} above the bar of {STALE}"
    )
    return Finding((words,), confidence(drift, bar=STALE, fault=WHOLLY_STALE))


def _missed(facts: Facts, subject: Subject) -> Finding | None:
    faults = [fault for fault in facts.faults if fault.subject == subject]
    if not faults:
        return None
    is_certain = any(fault.is_blocking for fault in faults)
    return Finding(tuple(f"preflight {fault.words}" for fault in faults), CERTAIN if is_certain else LIKELY)


def _lift_gap(facts: Facts) -> Finding | None:
    """The engine's own check, on the newest epoch that has both lifts; only where validation is the flattered side."""
    known = [record for record in facts.epochs if record.val_lift is not None and record.unseen_lift is not None]
    if not known:
        return None
    record = known[-1]
    judged = judge_checks(facts.bars, record)["lift_gap"]
    is_flattered = (record.val_lift or 0.0) > (record.unseen_lift or 0.0)
    if judged.verdict != "missed" or judged.value is None or not is_flattered:
        return None
    fault = max(LEAKY_LIFT_GAP, 2 * judged.bar)  # a bar widened by noise widens what is certain
    words = f"validation is flattered in epoch {record.epoch}: {judged.detail}"
    return Finding((words,), confidence(judged.value, bar=judged.bar, fault=fault))


def _lost_truths(facts: Facts) -> Finding | None:
    found = facts.evaluation.oracle.contain50 if facts.evaluation else None
    if found is None or found >= ORACLE_BAR:
        return None
    words = f"truth vectors find themselves in {found:.1%} of queries < {ORACLE_BAR:.0%}, by {ORACLE_BAR - found:.1%}"
    return Finding((words,), confidence(found, bar=ORACLE_BAR, fault=ORACLE_FAULT))
