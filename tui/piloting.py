"""What the room does beside a person's keys, each in a thread of its own: the autopilot, and the keeping of outcomes.

Neither shares anything that changes with the event loop: the autopilot looks through a watcher of its own, and what a
thread has to say is one value that is replaced whole.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from tui.control.actions import Actions
from tui.control.autopilot import Turn
from tui.control.journal import Decision, Journal
from tui.control.outcomes import due
from tui.control.pilot_seat import Piloted, PilotSeat
from tui.control.plans import Plans, RefusedError
from tui.control.views import RunView
from tui.control.watcher import Watcher

LOOK_S = 1.0
"""Between two looks of the autopilot; `lvm-tui watch --auto` rests as long."""


class RoomPilot:
    """The autopilot of an open room: none, or one, which ends with the room."""

    def __init__(self) -> None:
        self.state: Piloted | None = None
        """What it is at, or ended on; None where there was none."""
        self._stop = threading.Event()
        self._why = ""
        self._moved = ("", "")

    @property
    def is_flying(self) -> bool:
        """Whether it will look again."""
        return self.state is not None and not self.state.turn.is_over

    def begin(self, actions: Actions, run_id: str) -> str:
        """Let it act for a run's family from now on; reads the whole folder, so not for the event loop.

        Returns:
            The id of the family's root.

        Raises:
            RefusedError: it, or another one, is at work.
            OSError: the lock or the journal cannot be written.
        """
        if self.is_flying and self.state is not None:
            raise RefusedError(f"the autopilot acts for {self.state.root}; W there ends that first")
        watcher = Watcher(actions.runs_dir, actions.file.room.stall_s)
        watcher.catch_up()
        if run_id not in watcher.views:
            raise RefusedError(f"{run_id} is gone")
        seat = PilotSeat(actions, watcher.views[run_id], list(watcher.views.values()), "a room")
        self._stop, self._why = threading.Event(), ""
        self.state = Piloted(seat.root_id, Turn("takes its first look"))
        # no daemon: a step that is half taken when the room is left comes to its end
        threading.Thread(target=self._fly, args=(seat, watcher, self._stop), name="autopilot").start()
        return seat.root_id

    def end(self, why: str = "the room was left") -> None:
        """Let it not look again; returns at once, while a step under way comes to its end."""
        self._why = self._why or why
        self._stop.set()

    def followed(self, run_id: str) -> str:
        """The run to look at for a person who looks at this one: once, the child that it was restarted as."""
        (stopped, child), self._moved = self._moved, ("", "")  # later a person may want to see the old one
        return child if stopped and run_id == stopped else run_id

    def _fly(self, seat: PilotSeat, watcher: Watcher, stop: threading.Event) -> None:
        state = Piloted(seat.root_id, Turn(""))
        while not state.turn.is_over:
            turn = Turn(self._why, is_over=True) if stop.is_set() else seat.look(watcher)
            if turn.is_over:
                with suppress(OSError):  # the seat is free all the same, and the room says why
                    seat.leave(turn.words)
            if turn.acted:
                self._moved = seat.last_restart()
            state = self.state = state.after(turn)
            stop.wait(0.0 if turn.is_over else LOOK_S)


class OutcomeKeeper:
    """Writes down what decisions brought, off the event loop, one writing at a time."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the last writing failed; empty where it did not."""
        self._thread: threading.Thread | None = None
        self._tick = 0

    def look(self, plans: Plans, views: Sequence[RunView], tick: int) -> None:
        """See whether something is known now that is not on record, if anything has changed since it last could.

        Args:
            plans: whose journal it is; a reader's is left alone.
            views: every run.
            tick: grows with every change.
        """
        if plans.readonly or tick == self._tick or (self._thread is not None and self._thread.is_alive()):
            return
        self._tick = tick
        found = due(plans.journal.records(), views)
        if found:
            self._thread = threading.Thread(target=self._write, args=(plans.journal, found), daemon=True)
            self._thread.start()

    def _write(self, journal: Journal, found: list[Decision]) -> None:
        try:
            journal.record_once(found)
            self.problem = ""
        except OSError as error:
            self.problem = f"what was measured cannot be written down: {error}"
