"""Events: the facts an engine records while a run goes on, one line of JSON each, past tense.

A line is `{"seq": 12, "t": 1700000000.0, "kind": "epoch_ended", ..., "crc": "0f3a9c11"}`. The crc32 is that of the
same object without its last member, so that a torn or damaged line is never taken for a fact. One `os.write` puts a
record on disk; a record cut short by a crash is closed with a newline by the next writer and skipped by every reader.
"""

from __future__ import annotations

import errno
import math
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

_CRC_TAIL = len(b',"crc":"00000000"}')
MAX_LINE = 1 << 20
"""A longer line is no event of ours: it is skipped without being decoded."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A whole number that JSON holds without loss; anything beyond is damage."""
Verdict = Literal["passed", "missed", "pending", "undecidable"]


class EpochRecord(Struct, frozen=True, kw_only=True):
    """The numbers of one epoch; also a row of `history.json`. None stands for a number that was not finite."""

    epoch: Count
    step: Count = 0
    """Optimizer steps taken so far."""
    train_loss: float | None = None
    train_infonce: float | None = None
    """Nats."""
    train_ar_cosine: float | None = None
    """Mean cosine(prediction, target) over training windows, as seen (with corruption)."""
    val_loss: float | None = None
    """1 - val_cosine, the loss that retrieval cares about."""
    val_cosine: float | None = None
    lr: float | None = None
    time: float | None = None
    """Seconds this epoch took, validation included."""
    margin: float | None = None
    """Mean cosine to the own target minus mean cosine to other articles' targets, over validation."""
    same_article_negatives: Count | None = None
    """Candidates of the query's own article that reached the loss, summed over the epoch; None where the data name no
    articles, so that nobody can know."""
    masked_candidates: Count | None = None
    """Candidates of the query's own article that were masked out, summed over the epoch."""
    negatives_per_query: float | None = None
    """Mean number of negatives a query was contrasted against, those of the queue included."""
    queue_negatives_per_query: float | None = None
    """Those of the queue; None without a queue."""
    queue_same_topic_share: float | None = None
    """Share of the queue's negatives that are of the query's topic and another article; None where there were none."""
    queue_drift: float | None = None
    """1 - mean cosine between what the queue holds and the same targets projected anew: 0 where nothing is projected,
    the staleness of the queue elsewhere."""
    val_lift: float | None = None
    """val_cosine minus the context mean's cosine on the same windows."""
    unseen_lift: float | None = None
    """The same on windows of articles that neither training nor validation sees; None where there are none."""
    unseen_windows: Count | None = None
    """Windows behind `unseen_lift`; None where there are none, so that nothing was measured."""
    lift_gap_error: float | None = None
    """Standard error of val_lift - unseen_lift, the articles of both sides taken as drawn by chance."""
    effective_rank: float | None = None
    """exp of the entropy of the normalised singular values of at most 512 predictions, evenly spaced."""
    effective_rank_limit: Count | None = None
    """The most it could be: the smaller of those predictions' number and width."""
    pairwise_cosine: float | None = None
    """Mean cosine between predictions of different validation windows."""
    context_pairwise_cosine: float | None = None
    """The same of the means of their contexts, which cannot collapse: how alike the windows themselves are."""
    top1_projected: float | None = None
    """Share of validation queries whose own target ranks first among the targets of them all, behind the head; of at
    most 2,048 windows, evenly spaced."""
    top1_target: float | None = None
    """The same in the space that retrieval searches."""
    ranked_apart: Count | None = None
    """Of those windows, how many have their target at another rank behind the head than among the vectors; None without
    a head."""
    nearer_projected: float | None = None
    """Share of the windows ranked apart whose target ranks higher behind the head: .5 where neither space is better;
    None where there are none."""
    grad_norm: float | None = None
    """Mean global gradient norm before clipping."""
    update_ratio: float | None = None
    """Mean of |parameter change| / |parameter| a step."""


class _Event(Struct, frozen=True, kw_only=True, tag_field="kind"):
    seq: Count = 0
    t: float = 0.0
    """Unix time in seconds; for display only, order is by `seq`."""


class RunStarted(_Event, frozen=True, kw_only=True, tag="run_started"):
    """The engine is about to take its first step, or its next one after a resume."""

    epochs: Count
    steps_per_epoch: Count
    num_train: Count
    """Training windows."""
    num_val: Count
    num_parameters: Count
    device: str
    threads: Count
    resumed_step: Count = 0
    """Steps already behind it; 0 for a fresh start."""
    article_disjoint: bool = True
    """False where the data name no articles: validation may then share articles with training."""


class FloorsMeasured(_Event, frozen=True, kw_only=True, tag="floors_measured"):
    """What needs no training scores on the same validation windows: mean cosine by floor."""

    floors: dict[str, float]
    num_windows: Count


class PreflightJudged(_Event, frozen=True, kw_only=True, tag="preflight_judged"):
    """The data were looked at before the first step; `preflight.json` has the whole report."""

    verdict: Verdict
    """`passed`: every must-pass item passed. `missed`: one did not, or could not be decided."""
    blocking: list[str]
    """Must-pass items that did not pass, each with its finding in words."""
    warnings: list[str] = []
    """Other items that did not pass, likewise."""
    override: str = ""
    """The written reason for which it was trained all the same; empty for none."""


class StepLogged(_Event, frozen=True, kw_only=True, tag="step_logged"):
    """An optimizer step, at most a few a second."""

    epoch: Count
    step: Count
    loss: float | None
    infonce: float | None
    ar_cosine: float | None
    lr: float
    grad_norm: float | None
    negatives_per_query: float
    windows_per_s: float


class EpochEnded(_Event, frozen=True, kw_only=True, tag="epoch_ended"):
    """Training and validation of an epoch are done."""

    record: EpochRecord


class GateJudged(_Event, frozen=True, kw_only=True, tag="gate_judged"):
    """A gate was held against its epoch's number, once."""

    name: str
    epoch: Count
    value: float | None
    bar: float
    verdict: Verdict
    detail: str = ""
    """Number, bar and margin in words: `0.472 < 0.500, missed by 0.028`."""


class CheckJudged(_Event, frozen=True, kw_only=True, tag="check_judged"):
    """A sanity check of an epoch."""

    name: str
    epoch: Count
    value: float | None
    bar: float | None
    verdict: Verdict
    detail: str = ""


class CheckpointSaved(_Event, frozen=True, kw_only=True, tag="checkpoint_saved"):
    """A checkpoint is whole on disk."""

    label: str
    """`best`, `last` or `epoch_0004`."""
    epoch: Count
    step: Count
    val_cosine: float | None
    bytes: Count
    seconds: float


class WarningRaised(_Event, frozen=True, kw_only=True, tag="warning_raised"):
    """Something a person should know: a setting that was cut, data without article ids."""

    message: str


class NonFiniteFound(_Event, frozen=True, kw_only=True, tag="non_finite_found"):
    """A loss or gradient was NaN or infinite, and the optimizer did not move; or the weights it left were of no use."""

    what: str
    value: str
    epoch: Count
    step: Count


class RunStopped(_Event, frozen=True, kw_only=True, tag="run_stopped"):
    """The engine ended at a step's end because it was asked to, with a checkpoint."""

    epoch: Count
    step: Count


class RunFinished(_Event, frozen=True, kw_only=True, tag="run_finished"):
    """Training came to its end."""

    reason: Literal["epochs", "early_stopping"]
    epoch: Count
    best_epoch: Count
    best_val_cosine: float | None


class RunFailed(_Event, frozen=True, kw_only=True, tag="run_failed"):
    """The engine gave up; `message` says what, why and how to mend it."""

    message: str


Event = (
    RunStarted
    | FloorsMeasured
    | PreflightJudged
    | StepLogged
    | EpochEnded
    | GateJudged
    | CheckJudged
    | CheckpointSaved
    | WarningRaised
    | NonFiniteFound
    | RunStopped
    | RunFinished
    | RunFailed
)

_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def finite(value: float) -> float | None:
    """The value, or None where it is NaN or infinite: JSON has no word for those."""
    return value if math.isfinite(value) else None


def encode_event(event: Event) -> bytes:
    """One line, crc and newline included."""
    body = _encoder.encode(event)
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def decode_event(line: bytes) -> Event | None:
    """The event of a whole line; None for a torn, damaged or unknown one."""
    line = line.rstrip(b"\r\n")
    if not _CRC_TAIL < len(line) <= MAX_LINE:
        return None
    body, tail = line[:-_CRC_TAIL] + b"}", line[-_CRC_TAIL:]
    if tail != b',"crc":"%08x"}' % zlib.crc32(body):
        return None
    try:
        event: Event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event


class EventWriter:
    """Appends events to a file that has no other writer. Sequence numbers go on where the last writer ended."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._seq = max((event.seq for event in read_events(path)), default=0)
        size = os.fstat(self._fd).st_size
        self._is_torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        """The file ends within a line; the next record begins with a newline, so that only the torn one is lost."""

    def write(self, event: Event) -> Event:
        """Number, stamp and append `event`; returns it as written.

        Raises:
            OSError: the disk is full or gone; what a short write left is closed with a newline by the next record.
        """
        self._seq += 1
        stamped = msgspec.structs.replace(event, seq=self._seq, t=time.time())
        line = encode_event(stamped)
        for _ in range(2):  # a full disk cuts the first write short and refuses the second
            data = b"\n" + line if self._is_torn else line
            self._is_torn = os.write(self._fd, data) != len(data)
            if not self._is_torn:
                return stamped
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


_STEP_LINE = b'{"kind":"step_logged"'
_STEP_BYTES = 212
"""Of a line about a step, about."""
_HASTE = 4
"""Times as many bytes a read takes where most lines are passed over."""


class EventReader:
    """Reads what was appended since the last call; stands a file that is missing, cut, torn or replaced.

    Args:
        path: the file.
        most_steps: about how many steps are taken from what a long file holds at first, evenly; every other line is
            read whatever it is, and so is every step that comes later. None takes all. Steps that are passed over are
            not looked at: a damaged one among them is not counted.
    """

    def __init__(self, path: Path, most_steps: int | None = None) -> None:
        self.path = path
        self.skipped = 0
        """Whole lines that were no event: damaged, or of a kind this version does not know."""
        self.behind = False
        """Whether the last read left bytes on disk."""
        self.progress = 1.0
        """Share of the file that was read."""
        self._most_steps = most_steps
        self._every = 1
        """One of so many steps is read."""
        self._num_steps = 0
        self._offset = 0
        self._inode = 0
        self._rest = b""

    def read(self, max_bytes: int = 1 << 22) -> tuple[list[Event], bool]:
        """New events, and whether the file started over, so that what was folded so far must be dropped."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            self.behind = False
            return [], False
        try:
            info = os.fstat(fd)
            restarted = self._offset > 0 and (info.st_ino != self._inode or info.st_size < self._offset)
            if restarted:
                self._offset, self._rest, self.skipped = 0, b"", 0
            self._inode = info.st_ino
            if self._offset == 0 and self._most_steps is not None:
                self._every = max(1, info.st_size // (_STEP_BYTES * self._most_steps))
            data = os.pread(fd, max_bytes * (_HASTE if self._every > 1 else 1), self._offset)
        except OSError:
            self.behind = False
            return [], False
        finally:
            os.close(fd)
        self._offset += len(data)
        self.behind = self._offset < info.st_size
        self.progress = min(1.0, self._offset / info.st_size) if info.st_size else 1.0
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            self._rest = self._rest[:MAX_LINE]  # endless line: keep enough to know that it is no event
        events = list(self._decoded(lines))
        if not self.behind:
            self._every = 1
        return events, restarted

    def _decoded(self, lines: list[bytes]) -> Iterator[Event]:
        for line in self._sampled(lines) if self._every > 1 else lines:
            event = decode_event(line)
            if event is not None:
                yield event
            elif line.strip():
                self.skipped += 1

    def _sampled(self, lines: list[bytes]) -> Iterator[bytes]:
        """Every line that is no step, one of so many that are, and the last one, which tells how things stand."""
        for place, line in enumerate(lines, start=1):
            if line.startswith(_STEP_LINE):
                self._num_steps += 1
                if self._num_steps % self._every and place < len(lines):
                    continue
            yield line


def read_events(path: Path) -> list[Event]:
    """Every event of a file, in order."""
    reader = EventReader(path)
    events: list[Event] = []
    while True:
        news, restarted = reader.read()
        if restarted:
            events.clear()
        events += news
        if not reader.behind:
            return events
