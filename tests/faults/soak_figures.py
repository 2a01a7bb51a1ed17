"""What a soak has measured, and whether that is well. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import NamedTuple

MEMORY_MB = 5.0
"""What an allocator's memory comes and goes by."""
MEMORY_MB_PER_H = 1.0
"""The bar where that is more: in a soak of a night."""
DESCRIPTORS = 2
"""More at the end than at first: a look at a folder and at a log under way."""
CPU_SHARE = 0.5
"""Of one core, with two runs that log 2,000 lines a second each, and a key every second."""
MAX_SAMPLES = 200
"""For a slope, evenly spaced: it looks at every pair."""


class Sample(NamedTuple):
    """A look at the room's process."""

    t_s: float
    """Since the soak began."""
    rss_bytes: int
    descriptors: int
    cpu_s: float
    """Of all its life."""


class Judged(NamedTuple):
    """A figure, with its bar."""

    name: str
    words: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it."""

    samples: Sequence[Sample]
    """At least ten."""
    launches: int = 0
    resumes: int = 0
    crashes: int = 0
    rooms_killed: int = 0
    lost_exits: int = 0
    """Supervised ends of which no exit is on record."""
    double_engines: int = 0
    """Looks at a run that found more than one engine."""
    left: Sequence[str] = ()
    """Processes and files that are there after everybody has ended."""
    exit_code: int | None = 0
    """Of the room, which is asked to leave."""


def judge(soak: Soak) -> list[Judged]:
    """Every figure in words, and whether it keeps to its bar."""
    settled = soak.samples[len(soak.samples) // 5 :]  # what is loaded once is loaded by then
    quarter = max(1, len(settled) // 4)
    first, last = settled[:quarter], settled[-quarter:]
    hours = (settled[-1].t_s - settled[0].t_s) / 3600
    grown = (median(one.rss_bytes for one in last) - median(one.rss_bytes for one in first)) / 1e6
    bar = max(MEMORY_MB, MEMORY_MB_PER_H * hours)
    opened = median(one.descriptors for one in last) - median(one.descriptors for one in first)
    share = (settled[-1].cpu_s - settled[0].cpu_s) / max(1e-9, settled[-1].t_s - settled[0].t_s)
    slope = slope_per_h([(one.t_s, one.rss_bytes / 1e6) for one in settled])
    return [
        Judged(
            "memory",
            f"{median(one.rss_bytes for one in last) / 1e6:.1f} MB, {grown:+.1f} MB between the first and the last "
            f"quarter (bar {bar:.0f}), slope {slope:+.1f} MB/h",
            grown <= bar,
        ),
        Judged(
            "descriptors",
            f"{median(one.descriptors for one in last):.0f}, {opened:+.0f} (bar {DESCRIPTORS})",
            opened <= DESCRIPTORS,
        ),
        Judged("CPU", f"{share:.1%} of a core (bar {CPU_SHARE:.0%})", share <= CPU_SHARE),
        Judged(
            "exits",
            f"{soak.lost_exits} lost in {soak.launches} launches, {soak.resumes} resumes, {soak.crashes} crashes",
            not soak.lost_exits and soak.launches > 0,
        ),
        Judged("engines", f"{soak.double_engines} times two in one run", not soak.double_engines),
        Judged(
            "rooms",
            f"{soak.rooms_killed} others killed; this one left with code {soak.exit_code}",
            soak.exit_code == 0,
        ),
        Judged("left behind", ", ".join(soak.left) or "nothing", not soak.left),
    ]


def slope_per_h(points: Sequence[tuple[float, float]]) -> float:
    """Median slope over all pairs of (seconds, value), per hour: a few outliers do not move it (Theil and Sen)."""
    some = points[:: max(1, len(points) // MAX_SAMPLES)]
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in combinations(some, 2) if x1 > x0]
    return 3600 * median(slopes) if slopes else 0.0
