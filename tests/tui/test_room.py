"""The room, driven by keys: what shows, what is refused and why, and what reaches the disk."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import make_spec, missed_mamba, run_events, write_run
from textual._styles_cache import StylesCache
from textual.pilot import Pilot
from textual.widgets import Button

from engine.run.directory import list_runs
from engine.run.runs_file import RunsFile, load_runs
from tui.app import RoomApp
from tui.control.probe.record import ProbeReport, Row, Trial, Try, probe_file, probe_folder, write_json
from tui.keymap import ROOM_BINDINGS
from tui.panes.chart import ChartPane
from tui.panes.decision_tree import DecisionTreePane
from tui.panes.log import LogPane, SearchBar
from tui.panes.pane import Pane
from tui.panes.preflight import PreflightPane
from tui.panes.status_strip import StatusStrip
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.room import forget_removed
from tui.widgets.steady_text import SteadyText

SIZES = {"small": (80, 24), "working": (120, 35), "roomy": (160, 45), "wide": (200, 60)}


def open_app(file: RunsFile, *, readonly: bool = False, plain: bool = False) -> RoomApp:
    return RoomApp(file, file.runs_dir, readonly=readonly, plain=plain)


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    """Let the room work until a condition holds."""
    for _ in range(400):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within 20 s: {what}")


def shown_panes(app: RoomApp) -> list[int]:
    return sorted(pane.NUMBER for pane in app.screen.query(Pane) if pane.region.area and pane.display)


def notices(app: RoomApp) -> list[str]:
    return [notification.message for notification in app._notifications]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_an_empty_room_says_which_keys_start_something(runs_file: RunsFile, size: tuple[int, int]) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        strip = str(app.screen.query_one(StatusStrip).render())
        assert "T trains Mamba-S" in strip
        assert "B the AMN baseline" in strip


@pytest.mark.parametrize(
    ("size", "expected"),
    [("small", [2]), ("working", [2, 3, 4, 5, 6]), ("wide", [1, 2, 3, 4, 5, 6, 7])],
)
@pytest.mark.usefixtures("recorded_runs")
async def test_each_size_shows_the_panes_it_has_room_for(runs_file: RunsFile, size: str, expected: list[int]) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES[size]) as pilot:
        await pilot.pause()
        assert shown_panes(app) == expected


@pytest.mark.usefixtures("recorded_runs")
async def test_at_80x24_the_numbers_go_from_pane_to_pane(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        for number in range(1, 9):
            await pilot.press(str(number))
            await pilot.pause()
            assert shown_panes(app) == [number]


@pytest.mark.usefixtures("recorded_runs")
async def test_a_pane_without_a_place_has_the_screen_to_itself_until_escape(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["working"]) as pilot:
        await pilot.press("1")
        await pilot.pause()
        assert shown_panes(app) == [1]
        await pilot.press("escape")
        await pilot.pause()
        assert shown_panes(app) == [2, 3, 4, 5, 6]


@pytest.mark.usefixtures("recorded_runs")
async def test_m_maximises_the_pane_and_m_again_brings_the_others_back(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["working"]) as pilot:
        await pilot.press("4", "m")
        await pilot.pause()
        assert shown_panes(app) == [4]
        await pilot.press("m")
        await pilot.pause()
        assert shown_panes(app) == [2, 3, 4, 5, 6]


async def test_t_starts_one_run_and_says_why_it_will_not_start_another(
    runs_file: RunsFile, fake_engine: list[str]
) -> None:
    fake_engine += ["--epochs", "1000"]
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: app.scene and app.scene.selected, "a run")
        assert app.scene
        assert app.scene.selected
        assert app.scene.selected.id == "mamba_s-0001"
        await pilot.press("T")
        await pilot.pause()
        assert any("mamba_s-0001 is running already" in notice for notice in notices(app))
        assert len(list_runs(runs_file.runs_dir)) == 1


async def test_r_restarts_with_the_recommended_fix_and_u_takes_it_back(
    runs_file: RunsFile, recorded_runs: Path, fake_engine: list[str]
) -> None:
    fake_engine += ["--epochs", "1000", "--epoch-s", "8"]  # its step takes long enough for the undo to be seen
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.pause()
        await pilot.press("R")
        await until(pilot, lambda: len(app.watcher.views) == 3, "the child")
        child = list(app.watcher.views.values())[-1]
        assert child.spec.parent == "mamba_s-0001"
        assert child.spec.patch == {"loss.temperature": 0.05}
        await until(pilot, lambda: app.scene and app.scene.undo, "the undo to be on offer")
        await pilot.press("u")
        strip = app.screen.query_one(StatusStrip)
        await until(pilot, lambda: "undoing Temperature" in str(strip.render()), "word of what takes a while")
        assert app.scene is not None
        assert "being undone" in app.scene.reasons["undo"]
        await until(pilot, lambda: not child.status.is_alive, "the child to stop")
        await until(pilot, lambda: "undoing" not in str(strip.render()), "its end")
        actions = [(entry.action, entry.phase) for entry in app.actions.journal.read()]
        assert actions[:3] == [("restart", "intent"), ("restart", "done"), ("undo", "intent")]


async def test_what_the_preflight_blocks_is_shown_and_trained_only_with_a_written_reason(
    runs_file: RunsFile, fake_engine: list[str]
) -> None:
    fake_engine += ["--leaks"]
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: app.scene and app.scene.selected and app.scene.selected.is_blocked, "the verdict")
        await until(pilot, lambda: app.scene and "override" not in app.scene.reasons, "the engine's end")
        await pilot.press("8")
        await pilot.pause()
        assert (
            "312 articles are on both sides" in app.screen.query_one(PreflightPane).query_one(SteadyText).content.plain
        )
        await pilot.press("O", "enter")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen), "an empty reason is none"
        await pilot.press(*"toy", "enter")
        await until(pilot, lambda: len(app.watcher.views) == 2, "the run with a reason")
        assert list(app.watcher.views.values())[-1].spec.preflight_override == "toy"


@pytest.mark.usefixtures("recorded_runs", "fake_engine")
async def test_a_locked_restart_goes_through_with_a_written_reason(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        app.choose("amn-0002")
        await pilot.press("R")
        await pilot.pause()
        assert any("knobs are locked" in notice for notice in notices(app))
        await pilot.press("O", *"retrieval counts", "enter")
        await until(pilot, lambda: len(app.watcher.views) == 3, "the child")
        assert [entry.detail for entry in app.actions.journal.read() if entry.action == "restart"][-1] == (
            "retrieval counts"
        )


async def test_what_ails_a_run_is_named_with_its_evidence_and_a_healthy_one_is_left_alone(runs_file: RunsFile) -> None:
    missed_mamba(runs_file.runs_dir)
    spec = make_spec("amn", 2)
    collapsed = run_events(spec, [0.5, 0.51], pairwise_cosine=0.95, effective_rank=3.0)
    write_run(runs_file.runs_dir, spec, collapsed)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        for run_id, is_ill in (("mamba_s-0001", False), ("amn-0002", True)):
            app.choose(run_id)
            await pilot.pause()
            text = app.screen.query_one(DecisionTreePane).query_one("#position", SteadyText).content.plain
            assert ("diagnosis: " in text) is is_ill
        assert "0.950" in text


async def test_kill_asks_and_enter_means_cancel(runs_file: RunsFile, fake_engine: list[str]) -> None:
    fake_engine += ["--epochs", "1000"]
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("B")
        await until(pilot, lambda: app.scene and app.scene.selected and app.scene.selected.state.started, "a run")
        run = app.scene and app.scene.selected
        assert run
        await pilot.press("K")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        assert isinstance(app.focused, Button)
        assert app.focused.id == "cancel"
        await pilot.press("enter")
        await pilot.pause()
        assert run.directory.read_life().lock_held
        await pilot.press("K", "y")
        await until(pilot, lambda: not run.directory.read_life().lock_held, "its end")


@pytest.mark.usefixtures("recorded_runs")
async def test_read_only_takes_no_action(runs_file: RunsFile, fake_engine: list[str]) -> None:
    app = open_app(runs_file, readonly=True)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("T", "B", "R", "E", "S")
        await pilot.pause()
        assert len(list_runs(runs_file.runs_dir)) == 2
        assert all("read-only" in notice for notice in notices(app))
        assert not app.actions.journal.read()


async def test_with_confirm_every_action_shows_its_plan_first(
    runs_file: RunsFile, recorded_runs: Path, fake_engine: list[str]
) -> None:
    path = Path(runs_file.path)
    path.write_text(path.read_text().replace("[room]", "[room]\nconfirm = true"))
    app = open_app(load_runs(path))
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.pause()
        await pilot.press("R")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("escape")
        await pilot.pause()
        assert len(list_runs(runs_file.runs_dir)) == 2


@pytest.mark.usefixtures("recorded_runs")
async def test_a_broken_runs_toml_is_named_and_the_old_settings_stay(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    path = Path(runs_file.path)
    good = path.read_text()
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.pause()
        path.write_text(good + "\n[run.amn.sampler]\nbatch_sise = 3\n")
        app.poll()
        await pilot.pause()
        strip = str(app.screen.query_one(StatusStrip).render())
        assert 'unknown key "batch_sise"' in strip
        assert app.file is runs_file
        path.write_text(good + "\n# mended\n")
        app.poll()
        await pilot.pause()
        assert "batch_sise" not in str(app.screen.query_one(StatusStrip).render())


@pytest.mark.usefixtures("recorded_runs")
async def test_a_zoomed_chart_says_so_until_it_shows_all_again(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        pane = app.screen.query_one(ChartPane)
        await pilot.press("plus")
        await pilot.pause()
        assert "zoomed" in str(pane.border_subtitle)
        await pilot.press("equals_sign")
        await pilot.pause()
        assert "zoomed" not in str(pane.border_subtitle)


async def test_an_unknown_theme_is_named_with_the_nearest_one(runs_file: RunsFile) -> None:
    path = Path(runs_file.path)
    path.write_text(path.read_text().replace("[room]", '[room]\ntheme = "textual-drak"'))
    app = open_app(load_runs(path))
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.pause()
        strip = str(app.screen.query_one(StatusStrip).render())
        assert 'no theme "textual-drak". Did you mean "textual-dark"?' in strip


@pytest.mark.usefixtures("recorded_runs")
async def test_hostile_log_lines_show_as_text_and_do_nothing(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.press("5", "m", "g")
        await pilot.pause()
        log = app.screen.query_one(LogPane).log_view
        rows = [log.render_line(y).text for y in range(log.size.height)]
        assert any("[@click=app.quit]click[/]" in row for row in rows)
        assert any(row.strip() == "red" for row in rows)
        assert not any("\x1b" in row or "\x07" in row for row in rows)
        await pilot.click(LogPane, offset=(20, 6))
        assert app.is_running


@pytest.mark.usefixtures("recorded_runs")
async def test_slash_searches_the_log_and_ampersand_filters_it(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("slash", *"epoch")
        await pilot.pause()
        bar = app.screen.query_one(SearchBar)
        assert bar.content_size.height == 1, "what is typed can be read"
        await pilot.press("enter")
        await pilot.pause()
        log = app.screen.query_one(LogPane).log_view
        assert app.focused is log
        assert log.num_matches == 2
        await pilot.press("ampersand", *"ERROR", "enter")
        await pilot.pause()
        assert log.filtering
        rows = [log.render_line(y).text.strip() for y in range(log.size.height)]
        assert [row for row in rows if row] == ["ERROR gate val_cosine@2 missed by 0.188"]


@pytest.mark.usefixtures("recorded_runs")
async def test_nothing_is_kept_of_a_help_that_was_closed(runs_file: RunsFile) -> None:
    async with open_app(runs_file).run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("question_mark", "question_mark")

        def drawn() -> int:
            """Widgets of which drawn lines are kept."""
            forget_removed()
            gc.collect()
            return sum(type(kept) is StylesCache for kept in gc.get_objects())

        await pilot.pause()
        before = drawn()
        await pilot.press(*["question_mark"] * 6)
        await pilot.pause()
        assert drawn() == before


@pytest.mark.usefixtures("recorded_runs")
async def test_help_lists_every_key_of_the_room(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        rows = "\n".join(str(row) for row in app.screen._rows())
        for key in ("T", "B", "R", "E", "S", "K", "u", "?", "q", "m", "/", "f", "[", "]"):
            assert f"{key:>14}" in rows
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)


async def test_every_action_is_in_the_command_palette(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["roomy"]) as pilot:
        await pilot.press("colon")
        await pilot.pause()
        assert type(app.screen).__name__ == "CommandPalette"
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {binding.tooltip for binding in ROOM_BINDINGS} <= titles


def test_no_key_of_the_room_does_two_things() -> None:
    keys = [key for binding in ROOM_BINDINGS for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    assert all(binding.id and binding.tooltip for binding in ROOM_BINDINGS)


@pytest.mark.usefixtures("recorded_runs", "fake_engine")
async def test_p_probes_the_ladder_once_and_the_tree_shows_how_far_it_is(runs_file: RunsFile) -> None:
    app = open_app(runs_file)

    def tree() -> str:
        return app.screen.query_one(DecisionTreePane).query_one("#position", SteadyText).content.plain

    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.pause()
        assert "P  probe the ladder" in tree()
        await pilot.press("P")
        await until(pilot, lambda: "of 6 trials after" in tree(), "the probe's beginning")
        assert "as it is" in tree()
        await pilot.press("P")
        await until(pilot, lambda: any("probe is under way" in notice for notice in notices(app)), "the refusal")
        assert len(app.watcher.views) == 2, "trials are not among the runs"


@pytest.mark.usefixtures("recorded_runs")
async def test_what_a_probe_found_shows_below_the_plan_in_words_and_figures(runs_file: RunsFile) -> None:
    run = list_runs(runs_file.runs_dir)[0]
    tries = [Try(number=0, title="as it is"), Try(number=6, title="Contrast", patch={"loss.contrast_space": "target"})]
    rows = [Row(tried=tried, trials=[Trial(seed=0)], gate=0.3, r5=0.1) for tried in tries]
    report = ProbeReport(
        run=run.id, metric="val_cosine", epoch=2, bar=0.5, state="done", rows=rows, recommendation=["fix 6: \x1b[2J"]
    )
    probe_folder(run).mkdir()
    write_json(probe_file(run), report)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.pause()
        text = app.screen.query_one(DecisionTreePane).query_one("#position", SteadyText).content.plain
        assert "probe: fix 6" in text
        assert "\x1b" not in text
        assert "6 loss.contrast_space = target" in text
        assert "P  probe" not in text, "it is done"
        assert text.index("loss.temperature: ") < text.index("probe: fix 6"), "the plan comes first"


@pytest.mark.usefixtures("recorded_runs")
async def test_a_still_room_hands_nothing_down_and_moves_again_with_the_first_event(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["working"]) as pilot:
        await pilot.pause()
        before = app.scene
        for _ in range(5):
            app.poll()
        assert app.scene is before, "no run is alive, and nothing has happened"
        missed_mamba(Path(runs_file.runs_dir), number=9)
        app.poll()
        await pilot.pause()
        assert app.scene is not before
        assert "mamba_s-0009" in {view.id for view in app.scene.views}
