"""Pictures of the room on recorded runs. A run that missed, a baseline that passed, floors above the gate's bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from still_room import hold_still, settled
from textual.pilot import Pilot

from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.control.preferences import Personal
from tui.control.room_memory import RoomMemory

SnapCompare = Callable[..., bool]


@pytest.fixture(autouse=True)
def a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_still(monkeypatch)


def app_for(file: RunsFile, **options: Any) -> RoomApp:
    return RoomApp(file, file.runs_dir, **options)


@pytest.mark.parametrize("size", [(80, 24), (120, 35), (160, 45), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.usefixtures("recorded_runs")
def test_the_room(snap_compare: SnapCompare, runs_file: RunsFile, size: tuple[int, int]) -> None:
    """One pane at 80x24; chart, gates, tree, versus and log from 120x35; runs and system at 200x60."""
    assert snap_compare(app_for(runs_file), terminal_size=size, run_before=settled)


@pytest.mark.usefixtures("recorded_runs")
def test_the_room_in_ascii(snap_compare: SnapCompare, runs_file: RunsFile) -> None:
    """Mamba and AMN, passed and missed are told apart without a single character beyond ASCII."""
    assert snap_compare(app_for(runs_file, plain=True), terminal_size=(120, 35), run_before=settled)


@pytest.mark.parametrize("pane", ["1", "3", "4", "5", "6", "8"])
@pytest.mark.usefixtures("recorded_runs")
def test_a_pane_alone_at_80x24(snap_compare: SnapCompare, runs_file: RunsFile, pane: str) -> None:
    """Everything that matters of a pane fits into 80x24."""

    async def go_there(pilot: Pilot[None]) -> None:
        await pilot.press(pane)
        await settled(pilot)

    assert snap_compare(app_for(runs_file), terminal_size=(80, 24), run_before=go_there)


@pytest.mark.parametrize("theme", ["lvm-light", "lvm-contrast"])
@pytest.mark.usefixtures("recorded_runs")
def test_the_room_in_another_theme(snap_compare: SnapCompare, runs_file: RunsFile, theme: str) -> None:
    """The same shapes and words; every colour another one."""
    app = app_for(runs_file, personal=Personal(None, {"theme": theme}))
    assert snap_compare(app, terminal_size=(120, 35), run_before=settled)


@pytest.mark.parametrize("plain", [False, True], ids=["unicode", "ascii"])
@pytest.mark.usefixtures("recorded_runs")
def test_the_settings_at_80x24(snap_compare: SnapCompare, runs_file: RunsFile, plain: bool) -> None:
    """Each with its value and where that comes from; the chosen one is a block of colour."""

    async def go_there(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press("comma", "down", "space")
        await pilot.pause()

    app = app_for(runs_file, plain=plain, personal=Personal(None, {"theme": "lvm-light"}))
    assert snap_compare(app, terminal_size=(80, 24), run_before=go_there)


def test_the_first_hints_with_rebound_keys(
    snap_compare: SnapCompare, runs_file: RunsFile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Three lines above the keys, which they name as the person has bound them."""

    async def opened(pilot: Pilot[None]) -> None:
        await pilot.pause()
        await pilot.pause()

    memory = RoomMemory(tmp_path_factory.mktemp("state"), runs_file.runs_dir)
    app = app_for(runs_file, memory=memory, personal=Personal(None, {}, {"act.start": "ctrl+t", "room.help": "f1"}))
    assert snap_compare(app, terminal_size=(80, 24), run_before=opened)


def test_an_empty_room(snap_compare: SnapCompare, runs_file: RunsFile) -> None:
    """What to press first."""
    assert snap_compare(app_for(runs_file), terminal_size=(120, 35))
