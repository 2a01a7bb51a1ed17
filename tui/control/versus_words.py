"""What a comparison means, in words: the playbook's bounds for a model against its baseline, and no more than the
numbers allow for any other runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from engine.run.evals import EvalReport
from tui.control.run_facts import number_of, retrieval_report
from tui.control.versus import Comparison, Setting, best_floor, shared_epoch, value_at
from tui.control.views import RunView

BASELINE_KIND = "amn"
WIDE = 1.96
"""Standard errors of a 95 % interval."""


def verdict(found: Comparison) -> list[str]:
    """What the comparison says, the most important first; a sentence each."""
    return [*_unlike(found), *_findings(found), *_causes(found)]


def bounds_verdict(model: RunView | None, baseline: RunView | None) -> str:
    """The playbook's bounds: a baseline that fails points at the data, one that passes does not."""
    if model is None or baseline is None:
        return f"Start {'Mamba-S' if model is None else 'the AMN baseline'}: it bounds what to expect."
    ours, theirs = (view.gate_judgement(view.gate).verdict for view in (model, baseline))
    if theirs == "missed":
        return "AMN misses the gate: data or retrieval, not the model."
    if theirs == "passed" and ours == "missed":
        return "AMN passes, the model misses: the model or its objective, not the data."
    if theirs == "passed" and ours == "passed":
        floor = best_floor(model)
        bests = {view.id: number_of(view, "best_val_cosine") or -1.0 for view in (model, baseline)}
        above = [run_id for run_id, best in bests.items() if floor is not None and best > floor]
        return "Both pass the gate" + (
            f"; above the best floor: {', '.join(above) or 'neither'}." if floor is not None else "."
        )
    return "The gate is not judged on both sides yet."


def _unlike(found: Comparison) -> Iterator[str]:
    """Why the numbers cannot be held against each other, if they cannot."""
    keys = [setting.key for setting in found.differing if setting.key.startswith("data.")]
    if keys:
        yield f"Not the same data ({', '.join(keys)}): the numbers are of different windows and do not compare."
    elif len({tuple(sorted(view.state.floors.items())) for view in found.runs if view.state.floors}) > 1:
        yield "The floors differ: these runs were not validated on the same windows, so their numbers do not compare."


def _findings(found: Comparison) -> Iterator[str]:
    others = [view for view in found.runs if view is not found.reference]
    baselines = [view for view in found.runs if view.spec.config.model.kind == BASELINE_KIND]
    if len(found.runs) == 2 and len(baselines) == 1:
        yield bounds_verdict(next(view for view in found.runs if view is not baselines[0]), baselines[0])
        return
    for view in others:
        yield f"{view.id}: {'; '.join(_against(view, found.reference)) or 'no number that both have yet'}."


def _against(view: RunView, reference: RunView) -> Iterator[str]:
    """A run against the reference: in cosine at the same epoch, and in retrieval, as far as chance allows."""
    epoch = shared_epoch([view, reference])
    ours, theirs = (value_at(run, epoch) if epoch else None for run in (view, reference))
    cosine = None if ours is None or theirs is None else ours - theirs
    if cosine is not None:
        yield f"val_cosine {cosine:+.3f} at epoch {epoch} ({ours:.3f} for {theirs:.3f})"
    reports = retrieval_report(view), retrieval_report(reference)
    if reports[0] is None or reports[1] is None:
        return
    r5 = [report.rows["model"].exact.r5 for report in reports if report]
    gap = r5[0] - r5[1]
    noise = math.hypot(*(_half_width(report) for report in reports if report))
    queries = min(report.num_queries for report in reports if report)
    chance = "" if abs(gap) > noise else f", which {queries:,} queries cannot tell from chance"
    yield f"R@5 {gap:+.3f} ({r5[0]:.3f} for {r5[1]:.3f}{chance})"
    if cosine and not chance and cosine * gap < 0:
        yield "cosine and retrieval disagree, and retrieval is what the model is for"


def _half_width(report: EvalReport) -> float:
    """Half of R@5's 95 % interval: as the report has it, else of as many independent queries."""
    row = report.rows["model"]
    if row.intervals is not None:
        return (row.intervals.r5.high - row.intervals.r5.low) / 2
    share = row.exact.r5
    return WIDE * math.sqrt(share * (1 - share) / max(1, report.num_queries))


def _causes(found: Comparison) -> Iterator[str]:
    """What the settings allow to be said of why."""
    differing = found.differing
    if len(found.runs) < 2:
        return
    if not differing:
        yield "No setting differs: what does is chance, or how far each has come."
    elif [setting.key for setting in differing] == ["seed"]:
        yield f"Only the seed differs: {_spread(found)}."
    elif len(differing) == 1:
        yield f"One setting differs: {_values(differing[0])}."
    elif not any(view.spec.config.model.kind != found.runs[0].spec.config.model.kind for view in found.runs):
        yield f"{len(differing)} settings differ: no single one of them explains the difference."


def _spread(found: Comparison) -> str:
    epoch = shared_epoch(found.runs)
    values = [value for view in found.runs if epoch and (value := value_at(view, epoch)) is not None]
    if len(values) < 2:
        return "what chance does to val_cosine is not known yet"
    low, high = min(values), max(values)
    return f"chance moves val_cosine by {high - low:.3f} at epoch {epoch} ({low:.3f} to {high:.3f})"


def _values(setting: Setting) -> str:
    return f"{setting.key}: {' | '.join(map(str, setting.values))}"
