"""What a line chart draws: series, levels, marks, spots and forecasts, and a series made fit for drawing.

A training's numbers are not tidy: a diverged loss is infinite, a metric is missing at some steps, a resumed run repeats
a step. `prepare` turns any of it into a `Trace`: finite points in order of x, and a list of where others are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import le

from tui.ema import Ema

_SMALLEST_POWER = math.log10(5e-324)


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
class Spot:
    """One measured point that stands out: the best one."""

    x: float
    value: float
    label: str
    kind: int = 0
    """The look of the series that it belongs to."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What has not been measured: where a series is heading, with an interval. Never drawn like a series."""

    name: str
    xs: Sequence[float]
    """Ascending, finite; the first is the last measured point."""
    ys: Sequence[float]
    """Finite, one for each x; so are the ends of the interval."""
    lows: Sequence[float]
    highs: Sequence[float]
    kind: int = 0
    """The look of the series that it goes on from."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A series ready to be drawn."""

    name: str
    kind: int
    xs: Sequence[float]
    """Ascending, finite; one for each of `ys`."""
    ys: Sequence[float]
    """Finite; smoothed and base-10 logarithms if prepared so."""
    raw: Sequence[float]
    """The same without smoothing; the very same list where nothing is smoothed."""
    values: Sequence[float]
    """What was measured at each x, for reading off: neither smoothed nor a logarithm."""
    starts: Sequence[int]
    """Ascending indices of points that are not joined to the point before them."""
    gaps: Sequence[float]
    """Ascending x of the values that cannot be drawn."""


def prepare(series: Series, *, smoothing: Ema | None = None, log_y: bool = False) -> Trace:
    """The drawable points of a series.

    Args:
        series: Any data; points beyond the shorter of xs and ys, and points at a non-finite x, are left out.
        smoothing: The mean to draw, which may know the beginning of this series already; None draws what was measured.
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
    raw = _logarithms(values) if log_y else values
    drawn = raw
    if smoothing is not None:
        means = smoothing.of(values)
        drawn = _logarithms(means) if log_y else means
    return Trace(series.name, series.kind, xs, drawn, raw, values, starts, gap_xs)


def _logarithms(values: Sequence[float]) -> list[float]:
    # the smoothed mean of positive numbers may underflow to 0
    return [math.log10(value) if value > 0 else _SMALLEST_POWER for value in values]


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
