"""The list of runs, driven by keys: filter, notes, archive, marks, and what is then compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import AMN_HISTORY, MAMBA_HISTORY, make_spec, missed_mamba, passed_amn, run_events, write_run
from textual.pilot import Pilot
from textual.widgets import Input

from engine.run.directory import Exit, list_runs, take_lock
from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.panes.runs import RunsPane
from tui.panes.runs_bar import RunsBar
from tui.panes.runs_table import RunsTable
from tui.panes.versus import VersusPane
from tui.widgets.steady_text import SteadyText

ALONE = (80, 24)
ENDED = Exit(code=0, kind="exited", wall_s=60.0)


@pytest.fixture
def room(runs_file: RunsFile) -> RunsFile:
    """A run that missed, the baseline that passed, and two children of the first."""
    missed_mamba(runs_file.runs_dir)
    passed_amn(runs_file.runs_dir)
    root = make_spec()
    for number, patch, values in (
        (3, {"loss.temperature": 0.05}, MAMBA_HISTORY),
        (4, {"loss.temperature": 0.10}, AMN_HISTORY),
    ):
        spec = make_spec("mamba_s", number, parent=root, patch=patch)
        write_run(runs_file.runs_dir, spec, run_events(spec, values, is_finished=True), ended=ENDED)
    return runs_file


def open_app(file: RunsFile, *, readonly: bool = False) -> RoomApp:
    return RoomApp(file, file.runs_dir, readonly=readonly)


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    """Let the room work until a condition holds."""
    for _ in range(400):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within 20 s: {what}")


def listed(app: RoomApp) -> list[int]:
    return [int(str(row.value)[-4:]) for row in app.screen.query_one(RunsTable).rows]


def under_cursor(app: RoomApp) -> str:
    table = app.screen.query_one(RunsTable)
    return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)


def selected(app: RoomApp) -> str:
    return app.scene.selected.id if app.scene and app.scene.selected else ""


def title(app: RoomApp) -> str:
    return str(app.screen.query_one(RunsPane).border_title)


def text(app: RoomApp, part: str) -> str:
    return app.screen.query_one(VersusPane).query_one(f"#{part}", SteadyText).content.plain


async def typed(pilot: Pilot[None], words: str) -> None:
    line = pilot.app.screen.query_one(RunsBar).query_one(Input)
    assert pilot.app.focused is line
    line.insert_text_at_cursor(words)
    await pilot.pause()


async def test_the_filter_narrows_as_it_is_typed_and_escape_lists_all_again(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "&")
        await typed(pilot, "gate:passed model:amn")
        assert listed(app) == [4, 2], "the selected run stays in sight"
        assert "2 of 4" in title(app), "what is counted is what is listed"
        assert "& gate:passed model:amn" in title(app)
        await pilot.press("escape")
        await pilot.pause()
        assert listed(app) == [4, 3, 2, 1]
        assert app.focused is app.screen.query_one(RunsTable)


@pytest.mark.parametrize("size", [(80, 24), (120, 35)])
async def test_the_list_has_its_columns_in_its_first_picture(room: RunsFile, size: tuple[int, int]) -> None:
    """Else it opens with three of them, and with the others a moment later."""
    app = open_app(room)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        table = app.screen.query_one(RunsTable)
        app._room.go_to(1)  # nothing is laid out or drawn before the next pause
        before = [str(column.label) for column in table.ordered_columns]
        await pilot.pause()
        after = [str(column.label) for column in table.ordered_columns]
        assert "epoch" in after
        assert before == after


async def test_enter_keeps_the_filter_and_goes_to_what_it_finds(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "&")
        await typed(pilot, "loss.temperature<0.07 | model:amn")
        await pilot.press("enter")
        await until(pilot, lambda: selected(app) == "mamba_s-0003", "the newest that is found")
        assert listed(app) == [3, 2]
        await pilot.press("k")
        await until(pilot, lambda: selected(app) == "mamba_s-0003", "no row above the first")
        await pilot.press("j")
        await until(pilot, lambda: selected(app) == "amn-0002", "the run below in the list")
        await pilot.press("2", "j")
        await until(pilot, lambda: selected(app) == "mamba_s-0003", "round the end, from any pane")
        await pilot.press("1", "escape")
        await pilot.pause()
        assert listed(app) == [4, 3, 2, 1]


async def test_a_filter_that_means_nothing_says_what_could_be_meant_and_lists_what_it_did(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "&")
        await typed(pilot, "gate:missed gat:x")
        bar = app.screen.query_one(RunsBar)
        said = str(bar.query_one("Static").render())
        assert 'no field is called "gat". Did you mean "gate"?' in said
        await pilot.press("enter")
        await pilot.pause()
        assert app.focused is bar.query_one(Input), "there is something to mend"


async def test_the_cursor_and_the_selected_run_go_together_however_fast_keys_come(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1")
        for keys, run_id in (
            (("j", "j", "k", "j", "j"), "mamba_s-0001"),
            (("g",), "mamba_s-0004"),
            (("G",), "mamba_s-0001"),
            (("k", "k"), "mamba_s-0003"),
        ):
            await pilot.press(*keys)
            await until(pilot, lambda run_id=run_id: selected(app) == under_cursor(app) == run_id, run_id)  # type: ignore[misc]
        app.choose("amn-0002")
        await until(pilot, lambda: under_cursor(app) == "amn-0002", "the cursor at what was selected elsewhere")


async def test_a_note_is_written_and_found_by_its_tag(room: RunsFile) -> None:
    app = open_app(room)
    note = list_runs(room.runs_dir)[3].note_file
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "N")
        await typed(pilot, "hot #keep")
        await pilot.press("enter")
        await until(pilot, lambda: note.exists() and note.read_text() == "hot #keep\n", "the note on disk")
        await until(pilot, lambda: app.watcher.views["mamba_s-0004"].tags == ("keep",), "the note in the room")
        await pilot.press("N")
        await typed(pilot, "er")
        await pilot.press("escape")
        await pilot.press("&")
        await typed(pilot, "tag:keep")
        assert listed(app) == [4]
        assert note.read_text() == "hot #keep\n", "Escape leaves it as it was"


async def test_x_archives_an_ended_run_and_x_takes_it_out_again(room: RunsFile) -> None:
    app = open_app(room)
    run = list_runs(room.runs_dir)[3]
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "X")
        await until(pilot, lambda: app.watcher.views[run.id].archived, "the mark")
        assert listed(app) == [4, 3, 2, 1], "who pressed the wrong key must see it"
        assert "4, 0 alive, 1 archived" in title(app), "it is still one of the rows"
        await pilot.press("j")
        await until(pilot, lambda: listed(app) == [3, 2, 1], "it is gone from the list")
        assert "3 of 4, 0 alive, 1 archived" in title(app)
        await pilot.press("&")
        await typed(pilot, "is:archived")
        await pilot.press("enter")
        await until(pilot, lambda: selected(app) == run.id, "the archived run")
        await pilot.press("X")
        await until(pilot, lambda: not app.watcher.views[run.id].archived, "no mark")
        assert run.spec_file.exists()


async def test_a_run_that_trains_is_not_archived_and_the_reason_is_said(room: RunsFile) -> None:
    spec = make_spec("mamba_s", 5)
    run = write_run(room.runs_dir, spec, run_events(spec, MAMBA_HISTORY[:1]))
    held = take_lock(run.lock_file)
    assert held is not None
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "X")
        await until(
            pilot,
            lambda: any("once it has ended" in notice.message for notice in app._notifications),
            "the reason",
        )
        assert not run.archived_file.exists()


async def test_read_only_writes_nothing_on_a_run_and_says_so(room: RunsFile) -> None:
    app = open_app(room, readonly=True)
    before = sorted(room.runs_dir.rglob("*"))
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "N", "X")
        await pilot.pause()
        assert [notice.message for notice in app._notifications] == ["read-only: nothing is written on a run"] * 2
        assert app.focused is app.screen.query_one(RunsTable)
        assert "N note" not in str(app.screen.query_one(RunsPane).border_subtitle)
    assert sorted(room.runs_dir.rglob("*")) == before


async def test_marked_runs_are_compared_with_the_reference_until_the_marks_are_gone(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.pause()
        pane = app.screen.query_one(VersusPane)
        assert "Mamba-S │ AMN" in str(pane.border_title)
        await pilot.press("1", "space", "j", "space", "6")
        await until(pilot, lambda: "2 runs, reference mamba_s-0004" in str(pane.border_title), "the comparison")
        assert "One setting differs: loss.temperature: 0.05 | 0.1." in text(app, "verdict")
        await pilot.press("1", "G", "b", "6")
        await until(pilot, lambda: "3 runs, reference mamba_s-0001" in str(pane.border_title), "another reference")
        assert [len(pane.query_one(f"#{name}").series) for name in ("left", "right", "difference")] == [2, 1, 2]  # type: ignore[attr-defined]
        rows = [line.split() for line in text(app, "table").splitlines()]
        assert ["val_cosine@4", "0.581", "+0.200", "0.381", "=", "0.381"] in rows
        assert ["loss.temperature", "0.1", "0.05", "0.07"] in rows
        await pilot.press("1", "b", "g", "space", "j", "space", "6")
        await until(pilot, lambda: "Mamba-S │ AMN" in str(pane.border_title), "the pair again")


async def test_d_lists_all_settings_or_those_that_differ(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("6")
        await pilot.pause()
        assert "optimizer.beta1" not in text(app, "table")
        assert "model.kind" in text(app, "table")
        await pilot.press("d")
        await pilot.pause()
        assert "optimizer.beta1" in text(app, "table")
        await pilot.press("1", "d", "6")
        await pilot.pause()
        assert "optimizer.beta1" not in text(app, "table")


async def test_who_follows_the_latest_is_taken_to_a_new_run_and_ends_it_by_going_elsewhere(
    room: RunsFile, tmp_path: Path
) -> None:
    app = open_app(room)
    new = missed_mamba(tmp_path / "aside", 9)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "G", "l")
        await until(pilot, lambda: selected(app) == "mamba_s-0004", "the newest")
        assert "LATEST" in title(app)
        shutil.move(new.path, room.runs_dir / new.id)
        await until(pilot, lambda: selected(app) == "mamba_s-0009" == under_cursor(app), "the new one")
        await pilot.press("j")
        await until(pilot, lambda: selected(app) == "mamba_s-0004", "the one below")
        assert "LATEST" not in title(app)


async def test_the_keys_of_the_list_are_in_its_help(room: RunsFile) -> None:
    app = open_app(room)
    async with app.run_test(size=ALONE) as pilot:
        await pilot.press("1", "?")
        await pilot.pause()
        rows = "\n".join(str(row) for row in app.screen._rows())  # type: ignore[attr-defined]
        of_pane = rows[rows.index("In 1 Runs") :]
        for key in ("space", "b", "d", "l", "&", "N", "X", "j", "k", "g", "G"):
            assert f"{key:>14}  " in of_pane


def test_no_key_of_the_list_does_two_things() -> None:
    bindings = [*RunsPane.BINDINGS, *RunsTable.BINDINGS]
    keys = [key for binding in bindings for key in binding.key.split(",")]  # type: ignore[union-attr]
    assert len(keys) == len(set(keys))
    assert all(binding.id and binding.tooltip for binding in bindings)  # type: ignore[union-attr]
