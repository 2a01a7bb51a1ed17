"""What a line chart draws: series, levels and marks, and a series made fit for drawing.

A training's numbers are not tidy: a diverged loss is infinite, a metric is missing at some steps, a resumed run repeats
a step. `prepare` turns any of it into a `Trace`: finite points in order of x, and a list of where others are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import le


@dataclass(frozen=True, slots=True)
class Series:
    """A named line."""

    name: str
    xs: Sequence[float]
    """Epochs, steps or seconds; in any order, though ascending is fastest."""
    ys: Sequence[float | None]
    """One for each x. None, NaN and infinities are gaps, and are marked as such."""
    kind: int = 0
    """Which of the four looks (colour, dash, marker): the same thing keeps the same look in every chart."""


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line: a gate's bar, a floor, a ceiling."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line: an epoch's end, a restart."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A series ready to be drawn."""

    name: str
    kind: int
    xs: Sequence[float]
    """Ascending, finite; one for each of `ys`."""
    ys: Sequence[float]
    """Finite; base-10 logarithms if prepared so."""
    values: Sequence[float]
    """What was measured at each x, for reading off: neither smoothed nor a logarithm."""
    starts: Sequence[int]
    """Ascending indices of points that are not joined to the point before them."""
    gaps: Sequence[float]
    """Ascending x of the values that cannot be drawn."""


def prepare(series: Series, *, smoothing: float = 0.0, log_y: bool = False) -> Trace:
    """The drawable points of a series.

    Args:
        series: Any data; points beyond the shorter of xs and ys, and points at a non-finite x, are left out.
        smoothing: Weight of the past in an exponential mean, in [0, 1); 0 draws what was measured.
        log_y: Draw base-10 logarithms; values of 0 and below are gaps then.
    """
    num_points = min(len(series.xs), len(series.ys))
    xs: Sequence[float] = series.xs[:num_points]
    ys: Sequence[float | None] = series.ys[:num_points]
    if not all(map(le, xs, islice(xs, 1, None))) or not all(map(math.isfinite, xs)):
        pairs = sorted((p for p in zip(xs, ys, strict=True) if math.isfinite(p[0])), key=lambda pair: pair[0])
        xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    values, starts, gaps = _finite(ys, log_y)
    if gaps:
        missing = set(gaps)
        gap_xs = [xs[index] for index in gaps]
        xs = [x for index, x in enumerate(xs) if index not in missing]
    else:
        gap_xs = []
    drawn: Sequence[float] = _smoothed(values, smoothing) if smoothing > 0 else values
    if log_y:
        # the smoothed mean of positive numbers may underflow to 0
        drawn = [math.log10(y) if y > 0 else math.log10(5e-324) for y in drawn]
    return Trace(series.name, series.kind, xs, drawn, values, starts, gap_xs)


def _finite(ys: Sequence[float | None], log_y: bool) -> tuple[Sequence[float], list[int], list[int]]:
    """The drawable values, which of them start a new line, and the indices of the others."""
    # nearly always nothing is missing, and the built-in loops are several times faster
    present = [y for y in ys if y is not None]
    if len(present) == len(ys) and all(map(math.isfinite, present)) and not (log_y and min(present, default=1) <= 0):
        return present, [], []
    values: list[float] = []
    starts: list[int] = []
    gaps: list[int] = []
    for index, y in enumerate(ys):
        if y is not None and math.isfinite(y) and (y > 0 or not log_y):
            values.append(y)
        else:
            gaps.append(index)
            if not starts or starts[-1] != len(values):
                starts.append(len(values))
    return values, starts, gaps


def _smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential mean, corrected for its start, so that the first value is the first one measured."""
    keep = min(weight, 0.999)
    mean, total = 0.0, 0.0
    smoothed = []
    for value in values:
        mean = keep * mean + (1 - keep) * value
        total = keep * total + (1 - keep)
        smoothed.append(max(min(mean / total, 1.7e308), -1.7e308))
    return smoothed
