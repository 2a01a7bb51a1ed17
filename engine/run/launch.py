"""Launchers by name: the `[launcher.NAME]` tables of runs.toml, and `launch.json`, which says what was handed to one.

A run's folder says whether its job was asked for, by a name of its own (the nonce); the scheduler says whether that job
waits. Neither word is ever taken for the end of an engine: that is what exit.json, the lock and the heartbeat are for.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from engine.run.convert import suggestion
from engine.run.files import read_regular, write_atomically
from engine.run.settings import PositiveInt, Section
from engine.run.wrapper import HEARTBEAT_FILE

LOCAL = "local"
"""The launcher of runs.toml files that name none: this machine."""
EXTRA_OPTIONS = (
    "--begin",
    "--comment",
    "--constraint",
    "--contiguous",
    "--dependency",
    "--exclude",
    "--exclusive",
    "--gres",
    "--hint",
    "--hold",
    "--licenses",
    "--mail-type",
    "--mail-user",
    "--mem-per-cpu",
    "--nice",
    "--nodelist",
    "--prefer",
    "--reservation",
    "--switches",
    "--tmp",
    "--wckey",
)
"""Options of sbatch that choose where and when a job runs; none that changes what it runs, or where that is written."""
_WORD = r"^[A-Za-z0-9][A-Za-z0-9_.,@:+-]{0,127}\Z"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z"
_EXTRA = re.compile(r"(--[a-z-]+)(?:=([^\x00-\x1f\x7f]{1,512}))?")
_OURS = re.compile(r"(SBATCH|SLURM|LVM|SPANK)_.*|LD_PRELOAD|BASH_ENV|ENV")
"""Variables that would change what sbatch asks for, or are this program's own."""

Word = Annotated[str, Meta(pattern=_WORD)]


class LauncherConfig(Section, frozen=True, kw_only=True):
    """A `[launcher.NAME]` table: where runs are started that say `launcher = "NAME"`."""

    kind: Literal["slurm"]
    """`slurm`: by Slurm's command line."""
    partition: Word | None = None
    """Partition; without one, the cluster's own default."""
    account: Word | None = None
    """Account that is charged."""
    qos: Word | None = None
    """Quality of service."""
    gpus: Annotated[int, Meta(ge=0, le=64)] = 0
    """GPUs of a rank; 0 asks for none."""
    cpus: Annotated[int, Meta(ge=1, le=1024)] = 1
    """CPUs of a rank, and so the threads it computes with."""
    memory: Annotated[str, Meta(pattern=r"^([1-9][0-9]{0,8}[KMGT]?)?\Z")] = ""
    """Memory of a node, such as "16G"; empty for the cluster's own default. Without a letter: megabytes."""
    time: Annotated[str, Meta(pattern=r"^([0-9]{1,3}-[0-9]{1,2}(:[0-9]{2}){0,2}|[0-9]{1,6}(:[0-9]{2}){0,2})?\Z")] = ""
    """Longest time of a job: minutes, "hours:minutes:seconds" or "days-hours"; empty for the partition's own limit.
    At its end the engine is asked to save and end, and the run can be resumed."""
    extra: list[str] = field(default_factory=list)
    """Further options of sbatch, each as "--name=value"; those that choose where and when a job runs."""
    pass_env: list[Annotated[str, Meta(pattern=_VARIABLE)]] = field(default_factory=list)
    """Variables of this environment that the job shall have as well; of the others it has none but the usual few."""
    root: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""
    """Folder that the cluster's nodes see under the same path; the folder of the runs must lie in it. Empty: not
    checked."""
    poll_s: Annotated[float, Meta(ge=1.0, le=3600.0)] = 10.0
    """Seconds between two questions to the scheduler, which is asked once for any number of jobs."""
    silent_s: Annotated[float, Meta(ge=5.0, le=86_400.0)] = 90.0
    """A job on another host whose heartbeat is older is not taken to be running by that alone. Nine beats: shared
    folders show a change after up to a minute."""

    def __post_init__(self) -> None:
        for option in self.extra:
            _check_extra(option)
        for name in self.pass_env:
            if _OURS.fullmatch(name):
                raise ValueError(f"pass_env: {name} may not be passed on: it would change what is asked for or run")


class Launch(Struct, frozen=True, kw_only=True):
    """What was handed to a scheduler; `launch.json`, on disk before the scheduler is asked."""

    launcher: str
    """Name of the table."""
    kind: str
    nonce: str
    """Name of the job, used once: by it the job is found again, whatever became of the answer."""
    attempt: PositiveInt
    """The attempt that it is to be, as the wrapper counts them."""
    asked: float
    """Unix time of the intent."""
    job_id: str = ""
    """The scheduler's answer; empty where there is none yet, or it was lost."""
    poll_s: float = 10.0
    silent_s: float = 90.0
    ended: Literal["", "cancelled", "refused", "given_up"] = ""
    """Why no engine will come of it; empty while one may."""
    why: str = ""
    """That in words."""


class JobSeen(Struct, frozen=True, kw_only=True):
    """What a scheduler said of a job when it was last asked; or that it did not answer."""

    state: str = ""
    """In the scheduler's words, such as PENDING; empty where it knows no job of that name, or did not answer."""
    job_id: str = ""
    reason: str = ""
    """Why it waits or ended, in the scheduler's words."""
    starts: float | None = None
    """Unix time at which the scheduler expects to start it; None where it does not say."""
    priority: str = ""
    nodes: str = ""
    """Where it runs or ran; empty for one that never had a node."""
    ended: float | None = None
    """Unix time of its end; None where it has not ended."""
    problem: str = ""
    """Why the scheduler did not answer; empty where it did."""

    @property
    def is_waiting(self) -> bool:
        """Whether it has not begun, and may."""
        return self.state in {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}

    @property
    def is_running(self) -> bool:
        """Whether the scheduler has started it and has not seen its end."""
        return self.state in {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "RESIZING"}

    @property
    def has_ended(self) -> bool:
        """Whether the scheduler says that it is over."""
        return bool(self.state) and not (self.is_waiting or self.is_running)


def read_launch(folder: Path) -> Launch | None:
    """What `launch.json` in this folder says; None where there is none, or it is damaged."""
    try:
        return msgspec.json.decode(read_regular(folder / "launch.json", 1 << 16), type=Launch)
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def write_launch(folder: Path, launch: Launch) -> None:
    """Replace `launch.json`; it is on disk when this returns."""
    write_atomically(folder / "launch.json", msgspec.json.format(msgspec.json.encode(launch)))


def heartbeat_age_s(folder: Path) -> float:
    """Seconds since a job's wrapper, or its engine, last wrote something in this folder."""
    written = [0.0]
    for name in (HEARTBEAT_FILE, "events.jsonl", "run.json"):
        with suppress(OSError):
            written.append(os.stat(folder / name).st_mtime)
    return max(0.0, time.time() - max(written))


def _check_extra(option: str) -> None:
    """Refuse an option of sbatch that is not on the list.

    Raises:
        ValueError: with the nearest one that is.
    """
    match = _EXTRA.fullmatch(option)
    if match is None:
        shown = json.dumps(option[:80])
        raise ValueError(f'extra: {shown} is not of the form "--name=value" in one line, or "--name"')
    if match[1] not in EXTRA_OPTIONS:
        near = suggestion(match[1], EXTRA_OPTIONS)
        raise ValueError(f"extra: {match[1]} may not be given to sbatch here.{near}".removesuffix("."))
