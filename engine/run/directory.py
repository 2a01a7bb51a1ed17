"""A run is a directory. This is where its files are, how it comes to be, and what its files say of its life.

Making the folder is the launch token: `mkdir` succeeds for exactly one of any number of launchers. The lock is held by
the wrapper and the engine through one inherited descriptor: held means alive, whatever became of the wrapper.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, overload

import msgspec
from msgspec import Struct, structs

from engine.run.convert import ConfigError
from engine.run.evals import EvalReport, read_report
from engine.run.events import EpochRecord
from engine.run.files import open_regular, read_regular, why_unsafe, write_atomically
from engine.run.launch import JobSeen, Launch, heartbeat_age_s, read_launch
from engine.run.process import Identity, boot_id, is_alive
from engine.run.spec import RunSpec

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*-([0-9]{4,6})")
MAX_NUMBER = 999_999
MAX_JSON = 16 << 20
"""No JSON file of a run is larger; one that is gets refused before it is parsed."""

ExitKind = Literal["exited", "signal", "out_of_memory", "disk_full", "never_started"]


class Exit(Struct, frozen=True, kw_only=True):
    """How an engine ended; `exit.json`, written by the wrapper."""

    code: int
    """As a shell would give it: 128 + n for signal n."""
    kind: ExitKind
    wall_s: float = 0.0
    """From a monotonic clock."""
    maxrss_bytes: int = 0
    last_line: str = ""
    """The last line of output.log, where the code is not 0."""


class Processes(Struct, frozen=True, kw_only=True):
    """Who runs it; `run.json`, written by the wrapper."""

    boot_id: str
    host: str
    started: str
    wrapper_pid: int
    wrapper_ticks: str
    engine_pid: int = 0
    engine_ticks: str = ""
    attempt: int = 1
    """1 for the first start, one more with every resume."""

    @property
    def wrapper(self) -> Identity:
        """The supervising parent."""
        return Identity(self.boot_id, self.wrapper_pid, self.wrapper_ticks)

    @property
    def engine(self) -> Identity:
        """The process that trains."""
        return Identity(self.boot_id, self.engine_pid, self.engine_ticks)


class Life(Struct, frozen=True, kw_only=True):
    """What the files say of a run's life, before its events are asked."""

    lock_held: bool
    supervised: bool
    """The wrapper is alive; a run that is not will have no exit.json."""
    processes: Processes | None
    exit: Exit | None
    rebooted: bool = False
    """It was started before the host's last boot."""
    stop_requested: bool = False
    launch: Launch | None = None
    """What was handed to a scheduler; None for a run of this machine."""
    job: JobSeen | None = None
    """What the scheduler said of it; None where it was not asked."""
    silent_s: float | None = None
    """Age of the heartbeat of a job that another host runs, or ran; None where the lock can tell."""

    @property
    def is_submitted(self) -> bool:
        """Whether an attempt was handed to a scheduler that has not begun, and may."""
        begun = self.processes.attempt if self.processes else 0
        return self.launch is not None and not self.launch.ended and self.launch.attempt > begun

    @property
    def is_silent(self) -> bool:
        """Whether an attempt began on another host, and neither its end nor its heartbeat is heard of."""
        is_wanted = self.launch is not None and not self.launch.ended
        return is_wanted and self.silent_s is not None and not (self.lock_held or self.is_submitted)

    @property
    def is_busy(self) -> bool:
        """Whether something runs, or may yet."""
        return self.lock_held or self.is_submitted or self.is_silent


class _File:
    """A file of a run, by its name; joined when it is asked for, since a folder has thousands of runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, run: None, owner: type[RunDirectory]) -> _File: ...

    @overload
    def __get__(self, run: RunDirectory, owner: type[RunDirectory]) -> Path: ...

    def __get__(self, run: RunDirectory | None, owner: type[RunDirectory]) -> Path | _File:
        return self if run is None else run.path / self.name


class RunDirectory:
    """The files of one run."""

    spec_file = _File("spec.json")
    lock_file = _File("lock")
    processes_file = _File("run.json")
    launch_file = _File("launch.json")
    events_file = _File("events.jsonl")
    log_file = _File("output.log")
    exit_file = _File("exit.json")
    history_file = _File("history.json")
    preflight_file = _File("preflight.json")
    stop_file = _File("stop")
    note_file = _File("note.txt")
    archived_file = _File("archived")
    checkpoints = _File("checkpoints")
    evals = _File("evals")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @classmethod
    def create(cls, runs_dir: Path, name: str, spec_for: Callable[[str], RunSpec]) -> RunDirectory:
        """Make the next free folder and freeze a spec into it. Numbers count over all runs; hold the launch lock.

        Args:
            runs_dir: made if missing, for this user alone.
            name: the run's name; the number is appended.
            spec_for: makes the spec once the id is known.

        Raises:
            ConfigError: the numbers are used up, or others may write in the folder of the runs.
            OSError: the folder or the spec cannot be written; no folder stays behind.
        """
        make_runs_dir(runs_dir)
        for number in range(1 + max((run_number(run.id) for run in list_runs(runs_dir)), default=0), MAX_NUMBER + 1):
            directory = cls(runs_dir / f"{name}-{number:04d}")
            with suppress(FileExistsError):
                directory.path.mkdir(mode=0o700)
                break
        else:
            raise ConfigError(f"{runs_dir}: no run number is left below {MAX_NUMBER}. Rename the newest runs.")
        try:
            spec = spec_for(directory.id)
            write_atomically(directory.spec_file, msgspec.json.format(msgspec.json.encode(spec)))
        except OSError:
            directory.path.rmdir()
            raise
        return directory

    def read_spec(self) -> RunSpec:
        """The frozen spec.

        Raises:
            ConfigError: it is missing or damaged, or another user may have written it.
        """
        try:
            for path in (self.path, self.spec_file):
                refuse_unsafe(path)
            return msgspec.json.decode(read_regular(self.spec_file, MAX_JSON), type=RunSpec)
        except ConfigError:
            raise
        except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{self.spec_file}: cannot be read as a run's spec: {error}") from None

    def read_life(self, known: Life | None = None) -> Life:
        """Exit, lock, heartbeat and processes, as the files have them now.

        Args:
            known: an earlier look, if nothing was made or replaced in the folder since: of a run of this machine that
                is still alive only the lock and the wrapper are asked again, for it has ended nowhere else.
        """
        held = is_locked(self.lock_file)
        if held and known is not None and known.lock_held and known.launch is None:
            is_supervised = known.processes is not None and is_alive(known.processes.wrapper)
            return known if is_supervised is known.supervised else structs.replace(known, supervised=is_supervised)
        processes: Processes | None = _read_struct(self.processes_file, Processes)
        ended: Exit | None = _read_struct(self.exit_file, Exit)
        launch = read_launch(self.path)
        is_elsewhere = launch is not None and processes is not None and processes.host != socket.gethostname()
        supervised = held and processes is not None and is_alive(processes.wrapper)
        silent_s: float | None = None
        if launch is not None and is_elsewhere and ended is None:
            # a lock that is free here may be held there; one that is held is held
            silent_s = heartbeat_age_s(self.path)
            supervised = silent_s < launch.silent_s
            held = held or supervised
        is_over = processes is not None and ended is None and not held and not is_elsewhere
        return Life(
            lock_held=held,
            supervised=supervised,
            processes=processes,
            exit=ended,
            rebooted=is_over and processes is not None and processes.boot_id != boot_id(),
            stop_requested=os.path.exists(self.stop_file),
            launch=launch,
            silent_s=None if held else silent_s,
        )

    def read_evals(self) -> dict[str, EvalReport]:
        """Evaluation reports by name; damaged ones are left out."""
        reports = {}
        for file in sorted(self.evals.glob("*.json")):
            with suppress(ConfigError):
                reports[file.stem] = read_report(file)
        return reports

    def read_history(self) -> list[EpochRecord]:
        """The rows of history.json; empty where there is none."""
        return _read_struct(self.history_file, list[EpochRecord]) or []


def make_runs_dir(runs_dir: Path) -> None:
    """Make the folder of the runs, for this user alone, if it is not there.

    Raises:
        ConfigError: it is there and another user may write in it.
        OSError: it cannot be made.
    """
    runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unsafe(runs_dir)


def refuse_unsafe(path: Path) -> None:
    """Refuse what another user may have written a command into.

    Raises:
        ConfigError: another user may have; says how to mend it.
        OSError: it is not there.
    """
    reason = why_unsafe(path)
    if reason:
        raise ConfigError(f"{path}: refused: {reason}.")


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """Every run folder, oldest first."""
    return [RunDirectory(runs_dir / name) for name in sorted(run_names(runs_dir), key=run_number)]


def run_names(runs_dir: Path, trusted: Container[str] = ()) -> list[str]:
    """The ids of the run folders, in no order. Links, other names, and folders without a spec to be seen are no runs.

    Args:
        runs_dir: where they are; one that cannot be read has none.
        trusted: ids of folders that were found to be runs and have not changed since; they are not looked into again.
    """
    try:
        with os.scandir(runs_dir) as entries:
            return [entry.name for entry in entries if entry.name in trusted or _is_run(entry)]
    except OSError:
        return []


def _is_run(entry: os.DirEntry[str]) -> bool:
    # os.path tells "closed to this user" from "not there" by neither raising
    is_named = _RUN_ID.fullmatch(entry.name) is not None
    return is_named and entry.is_dir(follow_symlinks=False) and os.path.isfile(f"{entry.path}/spec.json")


def find_run(runs_dir: Path, run_id: str) -> RunDirectory:
    """The run with this id, or the one whose number it is.

    Raises:
        ConfigError: there is none; the known ones are named.
    """
    runs = list_runs(runs_dir)
    for run in runs:
        if run.id == run_id or str(run_number(run.id)) == (run_id.lstrip("0") or run_id):
            return run
    known = ", ".join(run.id for run in runs[-5:]) or "none yet; start one with `lvm-tui start NAME`"
    raise ConfigError(f'{runs_dir}: there is no run "{run_id}". Newest: {known}.')


def is_locked(lock: Path) -> bool:
    """Whether some process holds the lock. A shared probe: probers do not take each other for holders."""
    try:
        fd = open_regular(lock)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def launch_lock(runs_dir: Path) -> Iterator[None]:
    """Hold the folder's launch lock: what is checked under it cannot have changed when the run is made.

    Raises:
        ConfigError: others may write in the folder.
    """
    make_runs_dir(runs_dir)
    fd = os.open(runs_dir / ".launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def take_lock(lock: Path) -> int | None:
    """Take the lock; the descriptor holds it until every copy is closed. None if someone else has it."""
    for _ in range(50):  # a prober's shared lock lasts microseconds; an owner's lasts
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            time.sleep(0.001)
        else:
            return fd
    return None


def run_number(run_id: str) -> int:
    """The number at the end of an id, by which runs are in order of age; 0 where there is none."""
    match = _RUN_ID.fullmatch(run_id)
    return int(match[1]) if match else 0


def _read_struct(path: Path, kind: Any) -> Any:
    """The file's content, or None where it is missing, reserved but not yet written, or damaged."""
    try:
        return msgspec.json.decode(read_regular(path, MAX_JSON), type=kind)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError):
        return None
