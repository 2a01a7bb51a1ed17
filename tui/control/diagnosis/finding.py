"""What a signature finds: its evidence in words, and how sure that makes it.

Confidence says where a number stands between the bar and what the fault itself showed when it was planted or recorded:
0.5 at the bar, 0.95 at the fault's own figure and beyond. 1.0 is kept for what is a recorded fact, such as a verdict or
a NaN. Below 0.5 nothing is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

AT_THE_BAR = 0.5
AT_THE_FAULT = 0.95
CERTAIN = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A signature that fired."""

    evidence: tuple[str, ...]
    """Each with number, bar and by how much, the strongest first."""
    confidence: float
    """In [0.5, 1]; see the module."""


def confidence(value: float, *, bar: float, fault: float, log: bool = False) -> float:
    """0.5 at `bar`, rising to 0.95 at `fault`, and flat beyond either.

    Args:
        value: the number found.
        bar: where it begins to be remarkable.
        fault: what the fault itself showed; on the side of the bar where faults lie.
        log: on a logarithmic scale, for numbers that span orders of magnitude; all three must then be positive.
    """
    if log:
        value, bar, fault = (math.log(max(number, math.ulp(0.0))) for number in (value, bar, fault))
    if fault == bar:  # a bar that was set where faults begin to be certain
        return AT_THE_FAULT
    share = min(1.0, max(0.0, (value - bar) / (fault - bar)))
    return AT_THE_BAR + (AT_THE_FAULT - AT_THE_BAR) * share


def strongest(*findings: Finding | None) -> Finding | None:
    """Several ways to find one thing, as one finding: all evidence, the highest confidence."""
    found = sorted((finding for finding in findings if finding), key=lambda finding: -finding.confidence)
    if not found:
        return None
    return Finding(tuple(words for finding in found for words in finding.evidence), found[0].confidence)
