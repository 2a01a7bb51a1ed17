"""The autopilot's seat: one for each family, held through a lock, and left whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from person import Person
from processes import wait_until

from engine.run.directory import RunDirectory, is_locked
from engine.run.state import Status
from tui.cli import main
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot, Turn
from tui.control.pilot_seat import LOCK, MAX_HOLDER, Piloted, PilotSeat, check_seat, holder
from tui.control.plans import RefusedError
from tui.control.watcher import Watcher


def family_of_two(room: Person) -> tuple[RunDirectory, RunDirectory]:
    """A run that missed, and its child, which goes on."""
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "10000", "--epoch-s", "60"]
    return run, room.actions.restart(room.plan(run))


def seat_of(room: Person, run: RunDirectory, where: str = "a test") -> PilotSeat:
    return PilotSeat(room.actions, room.view(run), room.views(), where)


def entries(room: Person) -> list[tuple[str, str, str, str]]:
    found = [entry for entry in room.actions.journal.read() if entry.action == "autopilot"]
    return [(entry.who, entry.phase, entry.run, entry.detail) for entry in found]


def test_a_family_has_one_seat_and_the_second_is_told_who_holds_it(room: Person) -> None:
    run, child = family_of_two(room)
    assert holder(run) == ""
    seat = seat_of(room, child, "the first")
    with pytest.raises(RefusedError, match=f"for {run.id} already: the first, process {os.getpid()} on "):
        seat_of(room, run, "the second")
    with pytest.raises(RefusedError, match="the first"):
        check_seat(room.actions, run, None)
    assert len(entries(room)) == 1, "who was refused has begun nothing"
    seat.leave("enough")
    seat.leave("once more")
    assert holder(run) == ""
    check_seat(room.actions, run, None)
    seat_of(room, run).leave("and so can another")
    assert [entry[:3] for entry in entries(room)][:2] == [("person", "intent", run.id), ("person", "done", run.id)]
    assert [entry[3] for entry in entries(room)][1::2] == ["enough", "and so can another"]
    assert "at most 8 runs in 12 hours" in entries(room)[0][3], "the limits it began with"


def test_another_family_has_a_seat_of_its_own(room: Person) -> None:
    first = room.start("--epochs", "1")
    room.wait_status(first, Status.FINISHED)
    second = room.start("--epochs", "1")
    room.wait_status(second, Status.FINISHED)
    seats = [seat_of(room, run) for run in (first, second)]
    for seat in seats:
        seat.leave("")
    own = Piloted(first.id, Turn("waits"))
    check_seat(room.actions, first, own)
    with pytest.raises(RefusedError, match=f"acts for {first.id}; W there ends that first"):
        check_seat(room.actions, second, own)
    check_seat(room.actions, second, Piloted(first.id, Turn("done", is_over=True)))


def test_a_look_that_fails_says_so_and_is_the_last(room: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    run = room.start("--epochs", "1")
    room.wait_status(run, Status.FINISHED)

    def fail(*_: object) -> Turn:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Autopilot, "look", fail)
    seat = seat_of(room, run)
    turn = seat.look(Watcher(room.file.runs_dir, 60.0))
    assert turn.is_over
    assert turn.words == "it failed, a person has to look: ZeroDivisionError: a fault of ours"
    seat.leave(turn.words)


def test_a_reader_gets_no_seat(room: Person) -> None:
    run = room.start("--epochs", "1")
    room.wait_status(run, Status.FINISHED)
    reader = Actions(room.file, room.file.runs_dir, "person", readonly=True)
    with pytest.raises(RefusedError, match="read-only"):
        PilotSeat(reader, room.view(run), room.views(), "a test")
    assert not (run.path / LOCK).exists()


def test_a_seat_whose_taking_cannot_be_journaled_stays_free(room: Person) -> None:
    run = room.start("--epochs", "1")
    room.wait_status(run, Status.FINISHED)
    journal, views = room.actions.journal.path, room.views()
    kept = journal.read_bytes()
    journal.unlink()
    journal.mkdir()
    with pytest.raises(OSError, match="directory"):
        PilotSeat(room.actions, views[0], views, "a test")
    assert not is_locked(run.path / LOCK)
    journal.rmdir()
    journal.write_bytes(kept)
    seat_of(room, run).leave("")


def test_the_lock_file_of_somebody_else_is_read_no_further_than_it_is_shown(room: Person) -> None:
    run = room.start("--epochs", "1")
    room.wait_status(run, Status.FINISHED)
    seat = seat_of(room, run)
    (run.path / LOCK).write_bytes(b"\xff" * (MAX_HOLDER + 1))
    assert holder(run) == "nobody knows which"
    seat.leave("")


def test_what_an_autopilot_did_last_stays_in_sight_while_it_waits() -> None:
    state = Piloted("a-0001", Turn("begins")).after(Turn("restarted", acted=True)).after(Turn("waits for the gate"))
    assert (state.words, state.last_act) == ("WAITS  waits for the gate", "restarted")


def watch_auto(room: Person, run: RunDirectory) -> subprocess.Popen[str]:
    """A real `lvm-tui watch --auto`."""
    command = [sys.executable, "-m", "tui", "--config", room.file.path, "watch", "--auto", run.id]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_watch_that_was_killed_leaves_the_seat_to_the_next(room: Person) -> None:
    run = room.start("--epochs", "10000", "--epoch-s", "60")
    process = watch_auto(room, run)
    wait_until(lambda: "lvm-tui watch --auto" in holder(run))
    refused = CliRunner().invoke(main, ["--config", room.file.path, "watch", "--auto", run.id])
    assert refused.exit_code == 2
    assert f"lvm-tui watch --auto, process {process.pid}" in refused.stderr
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert holder(run) == ""
    again = watch_auto(room, run)
    assert again.stdout is not None
    assert next(line for line in again.stdout if "WAITS" in line), "it may tell first what the one before it did"
    assert str(again.pid) in holder(run)
    again.send_signal(signal.SIGINT)
    _, errors = again.communicate(timeout=30)
    assert (again.returncode, errors) == (0, "")
    assert holder(run) == ""
    assert [entry[:2] for entry in entries(room)] == [("cli", "intent"), ("cli", "intent"), ("cli", "done")]
    assert entries(room)[-1][3] == "the watch was ended"
