"""The exponential mean that charts draw, computed on from where it left off when values arrive."""

from __future__ import annotations

from collections.abc import Sequence

_LARGEST = 1.7e308
"""A mean of the largest numbers may round beyond them."""


class Ema:
    """Exponential mean of a growing list, corrected for its start: the first mean is the first value."""

    def __init__(self, weight: float) -> None:
        """A mean of nothing yet.

        Args:
            weight: Of the past, in [0, 1); from 0.999 on it counts as 0.999.
        """
        self.weight = weight
        self._keep = min(weight, 0.999)
        self._values: list[float] = []
        self._means: list[float] = []
        self._mean = self._total = 0.0

    def of(self, values: Sequence[float]) -> list[float]:
        """The mean at each of the finite values. Only those behind a beginning that is known cost anything."""
        known = len(self._values)
        if list(values[:known]) != self._values:
            known, self._means, self._mean, self._total = 0, [], 0.0, 0.0
        keep, mean, total = self._keep, self._mean, self._total
        for value in values[known:]:
            mean = keep * mean + (1 - keep) * value
            total = keep * total + (1 - keep)
            self._means.append(max(min(mean / total, _LARGEST), -_LARGEST))
        self._values, self._mean, self._total = list(values), mean, total
        return list(self._means)
