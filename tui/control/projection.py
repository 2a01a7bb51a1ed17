"""Where val_cosine is heading: a value at a later epoch with an 80 % interval, from the epochs done so far.

Gains fade roughly geometrically. After the last value v, `pace` says what the run gains an epoch now; h epochs on

    v + pace * carry * (1 + FADE + ... + FADE^(h-1)),

where `carry` is the share of that pace which the next epoch keeps. How large it is differs from run to run, most of all
after two epochs, when the warm-up has just ended: its spread makes the interval, together with the wobble that values
show once a run has levelled off, or begins to overfit. All constants were learned by `benchmarks/projection.py --fit`
from one half of the recorded histories in `benchmarks/histories.json`, by settings. Of 1,030 later epochs of the other
half 79 % lie inside, 76 % of those projected from two epochs alone. There are 29 settings, so much hangs on which of
them teach: with twelve other halves, 62 to 86 % lie inside (`--splits`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FADE = 0.7
"""What an epoch gains, as a share of what the one before gained."""
OWN_RATIO = 0.75
"""Weight of the last gain in the pace; the rest is what the gain before it promised."""
Carry = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """What recorded histories teach. A carry, low, middle and high, is what a run's next epoch keeps of its pace."""

    carry: Mapping[int, Carry]
    """By epochs done; the last group holds for more as well."""
    falling: Carry
    """Of a run that falls, as one does that overfits, or whose objective trades cosine for retrieval."""
    wobble: tuple[float, float]
    """How far below and above a run that has levelled off is found later."""


LEARNED = Learned(
    carry={2: (0.13, 0.43, 0.79), 3: (0.15, 0.49, 1.03), 4: (0.34, 0.62, 1.13), 5: (0.52, 0.68, 0.84)},
    falling=(1.00, 0.51, 0.02),
    wobble=(0.0046, 0.0013),
)


@dataclass(frozen=True, slots=True)
class Projection:
    """A value that has not been measured yet."""

    epoch: int
    value: float
    low: float
    """One in ten runs ends up lower."""
    high: float
    """One in ten runs ends up higher."""

    def words(self) -> str:
        """`0.511 (0.486 to 0.543) at epoch 4`."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}) at epoch {self.epoch}"


def pace(values: Sequence[float]) -> float:
    """What a run gains an epoch now; below 0 where it falls.

    Args:
        values: val_cosine of two or more epochs, one after another.
    """
    gains = [after - before for before, after in itertools.pairwise(values[-3:])]
    promised = gains[-2] * FADE if len(gains) > 1 else gains[-1]
    return OWN_RATIO * gains[-1] + (1.0 - OWN_RATIO) * promised


def faded(epochs: int) -> float:
    """1 + FADE + ... for this many epochs: what they gain together, in gains of the first of them."""
    return (1.0 - FADE**epochs) / (1.0 - FADE)


def project(series: Sequence[tuple[int, float]], epoch: int, *, learned: Learned = LEARNED) -> Projection | None:
    """Project val_cosine to a later epoch.

    Args:
        series: (epoch, value) of the epochs that have one, in order.
        epoch: to which.
        learned: other constants, while they are being learned.

    Returns:
        None where the last two epochs have no value, or the epoch is not a later one.
    """
    values = _unbroken(series)
    if len(values) < 2 or epoch <= series[-1][0]:
        return None
    done = series[-1][0]
    now = pace(values)
    low, middle, high = learned.carry[min(max(done, 2), max(learned.carry))] if now >= 0 else learned.falling
    gain = now * faded(epoch - done)
    last, (down, up) = values[-1], learned.wobble
    outcomes = (last + gain * middle, last + gain * low - down, last + gain * high + up)
    return Projection(epoch, *(max(-1.0, min(1.0, outcome)) for outcome in outcomes))  # as cosines are


def project_to_bar(series: Sequence[tuple[int, float]], bar: float, end: int) -> Projection | None:
    """The first later epoch that is projected at or above a bar; the last one, `end`, where none is.

    Returns:
        None as `project` does.
    """
    first = series[-1][0] + 1 if series else 1
    ahead = [found for epoch in range(first, end + 1) if (found := project(series, epoch)) is not None]
    return next((found for found in ahead if found.value >= bar), ahead[-1] if ahead else None)


def towards(found: Projection, bar: float) -> str:
    """What a projection means for a bar, in words."""
    if found.value >= bar:
        return "through the bar" if found.low >= bar else "likely through the bar"
    return "the bar within reach" if found.high >= bar else "short of the bar"


def _unbroken(series: Sequence[tuple[int, float]]) -> list[float]:
    """The values of the last epochs that follow each other without a gap."""
    values: list[float] = []
    for back, (epoch, value) in enumerate(reversed(series)):
        if epoch != series[-1][0] - back:
            break
        values.append(value)
    return values[::-1]
