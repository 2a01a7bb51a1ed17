"""Signatures of the optimisation and of the process.

Where a comment says "healthy", it means some 35 distinct trainings of Mamba-S, AMN and GRU on the embedded corpus
whose epochs were looked at, learning rates 3e-4 to 5e-3, batches of 64 to 1,024, contrast in either space.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from engine.run.state import Status
from tui.control.diagnosis.facts import Facts
from tui.control.diagnosis.finding import CERTAIN, Finding, confidence, strongest

HUGE_GRADIENT, EXPLODED_GRADIENT = 100.0, 1000.0
"""Mean norm before clipping. Healthy: 0.2 to 12.4; clipping at 1.0 then takes more than 99 % of every step's length."""
HEALTHY_GRADIENT, GRADIENT_JUMP, EXPLODED_JUMP = 12.5, 10.0, 100.0
"""A gradient above every healthy one, and so many times the median of the epochs before it: healthy norms fall from the
first epoch on, and none grew tenfold while above 12.5."""
LARGE_UPDATE, EXPLODED_UPDATE = 0.05, 0.38
"""|change| / |weights| a step, mean of an epoch. Healthy: up to .026. With learning rate 0.1 it was .090, with 3 .38:
clipping hides such a run from the gradient's norm."""
LOSS_GROWTH, EXPLODED_LOSS = 2.0, 10.0
"""Training loss as a multiple of the lowest before, and above the first epoch's. Healthy training losses only fall."""
SMALL_GRADIENT, VANISHED_GRADIENT = 1e-3, 1e-6
"""Healthy: 0.08 (no contrast) and more; even collapsed predictions keep .02."""
SMALL_UPDATE, VANISHED_UPDATE = 3e-4, 1e-4
"""Healthy at half the peak learning rate and above: 1e-3 and more. A learning rate 100 times too low gave 9e-5 on a
planted corpus, and the bar lies halfway between, in logarithms; one of 1e-7 gave 1e-6. Below half the peak the schedule
itself brings healthy runs down to 1e-5, so those epochs do not count."""
SWING, WIDE_SWING = 0.02, 0.08
"""Of val_cosine between two turns. Healthy runs jitter by .002 at most; the playbook's oscillation is .40 to .48."""
RECENT, TURNS = 12, 3
"""Epochs looked at, and turns among them that make an oscillation: healthy runs dip once, early, by up to .04. Swings
are as irregular as the batches that make them: four seeds of one planted case all turned three times within 12 epochs,
two of them within 8."""
FALL, OVERFIT_FALL = 0.010, 0.014
"""Of val_cosine below its best while training still rises. Healthy: up to .009, where contrast trades cosine for
retrieval; a GRU without contrast that learned by heart fell .014 before early stopping ended it."""
RISE = 0.02
"""Of the training cosine since the best epoch; the overfitting GRU rose .056, and a run that trades falls on both."""
GAP = 0.05
"""Training cosine above val_cosine; .12 there, .01 in a run that trades one objective for the other."""
EPOCHS_BELOW = 3
"""Since the best epoch: one dip proves nothing."""
LOSS_RISE, OVERFIT_LOSS = 1.05, 1.2
"""Validation loss as a multiple of its lowest, for records that have no cosines; the GRU above: 1.03 of 1 - cosine, so
this asks for more, because a loss of unknown scale moves for other reasons too."""


def non_finite(facts: Facts) -> Finding | None:
    """A loss, gradient or weight was NaN or infinite."""
    return Finding((facts.non_finite,), CERTAIN) if facts.non_finite else None


def exploding(facts: Facts) -> Finding | None:
    """Gradients, updates or the loss grow beyond what training stands."""
    return strongest(_huge_gradient(facts), _jumped_gradient(facts), _large_update(facts), _growing_loss(facts))


def vanishing(facts: Facts) -> Finding | None:
    """Weights do not move, because gradients are gone or steps too small."""
    return strongest(_small_gradient(facts), _small_update(facts))


def oscillating(facts: Facts) -> Finding | None:
    """val_cosine goes up and down by more than noise, and ends above nothing it had before."""
    values = [value for _, value in facts.series("val_cosine")]
    recent = values[-RECENT:]
    legs = [abs(after - before) for before, after in pairwise(_turning_points(recent))]
    if len(legs) <= TURNS or values[-1] > max(values[:-1]) + SWING:
        return None
    size = median(legs)
    words = (
        f"val_cosine turned {len(legs) - 1} times in the last {len(recent)} epochs, between {min(recent):.3f} and "
        f"{max(recent):.3f}: by {size:.3f}, {size - SWING:.3f} more than the bar of {SWING}"
    )
    return Finding((words,), confidence(size, bar=SWING, fault=WIDE_SWING))


def overfit(facts: Facts) -> Finding | None:
    """Validation falls behind while training still gets better."""
    return _falling_cosine(facts) or _rising_loss(facts)


def stalled(facts: Facts) -> Finding | None:
    """The engine is alive and says nothing."""
    return Finding((facts.reason or "silent too long",), CERTAIN) if facts.status is Status.STALLED else None


def lost(facts: Facts) -> Finding | None:
    """The engine is gone and left no exit."""
    return Finding((facts.reason or "exit unknown",), CERTAIN) if facts.status is Status.LOST else None


def _huge_gradient(facts: Facts) -> Finding | None:
    series = facts.series("grad_norm")
    if not series or series[-1][1] <= HUGE_GRADIENT:
        return None
    epoch, norm = series[-1]
    words = f"gradient norm {norm:.3g} in epoch {epoch}, {norm - HUGE_GRADIENT:.3g} above the bar of {HUGE_GRADIENT:g}"
    return Finding((words,), confidence(norm, bar=HUGE_GRADIENT, fault=EXPLODED_GRADIENT, log=True))


def _jumped_gradient(facts: Facts) -> Finding | None:
    series = facts.series("grad_norm")
    if len(series) < 2:
        return None
    epoch, norm = series[-1]
    usual = median(value for _, value in series[:-1])
    if norm <= HEALTHY_GRADIENT or usual <= 0 or (jump := _times(norm, usual)) < GRADIENT_JUMP:
        return None
    bar = f"bar {GRADIENT_JUMP:g} times"
    words = f"gradient norm {norm:.3g} in epoch {epoch}, {jump:.0f} times the usual {usual:.3g}, {bar}"
    return Finding((words,), confidence(jump, bar=GRADIENT_JUMP, fault=EXPLODED_JUMP, log=True))


def _large_update(facts: Facts) -> Finding | None:
    over = [(epoch, ratio) for epoch, ratio in facts.series("update_ratio") if ratio > LARGE_UPDATE]
    if not over:
        return None
    epoch, ratio = max(over, key=lambda pair: pair[1])
    over_by = f"{ratio - LARGE_UPDATE:.1%} over the bar of {LARGE_UPDATE:.0%}"
    words = f"a step changes {ratio:.1%} of the weights in epoch {epoch}, {over_by}"
    return Finding((words,), confidence(ratio, bar=LARGE_UPDATE, fault=EXPLODED_UPDATE, log=True))


def _growing_loss(facts: Facts) -> Finding | None:
    series = facts.series("train_loss")
    if len(series) < 2:
        return None
    epoch, loss = series[-1]
    lowest = min(value for _, value in series[:-1])
    if lowest <= 0 or loss <= series[0][1] or (growth := _times(loss, lowest)) < LOSS_GROWTH:
        return None
    bar = f"bar {LOSS_GROWTH:g} times"
    words = f"training loss {loss:.3g} in epoch {epoch}, {growth:.1f} times its lowest {lowest:.3g}, {bar}"
    return Finding((words,), confidence(growth, bar=LOSS_GROWTH, fault=EXPLODED_LOSS, log=True))


def _small_gradient(facts: Facts) -> Finding | None:
    series = facts.series("grad_norm")
    if not series or not 0 <= series[-1][1] < SMALL_GRADIENT:
        return None
    epoch, norm = series[-1]
    words = f"gradient norm {norm:.2g} in epoch {epoch} < {SMALL_GRADIENT:g}; healthy runs keep 0.08 and more"
    return Finding((words,), confidence(norm, bar=SMALL_GRADIENT, fault=VANISHED_GRADIENT, log=True))


def _small_update(facts: Facts) -> Finding | None:
    peak = max((rate for _, rate in facts.series("lr")), default=0.0)
    judged = [
        (record.epoch, record.update_ratio)
        for record in facts.epochs
        if record.update_ratio is not None and record.lr is not None and record.lr >= peak / 2 > 0
    ]
    if not judged or not 0 <= judged[-1][1] < SMALL_UPDATE:
        return None
    epoch, ratio = judged[-1]
    words = f"a step changes {ratio:.2g} of the weights in epoch {epoch} < {SMALL_UPDATE:g}, at full learning rate"
    return Finding((words,), confidence(ratio, bar=SMALL_UPDATE, fault=VANISHED_UPDATE, log=True))


def _turning_points(values: list[float]) -> list[float]:
    """First value, every high and low after which the series turned by `SWING` or more, and where it got since."""
    points = values[:1]
    for value in values[1:]:
        step = value - points[-1]
        goes_on = len(points) > 1 and step * (points[-1] - points[-2]) > 0
        if goes_on:
            points[-1] = value
        elif abs(step) >= SWING:
            points.append(value)
    return points


def _falling_cosine(facts: Facts) -> Finding | None:
    both = [
        (record.epoch, record.val_cosine, record.train_ar_cosine)
        for record in facts.epochs
        if record.val_cosine is not None and record.train_ar_cosine is not None
    ]
    if not both:
        return None
    best_epoch, best, seen_then = max(both, key=lambda row: row[1])
    epoch, now, seen_now = both[-1]
    is_late = sum(row[0] > best_epoch for row in both) >= EPOCHS_BELOW
    if not is_late or best - now < FALL or seen_now - seen_then < RISE or seen_now - now < GAP:
        return None
    words = (
        f"val_cosine {now:.3f} in epoch {epoch}, {best - now:.3f} below its best at epoch {best_epoch} (bar {FALL}), "
        f"while the training cosine rose {seen_now - seen_then:.3f} to {seen_now:.3f}"
    )
    return Finding((words,), confidence(best - now, bar=FALL, fault=OVERFIT_FALL))


def _rising_loss(facts: Facts) -> Finding | None:
    """For records that have losses only."""
    both = [
        (record.epoch, record.val_loss, record.train_loss)
        for record in facts.epochs
        if record.val_loss is not None and record.train_loss is not None and record.train_ar_cosine is None
    ]
    if not both or facts.series("val_cosine"):
        return None
    best_epoch, best, seen_then = min(both, key=lambda row: row[1])
    epoch, now, seen_now = both[-1]
    is_late = sum(row[0] > best_epoch for row in both) >= EPOCHS_BELOW
    if not is_late or best <= 0 or (rise := _times(now, best)) < LOSS_RISE or seen_now >= seen_then:
        return None
    words = (
        f"validation loss {now:.3g} in epoch {epoch}, {rise:.2f} times its lowest at epoch {best_epoch} (bar "
        f"{LOSS_RISE}), while the training loss fell from {seen_then:.3g} to {seen_now:.3g}"
    )
    return Finding((words,), confidence(rise, bar=LOSS_RISE, fault=OVERFIT_LOSS))


def _times(value: float, base: float) -> float:
    """How many times `base` a value is; a million where it is more."""
    return min(1e6, value / base)
