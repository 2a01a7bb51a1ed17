"""What a run folder says, as named numbers over steps: the form that trackers of experiments share. Pure.

Names are `train/...` for what a step logged, `epoch/...` for the numbers of an epoch, `gate/...` for what was held
against a bar, `floor/...` for what needs no training and `eval/NAME/...` for an evaluation. A number that was not
finite has no reading: trackers would draw a line through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from engine.run.evals import EvalReport
from engine.run.events import EpochEnded, EpochRecord, Event, FloorsMeasured, GateJudged, RunStarted, StepLogged

_OF_STEP = ("loss", "infonce", "ar_cosine", "lr", "grad_norm", "negatives_per_query", "windows_per_s")
_OF_EPOCH = tuple(name for name in EpochRecord.__struct_fields__ if name not in ("epoch", "step"))


class Reading(NamedTuple):
    """A number."""

    name: str
    value: float
    step: int
    """Optimizer steps."""
    t: float
    """Unix time in seconds."""


class Reader:
    """Turns events and evaluations into readings; of each only once, however often it is fed them."""

    def __init__(self) -> None:
        self._seq = 0
        self._step_of_epoch: dict[int, int] = {}
        self._evals: set[tuple[str, str]] = set()

    def of_events(self, events: Iterable[Event]) -> Iterator[Reading]:
        """Readings of the events that are new."""
        for event in events:
            if event.seq > self._seq:
                self._seq = event.seq
                yield from self._of_event(event)

    def of_evals(self, reports: dict[str, EvalReport]) -> Iterator[Reading]:
        """Readings of the evaluations that are new, at the last step of the epoch they evaluated."""
        for name, report in reports.items():
            if (name, report.created) in self._evals:
                continue
            self._evals.add((name, report.created))
            step, t = self._step_of_epoch.get(report.epoch, 0), datetime.fromisoformat(report.created).timestamp()
            for row_name, row in report.rows.items():
                figures = {**msgspec.structs.asdict(row.exact), "cosine": row.cosine}
                for figure, value in figures.items():
                    if value is not None:
                        yield Reading(f"eval/{name}/{row_name}/{figure}", float(value), step, t)
            if report.latency.p95 is not None:
                yield Reading(f"eval/{name}/p95_ms", report.latency.p95, step, t)

    def _of_event(self, event: Event) -> Iterator[Reading]:
        if isinstance(event, StepLogged):
            yield from _numbers("train", event, _OF_STEP, event.step, event.t)
        elif isinstance(event, EpochEnded):
            self._step_of_epoch[event.record.epoch] = event.record.step
            yield from _numbers("epoch", event.record, _OF_EPOCH, event.record.step, event.t)
        elif isinstance(event, GateJudged):
            step = self._step_of_epoch.get(event.epoch, 0)
            if event.value is not None:
                yield Reading(f"gate/{event.name}/value", event.value, step, event.t)
            yield Reading(f"gate/{event.name}/bar", event.bar, step, event.t)
            yield Reading(f"gate/{event.name}/passed", float(event.verdict == "passed"), step, event.t)
        elif isinstance(event, FloorsMeasured):
            for name, value in event.floors.items():
                yield Reading(f"floor/{name}", value, 0, event.t)
        elif isinstance(event, RunStarted):
            yield Reading("train/num_parameters", float(event.num_parameters), event.resumed_step, event.t)


def _numbers(prefix: str, source: msgspec.Struct, names: Iterable[str], step: int, t: float) -> Iterator[Reading]:
    for name in names:
        value = getattr(source, name)
        if value is not None:
            yield Reading(f"{prefix}/{name}", float(value), step, t)
