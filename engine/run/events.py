"""Events: the facts an engine records while a run goes on, one line of JSON each, past tense.

A line is `{"seq": 12, "t": 1700000000.0, "kind": "epoch_ended", ..., "crc": "0f3a9c11"}`. The crc32 is that of the
same object without its last member, so that a torn or damaged line is never taken for a fact. One `os.write` puts a
record on disk; a record cut short by a crash is closed with a newline by the next writer and skipped by every reader.
"""

from __future__ import annotations

import math
import zlib
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


class RankFigures(Struct, frozen=True, kw_only=True):
    """What a rank, a process of a training, costs its machine."""

    rank: Count
    """From 0; a training in one process is rank 0 of 1."""
    device: str
    memory_bytes: Count
    """Resident, of the process."""
    cpu_s: float
    """CPU seconds it has used since it began, over all of its threads."""
    device_used_bytes: Count | None = None
    """Of the device's memory, by whomever; None where the device does not tell, like the next two."""
    device_total_bytes: Count | None = None
    device_percent: float | None = None
    """Share of the last moments in which the device was busy; None also where NVIDIA's library for it is missing."""


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
    ranks: Count = 1
    """Processes that train it, over all nodes."""
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


class RanksMeasured(_Event, frozen=True, kw_only=True, tag="ranks_measured"):
    """What each rank costs its machine, every few seconds."""

    ranks: list[RankFigures]


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
    | RanksMeasured
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
