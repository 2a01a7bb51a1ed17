"""A whole preflight: every item on one subject, kept in a cache by all that it depends on."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.models.floors import measure_floors
from engine.models.kept_ridge import kept_ridge, ridge_cache
from engine.preflight.ceiling import estimate_ceiling
from engine.preflight.gates import judge_gates
from engine.preflight.leaks import judge_leaks
from engine.preflight.provenance import judge_provenance
from engine.preflight.references import describe_direction, describe_floors, judge_oracle
from engine.preflight.stretches import lag_curve, read_stretches
from engine.preflight.subject import Subject
from engine.preflight.vectors import describe_spread, judge_duplicates, judge_finite, judge_lengths, judge_unchanged
from engine.run.files import user_cache, write_atomically
from engine.run.preflight import MAX_REPORT, PreflightItem, PreflightReport
from engine.run.secrets import shown_argv
from engine.run.settings import DataConfig, Gate

WORTH_KEEPING_S = 0.5
"""What took less time is measured anew instead."""


class StoppedEarlyError(Exception):
    """The preflight was asked to end before it was done."""


class Measured(Struct, frozen=True, kw_only=True):
    """What a preflight found."""

    items: list[PreflightItem]
    floors: dict[str, float] = field(default_factory=dict)
    lag_curve: list[float | None] = field(default_factory=list)


class CacheKey(Struct, frozen=True, kw_only=True):
    """All that a preflight's findings depend on."""

    schema: Literal[2] = 2
    """Raised when items change, so that findings of an older program are not shown."""
    data_sha256: str
    payload_sha256: str
    stamps: list[tuple[int, int]]
    """Size and time of change (ns) of every file of vectors: digests are those of their making, whatever came after."""
    data: DataConfig
    gates: list[Gate]


class _Kept(Struct, frozen=True, kw_only=True):
    key: CacheKey
    measured: Measured
    sha256: str
    """Of the encoded findings: a damaged file is measured anew."""


def run_preflight(
    subject: Subject, *, stop_requested: Callable[[], bool] = lambda: False, cache: Path | None = None
) -> PreflightReport:
    """Look at the data.

    Args:
        subject: the data.
        stop_requested: asked between the items.
        cache: folder that keeps findings; None for none.

    Raises:
        StoppedEarlyError: `stop_requested` said so.
        ConfigError: the data cannot be read.
    """
    began = time.monotonic()
    digest = subject.digest()
    key = CacheKey(
        data_sha256=digest,
        payload_sha256=subject.payload.sha256 if subject.payload else "",
        stamps=[(stat.st_size, stat.st_mtime_ns) for stat in map(os.stat, subject.files())],
        data=subject.data,
        gates=list(subject.gates),
    )
    measured = _read(cache, key) if cache else None
    if measured is None:
        measured = measure(subject, stop_requested, ridge_cache() if cache else None)
        if cache and time.monotonic() - began >= WORTH_KEEPING_S:
            _keep(cache, key, measured)
    return PreflightReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=shown_argv(sys.argv),
        data=subject.name,
        data_sha256=digest,
        seconds=round(time.monotonic() - began, 3),
        items=[*measured.items, judge_unchanged(subject)],
        floors=measured.floors,
        lag_curve=measured.lag_curve,
    )


def measure(subject: Subject, stop_requested: Callable[[], bool], ridges: Path | None = None) -> Measured:
    """Every item; of vectors without a direction nothing but that, since no cosine can be taken with them.

    Args:
        subject: the data.
        stop_requested: asked between the items.
        ridges: folder that keeps fitted ridges; None for none.

    Raises:
        StoppedEarlyError: `stop_requested` said so.
    """

    def go_on() -> None:
        if stop_requested():
            raise StoppedEarlyError

    finite, lengths = judge_finite(subject)
    if finite.verdict != "passed":
        return Measured(items=[finite])
    go_on()
    items = judge_leaks(subject)
    go_on()
    items += judge_provenance(subject)
    go_on()
    items += [finite, judge_lengths(subject, lengths), judge_duplicates(subject), describe_spread(subject)]
    go_on()
    ridge = kept_ridge(subject.source, subject.split.train, ridges)
    floors = measure_floors(subject.source, ridge, subject.split.val)
    items += [describe_floors(floors, len(subject.split.val)), judge_oracle(subject)]
    go_on()
    stretches = read_stretches(subject.source)
    curve = lag_curve(stretches)
    items.append(describe_direction(subject, stretches, curve))
    go_on()
    items += judge_gates(subject, estimate_ceiling(stretches), floors)
    return Measured(items=items, floors=floors, lag_curve=curve)


def default_cache() -> Path:
    """Where findings are kept; they can be deleted at any time."""
    return user_cache("preflight")


def _read(cache: Path, key: CacheKey) -> Measured | None:
    """What is kept under a key; None where there is nothing, or nothing whole."""
    try:
        kept = msgspec.json.decode(_file(cache, key).read_bytes()[:MAX_REPORT], type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return kept.measured if kept.key == key and kept.sha256 == _digest(kept.measured) else None


def _keep(cache: Path, key: CacheKey, measured: Measured) -> None:
    with suppress(OSError):  # a cache that cannot be written costs time, not the training
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _Kept(key=key, measured=measured, sha256=_digest(measured))
        write_atomically(_file(cache, key), msgspec.json.encode(kept))


def _file(cache: Path, key: CacheKey) -> Path:
    return cache / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]}.json"


def _digest(measured: Measured) -> str:
    return hashlib.sha256(msgspec.json.encode(measured)).hexdigest()
