"""A room is found as it was left, explains itself once, and never stumbles over what it remembered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import make_spec, make_view

from engine.run.runs_file import RunsFile
from engine.run.state import Status
from tui.app import RoomApp
from tui.control.room_memory import VERSION, Layout, RoomMemory, found_again, state_folder
from tui.panes.chart import ChartPane
from tui.panes.first_hints import FirstHints
from tui.panes.pane import Pane
from tui.panes.runs import RunsPane


@pytest.fixture
def memory(tmp_path: Path, runs_file: RunsFile) -> RoomMemory:
    """A person's memory of this room, empty."""
    return RoomMemory(tmp_path / "state", runs_file.runs_dir)


def open_app(file: RunsFile, memory: RoomMemory) -> RoomApp:
    return RoomApp(file, file.runs_dir, memory=memory)


def test_the_memory_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "lvm-tui"


@pytest.mark.usefixtures("recorded_runs")
async def test_a_room_is_found_as_it_was_left(runs_file: RunsFile, memory: RoomMemory) -> None:
    app = open_app(runs_file, memory)
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        await pilot.press("escape", "right_square_bracket", "a", "s", "4", "m")
        await pilot.pause()
        app.exit()
    app = open_app(runs_file, memory)
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        await pilot.pause()
        chart = app.screen.query_one(ChartPane)
        assert (chart.metric, chart.axis, chart.chart.smoothing) == (1, "step", 0.6)
        assert app.screen.query_one("Pane.-current", Pane).NUMBER == 4
        assert app.screen.has_class("-alone")


@pytest.mark.usefixtures("recorded_runs")
async def test_the_run_that_was_chosen_is_chosen_again(runs_file: RunsFile, memory: RoomMemory) -> None:
    for chosen in ("amn-0002", "mamba_s-0001"):
        app = open_app(runs_file, memory)
        async with app.run_test(size=(160, 45)) as pilot:
            await pilot.pause()
            app.choose(chosen)
            await pilot.pause()
            app.exit()
        app = open_app(runs_file, memory)
        async with app.run_test(size=(160, 45)) as pilot:
            await pilot.pause()
            await pilot.pause()
            assert app.scene
            assert app.scene.selected
            assert app.scene.selected.id == chosen


@pytest.mark.usefixtures("recorded_runs")
async def test_who_follows_the_newest_run_goes_on_following_it(runs_file: RunsFile, memory: RoomMemory) -> None:
    for keys in (("escape", "1", "l"), ()):
        app = open_app(runs_file, memory)
        async with app.run_test(size=(160, 45)) as pilot:
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            assert "LATEST" in str(app.screen.query_one(RunsPane).border_title)
            assert app.selected_id == "amn-0002"
            app.exit()


@pytest.mark.usefixtures("recorded_runs")
async def test_what_nobody_chose_is_chosen_by_the_room_again(runs_file: RunsFile, memory: RoomMemory) -> None:
    app = open_app(runs_file, memory)
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        app.exit()
    layout, _ = memory.recall()
    assert layout is not None
    assert layout.run == ""


def test_a_run_that_is_gone_archived_or_overtaken_by_a_living_one_is_not_chosen_again() -> None:
    ended, other = (make_view(make_spec(number=number), [], status=Status.FINISHED) for number in (1, 2))
    alive, later = (make_view(make_spec(number=number), [], status=Status.RUNNING) for number in (3, 4))
    assert found_again(ended.id, [ended, other]) == ended.id
    assert found_again(ended.id, [other]) == "", "it is gone"
    assert found_again(ended.id, [ended, other, alive]) == "", "a newer one is alive"
    assert found_again(alive.id, [alive, later]) == alive.id, "both go on, and this one was looked at"
    assert found_again(later.id, [alive, later]) == later.id
    ended.archived = True
    assert found_again(ended.id, [ended, other]) == "", "it is not listed"


async def test_another_folders_room_is_not_laid_out_like_it(tmp_path: Path, memory: RoomMemory) -> None:
    memory.keep(Layout(pane=5))
    other = RoomMemory(tmp_path / "state", tmp_path / "other")
    assert other.recall() == (None, "")
    assert memory.recall()[0] is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"pane": -3}', b'{"version": 99}', b'{"colour": 1}', b"\xff\xfe", b"x" * 20_000],
    ids=["empty", "half", "a list", "out of range", "newer", "unknown", "not UTF-8", "too large"],
)
async def test_a_damaged_or_foreign_memory_is_noted_and_passed_over(
    runs_file: RunsFile, memory: RoomMemory, content: bytes
) -> None:
    memory.keep(Layout())
    memory.file.write_bytes(content)
    layout, note = memory.recall()
    assert layout is None
    assert str(memory.file) in note
    memory.keep(Layout(pane=3))
    assert memory.recall()[0] == Layout(version=VERSION, runs_dir=str(runs_file.runs_dir.resolve()), pane=3)


async def test_what_a_memory_names_that_is_no_more_does_no_harm(runs_file: RunsFile, memory: RoomMemory) -> None:
    memory.keep(Layout(pane=77, metric="phlogiston", axis="moons", smoothing=0.123))
    app = open_app(runs_file, memory)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.pause()
        await pilot.pause()
        chart = app.screen.query_one(ChartPane)
        assert (chart.metric, chart.axis, chart.chart.smoothing) == (0, "epoch", 0.0)


async def test_a_broken_memory_is_told_once_the_room_is_open(runs_file: RunsFile, memory: RoomMemory) -> None:
    memory.keep(Layout())
    memory.file.write_bytes(b"{")
    app = open_app(runs_file, memory)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.pause()
        assert any("how this room was left is not known" in notice.message for notice in app._notifications)


def test_rooms_that_leave_at_once_leave_a_whole_memory(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tui.control.room_memory import Layout, RoomMemory\n"
        "memory = RoomMemory(Path(sys.argv[1]), Path(sys.argv[1]) / 'runs')\n"
        "for _ in range(100): memory.keep(Layout(pane=int(sys.argv[2]), metric='x' * 500 * int(sys.argv[2])))\n"
    )
    rooms = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(pane)]) for pane in (1, 2, 3)]
    memory = RoomMemory(tmp_path, tmp_path / "runs")
    while any(room.poll() is None for room in rooms):
        assert memory.recall()[1] == "", "whoever opens meanwhile finds one or the other"
    assert [room.returncode for room in rooms] == [0, 0, 0]
    layout, _ = memory.recall()
    assert layout is not None
    assert len(layout.metric) == 500 * layout.pane
    assert len(list(memory.file.parent.iterdir())) == 1


async def test_the_first_hints_are_read_once(runs_file: RunsFile, memory: RoomMemory) -> None:
    app = open_app(runs_file, memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.pause()
        hints = app.screen.query_one(FirstHints)
        assert hints.size.height == 3
        assert "T trains" in str(hints.render())
        await pilot.press("escape")
        await pilot.pause()
        assert not hints.display
        assert memory.has_read_hints
    app = open_app(runs_file, memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.pause()
        assert not app.screen.query_one(FirstHints).display


async def test_a_memory_that_cannot_be_written_keeps_nobody_from_leaving(runs_file: RunsFile, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    app = open_app(runs_file, RoomMemory(tmp_path / "state", runs_file.runs_dir))
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("escape", "q")
        await pilot.pause()
    assert app.return_code == 0
    assert os.listdir(tmp_path).count("state") == 1


async def test_a_room_that_is_left_before_it_was_laid_out_forgets_nothing(
    runs_file: RunsFile, memory: RoomMemory
) -> None:
    memory.keep(Layout(pane=5))
    app = open_app(runs_file, memory)
    app.call_after_refresh = lambda *_: True  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        app.exit(return_code=143)
        await pilot.pause()
    layout, _ = memory.recall()
    assert layout is not None
    assert layout.pane == 5
    assert app.return_code == 143


@pytest.mark.parametrize("number", range(1, 9))
async def test_an_empty_pane_says_what_to_press(runs_file: RunsFile, number: int) -> None:
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(str(number))
        await pilot.pause()
        pane = next(pane for pane in app.screen.query(Pane) if number == pane.NUMBER)
        region = pane.region
        strips = app.screen._compositor.render_strips()[region.y + 1 : region.bottom - 1]
        text = " ".join("".join(segment.text for segment in strip) for strip in strips)
        assert "T trains" in " ".join(text.replace("│", " ").split())
