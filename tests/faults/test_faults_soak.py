"""Row 48: the soak of `make soak` in short, and that each of its figures can miss."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fault_runs import Figure
from soak_figures import CPU_SHARE, DESCRIPTORS, MEMORY_MB, Sample, Soak, judge, slope_per_h

SHORT_MIN = 0.3
CALM = Soak(
    samples=[Sample(float(t), 60_000_000 + t % 7 * 100_000, 9 + t % 2, 0.2 * t) for t in range(600)], launches=40
)
"""Ten minutes without a fault."""


def missed(soak: Soak) -> list[str]:
    return [line.name for line in judge(soak) if not line.holds]


@pytest.mark.faults(48)
def test_a_calm_soak_keeps_every_bar() -> None:
    assert missed(CALM) == []
    start_up = [one._replace(rss_bytes=one.rss_bytes - 20_000_000) if one.t_s < 60 else one for one in CALM.samples]
    assert missed(replace(CALM, samples=start_up)) == [], "what is loaded once is no leak"


@pytest.mark.faults(48)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("memory", {"rss_bytes": lambda one: one.rss_bytes + int(one.t_s / 300 * MEMORY_MB * 1.2e6)}),
        ("descriptors", {"descriptors": lambda one: one.descriptors + int(one.t_s / 300 * (DESCRIPTORS + 1))}),
        ("CPU", {"cpu_s": lambda one: one.t_s * (CPU_SHARE + 0.01)}),
        ("exits", {"lost_exits": 1}),
        ("exits", {"launches": 0}),
        ("engines", {"double_engines": 1}),
        ("rooms", {"exit_code": 1}),
        ("rooms", {"exit_code": None}),
        ("left behind", {"left": ["lvm-engine"]}),
    ],
)
def test_a_planted_fault_misses_its_bar_and_no_other(name: str, fault: dict[str, object]) -> None:
    (key, planted), *_ = fault.items()
    if callable(planted):
        soak = replace(CALM, samples=[one._replace(**{key: planted(one)}) for one in CALM.samples])
    else:
        soak = replace(CALM, **{key: planted})
    assert missed(soak) == [name]


@pytest.mark.faults(48)
def test_a_slope_is_per_hour_and_not_moved_by_an_outlier() -> None:
    points = [(60.0 * minute, 50.0 + minute / 30) for minute in range(100)]
    points[40] = (points[40][0], 500.0)
    assert slope_per_h(points) == pytest.approx(2.0)


@pytest.mark.faults(48)
def test_a_short_soak_loses_nothing_and_leaves_nothing(figure: Figure) -> None:
    command = [sys.executable, str(Path(__file__).with_name("soak.py"))]
    environment = os.environ | {"SOAK_MINUTES": str(SHORT_MIN)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    length, *lines = done.stdout.splitlines()
    told = {line[8:].partition(": ")[0]: line for line in lines}
    # what memory and time take is judged where it has time to settle
    kept = [told[name] for name in ("descriptors", "exits", "engines", "rooms", "left behind")]
    assert all(line.startswith("ok") for line in kept), done.stdout + done.stderr
    figure(f"{length}: {'; '.join(line[8:] for line in kept)}; `make soak` takes ten")
