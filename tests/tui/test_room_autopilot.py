"""The autopilot as a mode of the room: it asks first, walks, is always in sight, and gives way to a person."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from processes import wait_until
from recorded import make_spec, passed_amn, run_events, write_run
from test_room import SIZES, notices, open_app, until
from test_room_snapshots import SnapCompare
from textual.pilot import Pilot
from textual.widgets import Button

from engine.run.directory import Exit, RunDirectory, list_runs
from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot, Turn
from tui.control.pilot_seat import PilotSeat, holder
from tui.control.usage import MachineUsage, UsageMeter
from tui.control.watcher import Watcher
from tui.panes.decision_tree import DecisionTreePane
from tui.panes.status_strip import StatusStrip
from tui.screens.confirm import ConfirmScreen
from tui.widgets.steady_text import SteadyText

WAITING = ["--epochs", "10000", "--epoch-s", "60"]
"""Options of an engine that does not come to its gate."""


@pytest.fixture(autouse=True)
def a_hurried_autopilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not rest."""
    monkeypatch.setattr("tui.piloting.LOOK_S", 0.05)


@pytest.fixture
def missed(runs_file: RunsFile, fake_engine: list[str]) -> Iterator[RunDirectory]:
    """An ended run that missed its gate, beside a baseline that passed; no autopilot acts for it in the end."""
    spec = make_spec()
    passed_amn(runs_file.runs_dir)
    run = write_run(runs_file.runs_dir, spec, run_events(spec, [0.12, 0.31]), ended=Exit(code=0, kind="exited"))
    fake_engine += WAITING
    yield run
    wait_until(lambda: not holder(run))


def strip(app: RoomApp) -> str:
    return str(app.screen_stack[0].query_one(StatusStrip).render())


def tree(app: RoomApp) -> str:
    return app.screen_stack[0].query_one(DecisionTreePane).query_one("#position", SteadyText).content.plain


def journal(app: RoomApp) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.action, entry.phase) for entry in app.actions.journal.read()]


def with_limits(file: RunsFile, **limits: Any) -> RunsFile:
    return msgspec.structs.replace(file, autopilot=msgspec.structs.replace(file.autopilot, **limits))


def climber(file: RunsFile) -> RunsFile:
    """A room whose autopilot restarts at once, without a probe of the ladder before it."""
    return with_limits(file, allow=["restart"])


async def fly(pilot: Pilot[None], app: RoomApp) -> None:
    await pilot.pause()
    await pilot.press("W", "y")
    await until(pilot, lambda: app.scene and app.scene.is_flying, "the autopilot")


async def test_w_asks_with_the_limits_in_words_and_enter_means_no(runs_file: RunsFile, missed: RunDirectory) -> None:
    app = open_app(with_limits(runs_file, allow=["restart", "evaluate"], max_runs=3, quiet="22:00-07:00"))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.pause()
        await pilot.press("W")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        asked = "\n".join(row.plain for row in app.screen._rows)
        for words in ("may restart, evaluate", "at most 3 runs in 12 hours", "22:00-07:00", "more than 2 crashes"):
            assert words in asked
        assert "lvm-tui watch --auto mamba_s-0001" in asked
        assert "leaving the room ends it" in asked
        assert isinstance(app.focused, Button)
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await pilot.pause()
        assert app.pilot.state is None
        assert journal(app) == []
        assert "AUTO" not in strip(app)


async def test_it_walks_says_what_it_did_and_waits_in_sight_until_w_is_pressed_again(
    runs_file: RunsFile, missed: RunDirectory
) -> None:
    app = open_app(climber(runs_file))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await fly(pilot, app)
        await until(pilot, lambda: len(app.watcher.views) == 3, "the child")
        await until(pilot, lambda: "its last step: mamba_s-0001: restarted as mamba_s-0003" in tree(app), "the step")
        assert "AUTO" in strip(app)
        assert "autopilot WAITS" in tree(app)
        step = "restart → mamba_s-0003 with loss.temperature = 0.05"
        await until(pilot, lambda: any(step in notice for notice in notices(app)), "word of it, a look later")
        assert journal(app)[:3] == [
            ("person", "autopilot", "intent"),
            ("autopilot", "restart", "intent"),
            ("autopilot", "restart", "done"),
        ]
        await pilot.press("W")
        await until(pilot, lambda: "AUTO over" in strip(app), "its end, unasked")
        assert "autopilot OVER  a person ended it with W" in tree(app)
        assert journal(app)[-1] == ("person", "autopilot", "done")
        assert app.watcher.views["mamba_s-0003"].status.is_alive, "what it has started goes on"
        assert not holder(missed)
        await fly(pilot, app)


async def test_a_persons_key_on_the_family_ends_it(runs_file: RunsFile, missed: RunDirectory) -> None:
    app = open_app(climber(runs_file))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await fly(pilot, app)
        await until(pilot, lambda: "mamba_s-0003" in app.watcher.views, "the child")
        app.choose("mamba_s-0003")  # the newest of its table is selected anyway
        await until(pilot, lambda: app.scene and "stop" not in app.scene.reasons, "a run to stop")
        await pilot.press("S")
        await until(pilot, lambda: "AUTO over" in strip(app), "its end")
        assert "a person took over: stop of mamba_s-0003" in tree(app)
        await until(pilot, lambda: any("a person took over" in notice for notice in notices(app)), "the notice")
        runs = len(list_runs(runs_file.runs_dir))
        await pilot.pause(0.3)
        assert len(list_runs(runs_file.runs_dir)) == runs


async def test_who_looks_at_the_run_that_it_restarts_looks_at_the_child_next(
    runs_file: RunsFile, missed: RunDirectory
) -> None:
    app = open_app(climber(runs_file))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        app.choose(missed.id)
        await fly(pilot, app)
        await until(pilot, lambda: app.scene and app.scene.selected and app.scene.selected.spec.parent, "the child")
        app.choose("amn-0002")
        await pilot.pause(0.6)
        assert app.selected_id == "amn-0002", "a person's choice stands"
        assert "AUTO mamba_s-0001" in strip(app)
        app.choose(missed.id)
        await pilot.pause(0.6)
        assert app.selected_id == missed.id, "and so does one for the old run"


async def test_it_ends_with_the_room_and_the_run_goes_on(runs_file: RunsFile, missed: RunDirectory) -> None:
    app = open_app(climber(runs_file))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await fly(pilot, app)
        await until(pilot, lambda: len(app.watcher.views) == 3, "the child")
    wait_until(lambda: not holder(missed))
    last = app.actions.journal.read()[-1]
    assert (last.action, last.phase, last.detail) == ("autopilot", "done", "the room was left")
    assert list_runs(runs_file.runs_dir)[-1].read_life().lock_held


async def test_it_ends_with_a_room_that_crashes(runs_file: RunsFile, missed: RunDirectory) -> None:
    app = open_app(climber(runs_file))

    def crash() -> None:
        raise ZeroDivisionError

    async def fly_and_crash() -> None:
        async with app.run_test(size=SIZES["roomy"]) as pilot:
            await fly(pilot, app)
            app.call_later(crash)
            await until(pilot, lambda: not app.is_running, "the crash")

    with pytest.raises(ZeroDivisionError):
        await fly_and_crash()
    wait_until(lambda: not holder(missed))


async def test_read_only_has_no_autopilot(runs_file: RunsFile, missed: RunDirectory) -> None:
    app = open_app(runs_file, readonly=True)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.pause()
        await pilot.press("W")
        await pilot.pause()
        assert not isinstance(app.screen, ConfirmScreen)
        assert notices(app) == ["read-only: no action can be taken"]
        assert "W autopilot" not in str(app.screen.query_one("KeyHints").render())  # type: ignore[attr-defined]
        assert not (missed.path / "autopilot.lock").exists()
        assert not app.actions.journal.path.exists(), "nor is anything measured"


async def test_two_rooms_do_not_act_for_one_family(runs_file: RunsFile, missed: RunDirectory) -> None:
    first, second = (open_app(climber(runs_file)) for _ in range(2))
    async with first.run_test(size=SIZES["roomy"]) as pilot:
        await fly(pilot, first)
        await until(pilot, lambda: len(first.watcher.views) == 3, "the child")
        async with second.run_test(size=SIZES["roomy"]) as other:
            await until(other, lambda: "AUTO elsewhere" in strip(second), "the other room's autopilot")
            assert "autopilot elsewhere: a room, process" in tree(second)
            await other.press("W")
            await other.pause()
            assert any("acts for mamba_s-0001 already: a room" in notice for notice in notices(second))
            assert second.pilot.state is None


async def test_a_look_that_fails_is_said_and_ends_it(
    runs_file: RunsFile, missed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Turn:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Autopilot, "look", fail)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.pause()
        await pilot.press("W", "y")
        await until(pilot, lambda: "AUTO over" in strip(app), "its end")
        assert "ZeroDivisionError: a fault of ours" in tree(app)
        await until(pilot, lambda: any("a fault of ours" in notice for notice in notices(app)), "the notice")
        assert app.is_running


async def test_never_two_looks_at_once_and_none_on_the_event_loop(
    runs_file: RunsFile, missed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, most, threads, released = [0], [0], set(), threading.Event()

    def slow(*_: object) -> Turn:
        looking[0] += 1
        most[0] = max(most[0], looking[0])
        threads.add(threading.current_thread())
        released.wait(30)
        looking[0] -= 1
        return Turn("waits")

    monkeypatch.setattr(Autopilot, "look", slow)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await fly(pilot, app)
        await until(pilot, lambda: looking == [1], "a look that takes its time")
        for _ in range(5):
            app.poll()
            await pilot.pause(0.05)
        assert looking == [1], "the room goes on, and no other look has begun"
        released.set()
        await until(pilot, lambda: "autopilot WAITS  waits" in tree(app), "its end")
        assert most == [1]
        assert len(threads - {threading.main_thread()}) == len(threads) == 1


async def test_what_a_restart_brought_is_written_down_by_an_open_room(
    runs_file: RunsFile, missed: RunDirectory, fake_engine: list[str]
) -> None:
    fake_engine[:] = ["--epochs", "2", "--values", "0.3,0.35"]
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.pause()
        await pilot.press("R")
        records = app.actions.journal.records
        await until(pilot, lambda: [entry for entry in records() if entry.phase == "measured"], "the outcome")
        (entry,) = [entry for entry in records() if entry.phase == "measured"]
        assert entry.outcome is not None
        assert entry.outcome.words.startswith("0.350 at the gate, +0.040")
        await pilot.pause(0.6)
        assert [entry.phase for entry in records()].count("measured") == 1


def test_the_tree_with_the_autopilot_on_at_80x24(
    snap_compare: SnapCompare, runs_file: RunsFile, missed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUTO in the strip, and what it did and waits for above the playbook's words."""
    usage = MachineUsage(2, 12.0, 4 << 30, 24 << 30, 80 << 30)
    monkeypatch.setattr(UsageMeter, "read", lambda *_: usage)
    turns = iter([Turn("mamba_s-0001: restarted as mamba_s-0003 with loss.temperature = 0.05", acted=True)])
    waits = Turn("mamba_s-0003: Wait for the gate")
    monkeypatch.setattr(Autopilot, "look", lambda *_: next(turns, waits))
    app = open_app(runs_file)

    async def go_there(pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await fly(pilot, app)
        await until(pilot, lambda: "its last step" in tree(app), "its first step")
        app.clear_notifications()
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=go_there)


async def test_a_seat_that_is_held_elsewhere_is_free_again_once_its_holder_is_gone(
    runs_file: RunsFile, missed: RunDirectory
) -> None:
    watcher = Watcher(runs_file.runs_dir, 60.0)
    watcher.catch_up()
    views = list(watcher.views.values())
    seat = PilotSeat(Actions(runs_file, runs_file.runs_dir, "cli"), views[0], views, "a watch")
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await until(pilot, lambda: "AUTO elsewhere" in strip(app), "the other's autopilot")
        fd, seat._fd = seat._fd, None
        assert fd is not None
        os.close(fd)  # as the kernel does for a process that is killed: the journal is told nothing
        await until(pilot, lambda: "AUTO" not in strip(app), "its end")
        assert app.scene
        assert "autopilot" not in app.scene.reasons
