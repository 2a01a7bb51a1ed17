"""What a training says of itself: events for programs, one line of log for people, history.json for both.

A recorder opened on a run that was started before knows what was said already: a gate is judged once, a warning given
once, and an epoch whose event was lost to a crash is told from the checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from engine.run.directory import RunDirectory
from engine.run.event_file import EventWriter, read_events
from engine.run.events import (
    CheckJudged,
    CheckpointSaved,
    EpochEnded,
    EpochRecord,
    Event,
    GateJudged,
    NonFiniteFound,
    RunFailed,
    StepLogged,
    Verdict,
    WarningRaised,
)
from engine.run.files import write_atomically
from engine.run.gates import judge_checks, judge_gate
from engine.run.secrets import without_secrets
from engine.run.spec import RunSpec
from engine.run.state import RunState, fold

log = logging.getLogger("engine")

PROJECTION_CHECK = "projection_head"
"""Name of the check that the head is built right; its verdict is not in the epoch's numbers, so it is an event only."""


class Recorder:
    """Writes one run's events, log lines and history.

    Args:
        run: its directory.
        spec: what it was started with.
        is_silent: for a rank that another speaks for: nothing is written, and what is logged are warnings alone.
    """

    def __init__(self, run: RunDirectory, spec: RunSpec, *, is_silent: bool = False) -> None:
        self.run = run
        self.spec = spec
        self._warned: set[str] = set()
        self._writer: EventWriter | None = None
        self._read()
        if not is_silent:
            self._writer = EventWriter(run.events_file)

    def _read(self) -> None:
        self.known: RunState = fold(read_events(self.run.events_file))
        """What was said before this process began, or while another wrote."""
        self.floors: dict[str, float] = dict(self.known.floors)
        self._judged = set(self.known.gates)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While another process writes the events; what it said is known afterwards."""
        self.close()
        try:
            yield
        finally:
            self._read()
            self._writer = EventWriter(self.run.events_file)

    def close(self) -> None:
        """Close the events file."""
        if self._writer is not None:
            self._writer.close()

    def write(self, event: Event) -> None:
        """Append an event as it is."""
        if self._writer is not None:
            self._writer.write(event)

    def warn(self, message: str) -> None:
        """Raise a warning, once; one that was raised before the resume is only logged again."""
        if message in self._warned or self._writer is None:
            return
        self._warned.add(message)
        log.warning("%s", message)
        if message not in self.known.warnings:
            self.write(WarningRaised(message=message))

    def step(self, event: StepLogged, *, to_log: bool) -> None:
        """Record an optimizer step; `to_log` also says it in words."""
        self.write(event)
        if to_log:
            log.info(
                "epoch %d/%d step %d loss %s lr %.2e grad_norm %s negatives %.0f windows/s %.0f",
                event.epoch,
                self.spec.config.epochs,
                event.step,
                _shown(event.loss),
                event.lr,
                _shown(event.grad_norm),
                event.negatives_per_query,
                event.windows_per_s,
            )

    def epoch(self, rows: list[EpochRecord], projection: tuple[bool, str] | None) -> None:
        """Record the end of the last epoch of `rows`: history, event, gates and checks.

        Args:
            rows: of all epochs so far.
            projection: whether the projection head is as it should be, and why; None where there is no head.
        """
        record = rows[-1]
        if self._writer is None:
            return
        write_atomically(self.run.history_file, msgspec.json.format(msgspec.json.encode(rows)))
        self.write(EpochEnded(record=record))
        floors = ", ".join(f"{name} {value:.3f}" for name, value in self.floors.items())
        log.info(
            "epoch %d/%d step %d loss %s val_cosine %s (floors: %s) %.1f s",
            record.epoch,
            self.spec.config.epochs,
            record.step,
            _shown(record.train_loss),
            _shown(record.val_cosine, 4),
            floors or "not measured",
            record.time or 0.0,
        )
        if record.queue_negatives_per_query is not None:
            log.info(
                "epoch %d queue: %.0f of %.0f negatives a query, %s of them of its topic, drift %s",
                record.epoch,
                record.queue_negatives_per_query,
                record.negatives_per_query or 0.0,
                "none" if record.queue_same_topic_share is None else f"{record.queue_same_topic_share:.0%}",
                "not measured" if record.queue_drift is None else f"{record.queue_drift:.3f}",
            )
        self._judge_gates(record)
        self._judge_checks(record, projection)

    def recover(self, rows: list[EpochRecord]) -> None:
        """After a resume: say what a crash kept from being said of epochs that a checkpoint knows."""
        told = {record.epoch for record in self.known.epochs}
        for position, record in enumerate(rows, start=1):
            if record.epoch not in told:
                self.epoch(rows[:position], None)

    def checkpoint(self, event: CheckpointSaved) -> None:
        """A checkpoint is whole on disk."""
        self.write(event)
        log.info("checkpoint %s: %.1f MB in %.2f s", event.label, event.bytes / 1e6, event.seconds)

    def non_finite(self, event: NonFiniteFound, message: str) -> None:
        """A loss or gradient was not finite, so the run failed."""
        self.write(event)
        self.fail(message)

    def fail(self, message: str) -> None:
        """The run failed."""
        if self._writer is None:
            return
        message = without_secrets(message)
        log.error("%s", message)
        self.write(RunFailed(message=message))

    def _judge_gates(self, record: EpochRecord) -> None:
        for gate in self.spec.gates:
            if gate.epoch != record.epoch or gate.name in self._judged:
                continue
            judged = judge_gate(gate, record, self.floors)
            self._judged.add(gate.name)
            self.write(
                GateJudged(
                    name=gate.name,
                    epoch=record.epoch,
                    value=judged.value,
                    bar=judged.bar,
                    verdict=judged.verdict,
                    detail=judged.detail,
                )
            )
            level = logging.INFO if judged.verdict == "passed" else logging.WARNING
            log.log(level, "[GATE] %s %s: %s", gate.name, judged.verdict.upper(), judged.detail)

    def _judge_checks(self, record: EpochRecord, projection: tuple[bool, str] | None) -> None:
        events = [
            CheckJudged(
                name=name,
                epoch=record.epoch,
                value=judged.value,
                bar=judged.bar,
                verdict=judged.verdict,
                detail=judged.detail,
            )
            for name, judged in judge_checks(self.spec.check, record).items()
        ]
        if projection is not None:
            holds, detail = projection
            verdict: Verdict = "passed" if holds else "missed"
            events.append(
                CheckJudged(
                    name=PROJECTION_CHECK, epoch=record.epoch, value=None, bar=None, verdict=verdict, detail=detail
                )
            )
        for event in events:
            self.write(event)
            level = logging.INFO if event.verdict == "passed" else logging.WARNING
            log.log(level, "[CHECK] %s@%d %s: %s", event.name, event.epoch, event.verdict.upper(), event.detail)


def _shown(value: float | None, digits: int = 3) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"
