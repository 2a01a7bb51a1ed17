"""The journal: what was decided, by whom and on which evidence. Journal, then act: intent on disk, then the launch.

One JSON line a record in `decisions.jsonl`, appended by one `os.write`, so that several rooms may share it. An intent
and how it ended are two records with the same `id`; what the decision brought is a third, once it was measured.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from engine.run.directory import launch_lock
from engine.run.files import read_regular
from engine.run.process import Identity, identify, is_alive
from engine.run.settings import Patch

Who = Literal["person", "cli", "autopilot"]
ActionName = Literal[
    "start",
    "stop",
    "resume",
    "kill",
    "restart",
    "undo",
    "evaluate",
    "align",
    "rerank",
    "preflight",
    "probe",
    "autopilot",
]
Phase = Literal["intent", "done", "failed", "measured"]

MAX_BYTES = 64 << 20
"""A journal this long holds about 200,000 decisions; a longer file is none of ours."""


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision brought. None stands for a number that nobody can know."""

    words: str
    metric: str = ""
    """What `before`, `after` and `change` are of: the gate's metric for a restart, `r5` for what was evaluated or
    fitted; empty where there are words alone."""
    epoch: int = 0
    """At which epoch; 0 where it is of none."""
    before: float | None = None
    """For a restart, of the run that was patched."""
    after: float | None = None
    change: float | None = None
    """after - before."""
    step: int = 0
    """The largest optimizer step that both runs had reached when their gates were judged; 0 where it is not known."""
    change_at_step: float | None = None
    """The change of the metric at that step: a doubled batch has taken half the steps by the same epoch."""
    r5_before: float | None = None
    """R@5 of the smoke evaluation, where both runs had one when this was measured."""
    r5_after: float | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """One record of the journal."""

    schema: int = 1
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    t: float = field(default_factory=time.time)
    """Unix time in seconds."""
    who: Who
    action: ActionName
    phase: Phase = "intent"
    run: str = ""
    """The run it is about; for a restart the one that is stopped."""
    child: str = ""
    """The run that was started."""
    stopped: bool = False
    """Whether the restart stopped a run that was alive, which an undo then resumes."""
    fix: str = ""
    patch: Patch = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    """The answers of the decision tree that led here, in words."""
    detail: str = ""
    """Reason of an override, or what went wrong."""
    owner: str = field(default_factory=lambda: _myself())
    """The process that acts: boot id, pid and start ticks."""
    outcome: Outcome | None = None
    """What it brought; of a record whose phase is `measured`, and of no other."""


class Journal:
    """The decisions of a runs folder."""

    def __init__(self, runs_dir: Path) -> None:
        self.path = runs_dir / "decisions.jsonl"

    def record(self, decision: Decision) -> Decision:
        """Append a record and put it on disk.

        Raises:
            OSError: it cannot be written; then the action must not happen.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = bool(size) and os.pread(fd, 1, size - 1) != b"\n"
            line = (b"\n" if torn else b"") + msgspec.json.encode(decision) + b"\n"
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(fd)
        finally:
            os.close(fd)
        return decision

    def close(self, intent: Decision, *, child: str = "", failed: str = "", detail: str = "") -> Decision:
        """Record what became of an intent: the run it made, what else there is to say, or why it failed."""
        phase: Phase = "failed" if failed else "done"
        child, detail = child or intent.child, failed or detail or intent.detail
        return self.record(msgspec.structs.replace(intent, phase=phase, t=time.time(), child=child, detail=detail))

    def record_once(self, measured: Iterable[Decision]) -> list[Decision]:
        """Append what decisions brought, each one's once, however many processes are about to.

        Returns:
            What was not on record yet.

        Raises:
            OSError: it cannot be written.
        """
        with launch_lock(self.path.parent):
            known = measured_ids(self.records())
            return [self.record(entry) for entry in measured if entry.id not in known]

    def read(self) -> list[Decision]:
        """What was decided and how it ended, oldest first, without what was measured of it later."""
        return [entry for entry in self.records() if entry.phase != "measured"]

    def records(self) -> list[Decision]:
        """Every whole record, oldest first; damaged lines are left out."""
        try:
            lines = read_regular(self.path, MAX_BYTES).splitlines()
        except OSError:
            return []
        decisions = []
        for line in lines:
            try:
                decisions.append(msgspec.json.decode(line, type=Decision))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
        return decisions

    def mark(self) -> tuple[int, int]:
        """Modification time and size: what changes with every record; zeros where there is none."""
        try:
            info = os.stat(self.path)
        except OSError:
            return 0, 0
        return info.st_mtime_ns, info.st_size

    def undone(self) -> frozenset[str]:
        """The children of restarts that were taken back."""
        undos = (entry for entry in self.read() if entry.action == "undo" and entry.phase == "done")
        return frozenset(entry.child for entry in undos)

    def undoable(self, within_s: float) -> Decision | None:
        """The newest restart that went through, if it can be undone now.

        It can for `within_s` seconds, unless somebody has undone it or is just doing so. An undo whose owner died half
        way can be repeated at any time: it has stopped a run that nothing else would resume.
        """
        outcomes: dict[str, Decision] = {}
        is_half_done = False
        for decision in reversed(self.read()):  # an outcome comes before its intent
            outcome = outcomes.setdefault(decision.id, decision)
            if decision.action == "undo" and decision.phase == "intent" and outcome.phase != "failed":
                if outcome.phase == "done" or is_running(decision.owner):
                    return None
                is_half_done = True
            if decision.action == "restart" and decision.phase == "done":
                return decision if is_half_done or 0 <= time.time() - decision.t <= within_s else None
        return None

    def undoing(self) -> Decision | None:
        """The undo that is under way, in whichever process; None if none is."""
        ended: set[str] = set()
        for decision in reversed(self.read()):
            if decision.action == "undo" and decision.phase == "intent":
                return decision if decision.id not in ended and is_running(decision.owner) else None
            ended.add(decision.id)
        return None


def measured_ids(records: Iterable[Decision]) -> frozenset[str]:
    """The decisions whose outcome is on record."""
    return frozenset(entry.id for entry in records if entry.phase == "measured")


def measured(decision: Decision, outcome: Outcome) -> Decision:
    """The record that says what a decision brought."""
    return msgspec.structs.replace(decision, phase="measured", t=time.time(), owner=_myself(), outcome=outcome)


def _myself() -> str:
    identity = identify(os.getpid())
    return "/".join(map(str, identity)) if identity else ""


def is_running(owner: str) -> bool:
    """Whether the process that recorded a decision is alive."""
    boot_id, _, rest = owner.partition("/")
    pid, _, ticks = rest.partition("/")
    return pid.isdecimal() and is_alive(Identity(boot_id, int(pid), ticks))
