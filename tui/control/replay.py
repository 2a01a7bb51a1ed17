"""Recorded runs played through the room again: the same files in the same order, at another pace.

For review, teaching and tests. A replay happens in a folder of its own; the recording is only read. Whoever plays holds
the runs' locks meanwhile, so that they are RUNNING for every reader as they were then.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import Processes, RunDirectory, list_runs, take_lock
from engine.run.evals import read_report
from engine.run.event_file import EventWriter, read_events
from engine.run.events import (
    Event,
    PreflightJudged,
)
from engine.run.files import write_atomically
from engine.run.process import identify

LONGEST_GAP_S = 5.0
"""A longer silence, such as a night between two attempts, is cut to this many seconds of the replay."""

CueKind = Literal["start", "event", "evaluation", "end"]


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that happens to a run."""

    at_s: float
    """Seconds after the replay's start."""
    run: str
    kind: CueKind
    event: Event | None = None
    log_share: float = 0.0
    """How much of the log had been printed by then. Lines carry no date, so it is told from the events' order."""
    evaluation: str = ""


def find_recordings(path: Path) -> list[RunDirectory]:
    """The run that a folder is, or the runs it holds.

    Raises:
        ConfigError: neither.
    """
    runs = [RunDirectory(path)] if (path / "spec.json").is_file() else list_runs(path)
    if not runs:
        raise ConfigError(f"{path}: is no run's folder (no spec.json) and holds none. Name runs/ID, or a runs folder.")
    return runs


def plan_cues(runs: Sequence[RunDirectory], speed: float) -> list[Cue]:
    """When what happens.

    Args:
        runs: the recordings; what happened to them at one time happens at one time again.
        speed: 60 plays an hour in a minute.

    Raises:
        ConfigError: a recording has no event.
    """
    moments = sorted((moment for run in runs for moment in _moments(run)), key=lambda moment: moment[0])
    cues, at_s, before = [], 0.0, moments[0][0]
    for t, cue in moments:
        at_s += min(max(0.0, t - before) / speed, LONGEST_GAP_S)
        before = t
        cues.append(Cue(at_s, cue.run, cue.kind, cue.event, cue.log_share, cue.evaluation))
    return cues


def _moments(run: RunDirectory) -> Iterator[tuple[float, Cue]]:
    """Unix time and cue of all that is on record of a run, in its order."""
    events = read_events(run.events_file)
    if not events:
        raise ConfigError(f"{run.events_file}: no event is on record, so there is nothing to play.")
    clock = events[0].t
    yield clock, Cue(0.0, run.id, "start")
    for number, event in enumerate(events, start=1):
        clock = max(clock, event.t)  # a clock that was set back must not turn the order round
        yield clock, Cue(0.0, run.id, "event", event, number / len(events))
    yield clock, Cue(0.0, run.id, "end", log_share=1.0)
    for file in sorted(run.evals.glob("*.json")):
        with suppress(ConfigError, ValueError):
            created = datetime.fromisoformat(read_report(file).created).timestamp()
            yield max(created, events[0].t), Cue(0.0, run.id, "evaluation", evaluation=file.stem)


class Replay:
    """Plays recordings into a runs folder.

    Args:
        recordings: what is played.
        runs_dir: an empty folder of its own.
        speed: see `plan_cues`.
    """

    def __init__(self, recordings: Sequence[RunDirectory], runs_dir: Path, speed: float) -> None:
        self.cues = plan_cues(recordings, speed)
        self._sources = {run.id: run for run in recordings}
        self._runs_dir = runs_dir
        self._writers: dict[str, EventWriter] = {}
        self._locks: dict[str, int] = {}
        self._printed: dict[str, int] = {}

    def play(self, stopped: threading.Event) -> None:
        """Play to the end, or until `stopped` is set; locks are let go either way."""
        began = time.monotonic()
        try:
            for cue in self.cues:
                if stopped.wait(max(0.0, began + cue.at_s - time.monotonic())):
                    return
                self._carry_out(cue)
        finally:
            for run_id in list(self._locks):
                self._let_go(run_id)

    def _carry_out(self, cue: Cue) -> None:
        source, played = self._sources[cue.run], RunDirectory(self._runs_dir / cue.run)
        if cue.kind == "start":
            self._start(source, played)
        elif cue.kind == "evaluation":
            played.evals.mkdir(mode=0o700, exist_ok=True)
            for file in source.evals.glob(f"{cue.evaluation}.*json*"):
                write_atomically(played.evals / file.name, file.read_bytes())
        else:
            self._print(source, played, cue.log_share)
        if cue.event is not None:
            if isinstance(cue.event, PreflightJudged):
                _copy(source.preflight_file, played.preflight_file)
            self._writers[cue.run].write(cue.event)
        if cue.kind == "end":
            _copy(source.exit_file, played.exit_file)  # first: a run that nobody holds and that left no exit is LOST
            self._let_go(cue.run)

    def _start(self, source: RunDirectory, played: RunDirectory) -> None:
        played.path.mkdir(mode=0o700, parents=True)
        lock = take_lock(played.lock_file)
        myself = identify(os.getpid())
        assert lock is not None, "nobody else knows of this folder"
        assert myself is not None, "this process is alive"
        self._locks[source.id] = lock
        self._writers[source.id] = EventWriter(played.events_file)
        processes = Processes(
            boot_id=myself.boot_id,
            host=socket.gethostname(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            wrapper_pid=myself.pid,
            wrapper_ticks=myself.start_ticks,
        )
        write_atomically(played.processes_file, msgspec.json.encode(processes))
        played.log_file.touch(mode=0o600)
        _copy(source.spec_file, played.spec_file)  # last: with it the folder is a run

    def _print(self, source: RunDirectory, played: RunDirectory, share: float) -> None:
        """Append the log up to the end of a line."""
        try:
            size = source.log_file.stat().st_size
        except OSError:
            return
        printed, until = self._printed.get(source.id, 0), int(size * share)
        with source.log_file.open("rb") as log, played.log_file.open("ab") as out:
            log.seek(until)
            until += len(log.readline())
            log.seek(printed)
            out.write(log.read(max(0, until - printed)))
        self._printed[source.id] = max(printed, until)

    def _let_go(self, run_id: str) -> None:
        lock = self._locks.pop(run_id, None)
        if lock is not None:
            os.close(lock)
            self._writers.pop(run_id).close()


def _copy(source: Path, target: Path) -> None:
    """Copy a file whole; what was never recorded is left out."""
    with suppress(FileNotFoundError):
        temporary = target.with_name(f".{target.name}.new")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
