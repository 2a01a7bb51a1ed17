"""Evaluations of other programs: retrieval figures as JSON, flat or below `metrics`, read into a report of ours.

Shares may be percentages: where one of a file's shares is above 1, all of them are; "45 %" is 0.45. A figure that is
not there stays unknown; its gate is then undecidable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.run.convert import ConfigError
from engine.run.evals import EvalGate, EvalReport, EvalRow, GateName, IndexReport, Latency, RetrievalFigures
from engine.run.gates import hold
from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig
from tui.control.foreign import as_run, key_of, number_of, parse_history, place, read_json
from tui.control.playbook import Position
from tui.control.views import RunView

NAMES: dict[str, tuple[str, ...]] = {
    "cosine": (
        *("cosine", "val_cosine", "eval_cosine", "test_cosine", "mean_cosine", "avg_cosine", "cosine_mean"),
        *("cosine_similarity", "mean_cosine_similarity", "val_cos", "val_cosine_similarity"),
    ),
    "contain50": ("contain_50", "contain50", "contain_at_50", "containment_50", "contains_50"),
    "r5": ("r_5", "r5", "recall_5", "recall5", "r_at_5", "recall_at_5", "hit_5", "hits_5"),
    "eff5": ("eff_5", "eff5", "eff_at_5", "efficiency_5", "efficiency_at_5"),
    "p95_ms": ("p95", "p95_ms", "p95_latency_ms", "latency_p95", "latency_p95_ms", "p95_latency"),
}
"""What a figure may be called, names compared as in `key_of`."""
CONTAINERS = ("metrics", "results", "eval", "evaluation", "summary", "retrieval", "latency", "model", "scores")
SHARES = ("contain50", "r5")
STAND_IN = "smoke"
"""The evaluation that a foreign report stands for in the decision tree."""


def read_record(file: RunsFile, history: Path, evaluation: Path | None) -> tuple[RunView, Position]:
    """Another program's record as a run, and where it would stand in the decision tree.

    Raises:
        ConfigError: one of the files cannot be read or understood.
    """
    bars = file.eval.get(STAND_IN, EvalConfig())
    report = read_evaluation(evaluation, bars) if evaluation else None
    run = as_run(history, parse_history(read_json(history), str(history)), report, file)
    return run, place(run, file)


def read_evaluation(path: Path, bars: EvalConfig) -> EvalReport:
    """A report of ours as it is, or another program's figures held against `bars`.

    Raises:
        ConfigError: it cannot be read, has none of the figures, or one that is out of range.
    """
    data = read_json(path)
    if isinstance(data, dict) and {"rows", "gates", "schema"} <= data.keys():
        try:
            return msgspec.convert(data, EvalReport)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: not an evaluation report of this version: {error}.") from None
    return parse_evaluation(data, str(path), bars)


def parse_evaluation(data: Any, where: str, bars: EvalConfig) -> EvalReport:
    """Another program's figures, decoded, as a report.

    Raises:
        ConfigError: it has none of the figures, or one that is out of range.
    """
    figures = _figures(data, where)
    gates = [_gate(name, figures.get(name), bars) for name in ("contain50", "r5", "eff5", "p95_ms")]
    unknown = Latency(p50=None, p95=figures.get("p95_ms"), p99=None, threads=0, num_queries=0)
    row = RetrievalFigures(
        contain20=math.nan,
        contain50=figures.get("contain50", math.nan),
        r1=math.nan,
        r5=figures.get("r5", math.nan),
        r10=math.nan,
        mrr10=math.nan,
        eff5=figures.get("eff5", math.nan),
    )
    told = " ".join(f"{name}={value:.3f}" for name, value in figures.items())
    return EvalReport(
        name=f"{STAND_IN}-e0000",
        created="",
        argv=[],
        checkpoint="",
        checkpoint_sha256="",
        epoch=0,
        corpus="",
        corpus_sha256="",
        embedder="",
        num_chunks=0,
        payload_rule="",
        num_queries=0,
        asked=0,
        rows={"model": EvalRow(cosine=figures.get("cosine"), exact=row, exact_with_context=row, on_index=row)},
        gates=gates,
        index=IndexReport(kind="unknown", nlist=0, nprobe=0, recall50=math.nan, threads=0, origin="given"),
        latency=unknown,
        forward=unknown,
        seconds=0.0,
        eval_line=f"[EVAL] {told}",
    )


def _gate(name: GateName, value: float | None, bars: EvalConfig) -> EvalGate:
    bar: float = getattr(bars, name)
    judged = hold(value, bar, at_least=name != "p95_ms")
    return EvalGate(name=name, value=judged.value, bar=bar, verdict=judged.verdict, detail=judged.detail)


def _figures(data: Any, where: str) -> dict[str, float]:
    """Finite figures by our names; shares in [0, 1]."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: not a table of figures. {_expected()}")
    raw = _collect(data, where)
    if not raw:
        raise ConfigError(f"{where}: none of the figures of an evaluation in it. {_expected()}")
    is_percent = any(value > 1 for name, value in raw.items() if name in SHARES)
    figures: dict[str, float] = {}
    for name, value in raw.items():
        scaled = value / 100 if (is_percent and name in SHARES) or (name == "eff5" and value > 1) else value
        scaled = scaled / 100 if name == "cosine" and abs(scaled) > 1.001 else scaled
        low, high = (-1.001, 1.001) if name == "cosine" else (0.0, math.inf if name == "p95_ms" else 1.0)
        if not low <= scaled <= high:
            raise ConfigError(f"{where}: {name} is {value:g}, which is no share, percentage, cosine or latency.")
        figures[name] = scaled
    if "eff5" not in figures and "r5" in figures and "contain50" in figures:
        figures["eff5"] = min(1.0, figures["r5"] / figures["contain50"]) if figures["contain50"] else 0.0
    return figures


def _collect(data: Mapping[str, Any], where: str) -> dict[str, float]:
    """Figures as they are written: at the top first, then in each container in order."""
    named = {key_of(key): value for key, value in data.items()}
    inner = [named[name] for name in CONTAINERS if isinstance(named.get(name), dict)]
    found: dict[str, float] = {}
    for table in [named, *({key_of(key): value for key, value in table.items()} for table in inner)]:
        for name, spellings in NAMES.items():
            written = next((table[spelling] for spelling in spellings if spelling in table), None)
            value = _written(written, f"{where}, {name}")
            if name not in found and value is not None and math.isfinite(value):
                found[name] = value
    return found


def _written(value: Any, where: str) -> float | None:
    """A number; "45.0 %" is 0.45."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) / 100
        except ValueError:
            return None
    return number_of(value, where)


def _expected() -> str:
    return 'Expected are R@5, Contain@50, Eff@5, P95 or cosine, flat or below "metrics".'
