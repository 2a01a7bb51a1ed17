"""From numbers to positions: the range of an axis, its ticks, and how a number is written."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

LARGEST = sys.float_info.max
_EQUAL = 1e-12
"""Two ends closer than this, relative to their size, are one value: steps between them would round to nothing."""


_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds between ticks of a clock; beyond them whole days."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of finite numbers, low < high, laid along an axis."""

    low: float
    high: float

    def fraction(self, value: float) -> float:
        """Where a finite value lies: 0 at low, 1 at high, outside [0, 1] beyond them."""
        span = self.high - self.low
        if math.isinf(span):  # -1e308 to 1e308: the halves still fit
            return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return (value - self.low) / span

    def at(self, fraction: float) -> float:
        """The value at a fraction of the axis; the inverse of `fraction`."""
        return self.low * (1 - fraction) + self.high * fraction


def fit(values: Iterable[float], margin: float = 0.0) -> Scale | None:
    """The scale that shows all the finite values; None if there are none.

    Args:
        values: Numbers; those that are not finite are ignored.
        margin: Added at both ends, as a share of the range.
    """
    finite = [value for value in values if math.isfinite(value)]
    return span(min(finite), max(finite), margin) if finite else None


def span(low: float, high: float, margin: float = 0.0) -> Scale:
    """The scale from low to high, widened around a single value, so that there is always a range to divide by."""
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 <= size * _EQUAL / 2:
        pad = max(size * 0.05, 1e-300) if size > 0 else 0.5
    else:
        pad = (high / 2 - low / 2) * 2 * margin if margin else 0.0
    return Scale(max(low - pad, -LARGEST), min(high + pad, LARGEST))


def ticks(scale: Scale, count: int, *, integers: bool = False) -> list[float]:
    """At most `count` round numbers within the scale, evenly spaced by 1, 2 or 5 times a power of ten.

    Args:
        scale: The axis.
        count: How many there is room for; none are returned below 1.
        integers: Epochs and steps: never a fraction between two of them.
    """
    if count < 1:
        return []
    rough = min(max(scale.high / 2 / count - scale.low / 2 / count, 1e-300) * 2, LARGEST)
    power = 10.0 ** math.floor(math.log10(rough))
    # the ends decide whether a step of about the range divided by the count gives one tick more or less
    for factor in (1, 2, 5, 10, 20, 50):
        step = min(max(power * factor, 1.0) if integers else power * factor, LARGEST)
        first, last = math.ceil(scale.low / step - _EQUAL), math.floor(scale.high / step + _EQUAL)
        if last - first < count:
            found = [index * step for index in range(first, last + 1)]
            # a tick at an end may come out of the multiplication just beyond it
            return [
                min(max(tick, scale.low), scale.high) for tick in found if -1e-9 <= scale.fraction(tick) <= 1 + 1e-9
            ]
    return []


def log_ticks(scale: Scale, count: int) -> list[float]:
    """Ticks for an axis of base-10 logarithms, as logarithms: whole powers of ten, or round numbers within one."""
    if scale.high - scale.low >= 2 or not -300 < scale.low < scale.high < 300:
        return ticks(scale, count, integers=True)
    return [math.log10(value) for value in ticks(Scale(10**scale.low, 10**scale.high), count) if value > 0]


def tick_labels(values: Sequence[float]) -> list[str]:
    """The numbers of evenly spaced ticks, with just the digits that tell each from its neighbours."""
    steps = [abs(after - before) for before, after in pairwise(values)]
    step = min(steps, default=abs(values[0]) if values else 1.0) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + _EQUAL)) if math.isfinite(step) else 0
    if decimals > 6 or any(abs(value) >= 1e7 for value in values):
        return [f"{value:.4g}" for value in values]
    # a tick at zero may come out of the multiplication as -0.0
    return [f"{value + 0.0:.{decimals}f}" for value in values]


def value_label(value: float) -> str:
    """A measured number, to four significant digits."""
    return f"{value:.4g}"


def time_ticks(scale: Scale, count: int) -> list[float]:
    """At most `count` ticks within an axis of seconds, where a clock has its marks."""
    wanted = (scale.high - scale.low) / max(count, 1)
    if count < 1 or wanted < 1:
        return ticks(scale, count)
    days = [_TIME_STEPS[-1] * factor for factor in (1, 2, 5, 10, 20, 50, 100)]
    for step in (*_TIME_STEPS, *days):
        first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
        if last - first < count:
            return [float(index * step) for index in range(first, last + 1)]
    return ticks(scale, count)


def time_label(seconds: float) -> str:
    """`45s`, `2m30`, `3h41`."""
    if abs(seconds) < 60 or not math.isfinite(seconds):
        return f"{seconds:.3g}s"
    sign, whole = "-" if seconds < 0 else "", round(abs(seconds))
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{sign}{minutes}m{rest:02d}" if rest else f"{sign}{minutes}m"
    hours, minutes = divmod(whole // 60, 60)
    return f"{sign}{hours}h{minutes:02d}" if minutes else f"{sign}{hours}h"
