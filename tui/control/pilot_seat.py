"""The autopilot's seat: one for each family of runs, whoever offers it, a room or `lvm-tui watch --auto`.

It is held through a lock in the folder of the family's root, so that two never act for one family, and let go of by the
kernel if the process dies. Taking and leaving it are in the journal, by who asked for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.directory import RunDirectory, is_locked, take_lock
from engine.run.files import read_regular
from engine.run.runs_file import AutopilotConfig
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot, Turn
from tui.control.journal import Decision
from tui.control.ladder import family
from tui.control.plans import Plans, RefusedError
from tui.control.views import RunView
from tui.control.watcher import Watcher

LOCK = "autopilot.lock"
MAX_HOLDER = 1000
"""Bytes of the lock file, which says who holds it."""


@dataclass(frozen=True, slots=True)
class Piloted:
    """What an autopilot is at, for those who look on."""

    root: str
    """Id of the family's root."""
    turn: Turn
    """Its last look."""
    last_act: str = ""
    """What it did last, in words; empty for nothing yet."""

    @property
    def words(self) -> str:
        """What it did, waits for or ended on, with which of these it is."""
        return f"{'OVER' if self.turn.is_over else 'ACTED' if self.turn.acted else 'WAITS'}  {self.turn.words}"

    def after(self, turn: Turn) -> Piloted:
        """The same after another look."""
        return Piloted(self.root, turn, turn.words if turn.acted else self.last_act)


class PilotSeat:
    """An autopilot that holds the lock of its family; leave it, whatever happens.

    Args:
        actions: of who asks for it; the autopilot acts on its own behalf.
        run: any run of the family.
        views: every run, oldest first.
        where: what offers the seat, in words, for whoever is refused it.

    Raises:
        RefusedError: another one holds it, or nothing may be done here.
        OSError: the lock or the journal cannot be written.
    """

    def __init__(self, actions: Actions, run: RunView, views: Sequence[RunView], where: str) -> None:
        actions.refuse_readonly()
        root = family(run, views)[0]
        self._fd = take_lock(root.directory.path / LOCK)
        if self._fd is None:
            raise RefusedError(f"an autopilot acts for {root.id} already: {holder(root.directory)}")
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{where}, {_since()}".encode()[:MAX_HOLDER], 0)
            limits = actions.file.autopilot
            self.root_id = root.id
            self._journal = actions.journal
            self._entry = self._journal.record(
                Decision(who=actions.who, action="autopilot", run=root.id, detail="; ".join(limits_in_words(limits)))
            )
            on_its_own = Actions(actions.file, actions.runs_dir, "autopilot")
            self._pilot = Autopilot(on_its_own, root.id, limits, time.time())
        except BaseException:
            os.close(self._fd)
            raise

    def look(self, watcher: Watcher) -> Turn:
        """Look once at what is on disk now, and take the next step; a look that fails says so and is the last."""
        try:
            watcher.poll()
            return self._pilot.look(list(watcher.views.values()), time.time())
        except Exception as error:  # whatever it is, nobody else is there to see it
            return Turn(f"it failed, a person has to look: {type(error).__name__}: {error}", is_over=True)

    def last_restart(self) -> tuple[str, str]:
        """The run that an autopilot has last restarted, and its child; empty for none."""
        steps = (entry for entry in reversed(self._journal.read()) if entry.who == "autopilot")
        done = (entry for entry in steps if entry.action == "restart" and entry.phase == "done")
        return next(((entry.run, entry.child) for entry in done), ("", ""))

    def leave(self, words: str) -> None:
        """Say in the journal why it ends, and let another one take the seat. Leaving twice is leaving once.

        Raises:
            OSError: the journal cannot be written; the seat is free all the same.
        """
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            self._journal.close(self._entry, detail=words)
        finally:
            os.close(fd)


def check_seat(plans: Plans, root: RunDirectory, own: Piloted | None) -> None:
    """Raises RefusedError unless an autopilot may be set on a family, or is there to be ended, in this room.

    Args:
        plans: what may be done.
        root: of the family.
        own: what the room's own autopilot is at.
    """
    plans.refuse_readonly()
    if own is not None and not own.turn.is_over:
        if own.root != root.id:
            raise RefusedError(f"the autopilot acts for {own.root}; W there ends that first")
        return
    held = holder(root)
    if held:
        raise RefusedError(f"an autopilot acts for {root.id} already: {held}")


def holder(root: RunDirectory) -> str:
    """Who holds the seat of a family, in words; empty for nobody."""
    lock = root.path / LOCK
    if not is_locked(lock):
        return ""
    try:
        return read_regular(lock, MAX_HOLDER).decode(errors="replace") or "just begun"
    except OSError:
        return "nobody knows which"


def limits_in_words(limits: AutopilotConfig) -> list[str]:
    """What it may do and for how long."""
    return [
        f"may {', '.join(limits.allow)}" if limits.allow else "may do nothing: [autopilot] allow is empty",
        f"at most {limits.max_runs} runs in {limits.max_hours:g} hours; more than {limits.max_crashes} crashes end it",
        f"quiet hours, in which it only watches: {limits.quiet}" if limits.quiet else "no quiet hours",
    ]


def _since() -> str:
    return f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M')}"
