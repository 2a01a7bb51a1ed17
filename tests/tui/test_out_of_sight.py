"""What is out of sight: it costs nothing, and is as it should be in the first picture that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from charted import append, chart_pane, drawn_from_now_on, next_step, write_gated
from recorded import make_spec, run_events, write_run
from test_room import SIZES, open_app, until

from engine.run.directory import RunDirectory
from engine.run.runs_file import RunsFile
from tui.control.curves import METRICS
from tui.control.scene import Scene
from tui.panes.gates import GatesPane
from tui.panes.log import LogPane
from tui.panes.metric_grid import IN_TURN, TURN_S


@pytest.mark.usefixtures("recorded_runs")
async def test_a_pane_out_of_sight_costs_nothing_and_is_up_to_date_in_its_first_picture(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    show = GatesPane.show

    def counted(pane: GatesPane, scene: Scene) -> None:
        drawn.append(scene.tick)
        show(pane, scene)

    monkeypatch.setattr(GatesPane, "show", counted)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.pause()
        assert len(drawn) <= 1, "the first layout, before the size is known"
        drawn.clear()
        for view in reversed(list(app.watcher.views.values())):
            app.choose(view.id)
        await pilot.pause()
        assert drawn == []
        app._room.go_to(3)  # nothing is laid out or painted before the next pause
        assert app.scene is not None
        assert drawn == [app.scene.tick]
        app.choose(list(app.watcher.views)[-1])
        assert drawn == [app.scene.tick - 1, app.scene.tick], "in sight it follows at once"
        app._room.go_to(2)
        app.choose(next(iter(app.watcher.views)))
        assert len(drawn) == 2
        await pilot.resize_terminal(*SIZES["wide"])
        await until(pilot, lambda: len(drawn) == 3, "a place in another layout")


@pytest.mark.usefixtures("recorded_runs")
async def test_a_title_outlives_two_switches_to_ascii_and_back(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("2", "]", "]", "3")
        await pilot.pause()
        for plain in (True, False):
            app._room.plain = plain
            await pilot.pause()
        await pilot.press("2")
        await pilot.pause()
        assert str(chart_pane(app).border_title) == f"2 {METRICS[2].name}"


async def test_small_charts_wait_for_their_turn_where_they_are_seen(runs_file: RunsFile) -> None:
    gated = write_gated(runs_file)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.press("2", "m", "g")
        await pilot.pause()
        drawn = drawn_from_now_on(app)
        append(gated, next_step(47))
        app.poll()
        await until(pilot, lambda: len(drawn()) >= IN_TURN, "the first turn")
        await pilot.press("3")
        await pilot.pause()
        at_leaving = drawn()
        await pilot.pause(2 * TURN_S)
        assert drawn() == at_leaving
        await pilot.press("2")
        stepped = {metric.name for metric in METRICS if metric.source == "steps"}
        assert at_leaving < stepped
        await until(pilot, lambda: drawn() == stepped, "what had to wait, without anything new")


async def test_following_a_log_is_ended_for_the_run_that_is_selected_not_for_the_one_it_showed_last(
    runs_file: RunsFile, recorded_runs: Path
) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("5")
        await pilot.pause()
        log = app.screen.query_one(LogPane).log_view
        assert log.path is not None
        other = next(path.name for path in recorded_runs.iterdir() if path != log.path.parent and path.is_dir())
        await pilot.press("2")
        app.choose(other)
        await pilot.press("f", "5")
        await pilot.pause()
        assert log.path == RunDirectory(recorded_runs / other).log_file
        assert not log.follow


async def test_the_chart_keeps_no_series_of_runs_that_it_no_longer_shows(runs_file: RunsFile) -> None:
    write_gated(runs_file)
    app = open_app(runs_file)
    async with app.run_test(size=SIZES["wide"]) as pilot:
        await pilot.press("2", "g")
        await pilot.pause()
        shown = {run_id for run_id, _, _ in chart_pane(app)._figures._known}
        assert shown == set(app.watcher.views)
        spec = make_spec(number=9)
        write_run(runs_file.runs_dir, spec, run_events(spec, (0.3,)))
        app.poll()
        app.choose(spec.id)
        await until(pilot, lambda: spec.id in {key[0] for key in chart_pane(app)._figures._known}, "the other run")
        assert {key[0] for key in chart_pane(app)._figures._known} == {spec.id, "amn-0002"}
