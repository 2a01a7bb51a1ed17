"""A recorded preflight: the embedded corpus as it is, or the same with articles on both sides of the split."""

from __future__ import annotations

from engine.run.events import PreflightJudged
from engine.run.preflight import PreflightItem, PreflightReport

LEAK = "312 articles are on both sides; split by article, which a corpus folder does by itself"


def preflight_report(*, leaks: bool = False, override: str = "") -> PreflightReport:
    """A report of an item a group; with `leaks`, the first one blocks."""
    leak = PreflightItem(
        name="shared_articles",
        group="leak",
        level="must",
        verdict="missed" if leaks else "passed",
        value=312.0 if leaks else 0.0,
        bar=0.0,
        detail=LEAK if leaks else "no article is on two sides",
    )
    health = PreflightItem(
        name="finite", group="vectors", level="must", verdict="passed", value=0.0, bar=0.0, detail="all are finite"
    )
    floor = PreflightItem(
        name="floor_above_gate",
        group="gate",
        level="should",
        verdict="missed",
        value=0.579,
        bar=0.5,
        detail="context_mean 0.579 passes the gate's 0.50 already: passing it shows no learning",
    )
    ridge = PreflightItem(
        name="ridge_forward",
        group="direction",
        level="info",
        verdict="passed",
        value=0.502,
        bar=None,
        detail="0.502 forward, 0.562 reversed in time",
    )
    return PreflightReport(
        created="2023-11-14T22:13:20+00:00",
        argv=["lvm-engine", "train", "--run-dir", "runs/mamba_s-0001"],
        data="embedded:wikileads",
        data_sha256="1" * 64,
        seconds=1.9,
        items=[leak, health, ridge, floor],
        lag_curve=[0.479, 0.452, 0.44, None],
        override=override,
    )


def as_event(report: PreflightReport) -> PreflightJudged:
    """What the engine records of a report."""
    return PreflightJudged(
        verdict="missed" if report.blocking else "passed",
        blocking=[f"{item.name}: {item.detail}" for item in report.blocking],
        warnings=[f"{item.name}: {item.detail}" for item in report.warnings],
        override=report.override,
    )
