"""The facts that signatures look at: what is on record of a run, every number finite or None.

Nothing else reaches a signature, so a run of ours and a record of another program are judged alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from engine.run.evals import EvalReport, EvalRow
from engine.run.events import EpochRecord, Verdict
from engine.run.preflight import PreflightReport
from engine.run.settings import CheckBars
from engine.run.state import RunState, Status
from tui.control.views import RunView

MAX_RANKED = 2048
"""Windows behind a top-1 accuracy at most, as `EpochRecord` says."""
LARGEST = 1e38
"""About what float32 holds: a number beyond it comes from no training, and differences of such numbers overflow."""
FEW_WINDOWS = 250
"""Windows assumed behind a top-1 accuracy where their number is not on record: fewer than any recorded run had (637),
so that rather too much noise is allowed for than too little."""
NO_MODEL = {"model", "reranked", "oracle"}
"""Rows of an evaluation that are no floor."""

Subject = Literal["leak", "provenance", "reach"]
SUBJECTS: dict[str, Subject] = {
    "shared": "leak",
    "near_duplicates": "leak",
    "provenance": "provenance",
    "alignment": "provenance",
    "gate_within_reach": "reach",
}
"""What an item of the preflight is about, by a part of its name."""


@dataclass(frozen=True, slots=True)
class DataFault:
    """An item of the preflight that was missed."""

    subject: Subject
    is_blocking: bool
    words: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What an evaluation measured of one predictor; shares in [0, 1]."""

    cosine: float | None = None
    contain50: float | None = None
    r5: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The newest evaluation."""

    epoch: int
    """Of the weights that were evaluated; 0 where it is not on record."""
    num_queries: int
    """0 where it is not on record."""
    gated: Mapping[str, tuple[float | None, float]]
    """Value and bar of its gates: contain50, r5, eff5."""
    within_noise: frozenset[str] = frozenset()
    """Gates whose bar lies inside the interval of their value: other articles could have turned the verdict."""
    model: Figures = Figures()
    """The model by exact search. Behind an alignment head its cosine is another one's, and left out."""
    on_index: Figures = Figures()
    """The model through the index."""
    oracle: Figures = Figures()
    """The truth vectors as queries: what retrieval can give at best."""
    floors: Mapping[str, Figures] = field(default_factory=dict)

    def value(self, gate: str) -> float | None:
        """What was held against a gate."""
        return self.gated.get(gate, (None, 0.0))[0]

    def shortfall(self, gate: str) -> tuple[float, float] | None:
        """Value and bar of a gate that was missed by more than noise; None where it was not."""
        value, bar = self.gated.get(gate, (None, 0.0))
        return (value, bar) if value is not None and value < bar and gate not in self.within_noise else None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is on record."""

    epochs: tuple[EpochRecord, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)
    bars: CheckBars = field(default_factory=CheckBars)
    gate_verdict: Verdict = "pending"
    faults: tuple[DataFault, ...] = ()
    evaluation: Evaluated | None = None
    num_ranked: int = FEW_WINDOWS
    """Windows behind a top-1 accuracy."""
    promised_negatives: int | None = None
    """Negatives a query that the effective batch promises; None where its size is not on record."""
    contrasts: bool = True
    """Whether negatives have any weight in the loss."""
    head_fault: str = ""
    """What the check of the projection head found wrong; empty for nothing."""
    non_finite: str = ""
    """Which number was not finite, and when; empty for none."""
    attempts: int = 1
    """How often it was started: once, and once for every time it was resumed."""
    status: Status = Status.FINISHED
    reason: str = ""
    """Why the run is in that status, in words."""

    @property
    def latest(self) -> EpochRecord | None:
        """The last epoch that ended."""
        return self.epochs[-1] if self.epochs else None

    def series(self, metric: str) -> list[tuple[int, float]]:
        """A number of every epoch that has it: (epoch, value), in order."""
        values = ((record.epoch, getattr(record, metric)) for record in self.epochs)
        return [(epoch, value) for epoch, value in values if value is not None]


def gather(run: RunView) -> Facts:
    """The facts of a run."""
    config, started = run.spec.config, run.state.started
    batch = config.sampler.batch_size * config.sampler.accumulate
    return Facts(
        epochs=tuple(map(_finite_record, run.state.epochs)),
        floors={name: value for name, value in run.state.floors.items() if finite(value) is not None},
        bars=run.spec.check,
        gate_verdict=run.gate_judgement(run.gate).verdict,
        faults=tuple(_data_faults(run.preflight, run.state)),
        evaluation=_newest_evaluation(run.evals),
        num_ranked=max(1, min(MAX_RANKED, started.num_val)) if started else FEW_WINDOWS,
        promised_negatives=max(0, min(batch, started.num_train) - 1) if started else None,
        contrasts=config.loss.lambda_con > 0,
        head_fault=_head_fault(run.state),
        non_finite=_non_finite(run.state),
        attempts=max(1, run.state.starts),
        status=run.status,
        reason=run.reason,
    )


def finite(value: float | None) -> float | None:
    """The value, or None where there is none, or it is not finite, or beyond what training computes with."""
    return value if value is not None and abs(value) <= LARGEST else None


def _finite_record(record: EpochRecord) -> EpochRecord:
    broken = [name for name in EpochRecord.__struct_fields__ if finite(getattr(record, name) or 0) is None]
    return msgspec.structs.replace(record, **dict.fromkeys(broken))


def _data_faults(report: PreflightReport | None, state: RunState) -> Iterable[DataFault]:
    """From the report; from its event, which keeps names and words, where the report is gone."""
    if report is not None:
        missed = [item for item in report.items if item.verdict == "missed" and item.level != "info"]
        named = [(item.name, item.level == "must", f"{item.name}: {item.detail}") for item in missed]
    elif state.preflight is not None:
        judged = state.preflight
        lines = [(line, True) for line in judged.blocking] + [(line, False) for line in judged.warnings]
        named = [(line.partition(":")[0], is_blocking, line) for line, is_blocking in lines]
    else:
        return
    for name, is_blocking, words in named:
        subject = next((subject for part, subject in SUBJECTS.items() if part in name), None)
        if subject is not None:
            yield DataFault(subject, is_blocking, words)


def _newest_evaluation(reports: Mapping[str, EvalReport]) -> Evaluated | None:
    if not reports:
        return None
    report = max(reports.values(), key=lambda report: (report.created, report.name))
    model = _figures(report.rows.get("model"))
    return Evaluated(
        epoch=report.epoch,
        num_queries=report.num_queries,
        gated={gate.name: (finite(gate.value), gate.bar) for gate in report.gates},
        within_noise=frozenset(gate.name for gate in report.gates if gate.interval and gate.interval.holds(gate.bar)),
        model=Figures(None, model.contain50, model.r5) if report.head else model,
        on_index=_figures(report.rows.get("model"), on_index=True),
        oracle=_figures(report.rows.get("oracle")),
        floors={name: _figures(row) for name, row in report.rows.items() if name not in NO_MODEL},
    )


def _figures(row: EvalRow | None, *, on_index: bool = False) -> Figures:
    if row is None:
        return Figures()
    found = row.on_index if on_index else row.exact
    return Figures(finite(row.cosine), finite(found.contain50), finite(found.r5))


def _head_fault(state: RunState) -> str:
    checks = state.checks.get(state.latest.epoch, {}) if state.latest else {}
    judged = checks.get("projection_head")
    return judged.detail or "its check was missed" if judged and judged.verdict == "missed" else ""


def _non_finite(state: RunState) -> str:
    found = state.non_finite
    if found is None:
        return ""
    step = f", step {found.step}" if found.step else ""
    return f"{found.what} was {found.value} at epoch {found.epoch}{step}"
