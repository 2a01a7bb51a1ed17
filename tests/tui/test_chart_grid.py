"""The small charts and the files of what is shown, driven by keys and mouse."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from charted import (
    ROOMY,
    SMALL,
    append,
    chart_pane,
    drawn_from_now_on,
    next_step,
    notices,
    open_app,
    until,
    write_gated,
)
from recorded import MAMBA_HISTORY

from engine.run.directory import RunDirectory
from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.control.curves import METRICS
from tui.panes.metric_grid import IN_TURN, TURN_S, MetricGrid
from tui.widgets.small_chart import SmallChart


@pytest.fixture
def gated(runs_file: RunsFile) -> RunDirectory:
    """A run right at its gate, beside a baseline that has ended."""
    return write_gated(runs_file)


# ── small charts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def small_charts(app: RoomApp) -> list[str]:
    return [chart.plot.title.strip("> ") for chart in app.screen.query(SmallChart) if chart.visible]


@pytest.mark.usefixtures("gated")
async def test_g_shows_all_metrics_arrows_walk_them_and_enter_and_escape_go_in_and_out(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        pane = chart_pane(app)
        await pilot.press("m", "g")
        await pilot.pause()
        assert small_charts(app) == [metric.name for metric in METRICS]
        columns = app.screen.query_one(MetricGrid)._columns
        await pilot.press("right", "down")
        await pilot.pause()
        assert pane.metric == 1 + columns
        await pilot.press("enter")
        await pilot.pause()
        assert not pane.is_grid
        assert str(pane.border_title) == f"2 {METRICS[1 + columns].name}"
        assert app.focused is pane.chart
        await pilot.press("escape")
        await pilot.pause()
        assert pane.is_grid
        await pilot.press("escape")
        await pilot.pause()
        assert not pane.is_grid
        assert pane.metric == 0, "what was shown before them"
        assert app.screen.has_class("-alone"), "the room's own layer is left for the next Escape"
        await pilot.press("escape")
        await pilot.pause()
        assert not app.screen.has_class("-alone")


@pytest.mark.usefixtures("gated")
async def test_a_small_screen_has_pages_and_the_ends_are_ends(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("g")
        await pilot.pause()
        first = small_charts(app)
        assert first == [metric.name for metric in METRICS[: len(first)]]
        assert len(first) < len(METRICS)
        await pilot.press("left", "up")
        await pilot.pause()
        assert chart_pane(app).metric == 0
        await pilot.press(*["right"] * 30)
        await pilot.pause()
        assert chart_pane(app).metric == len(METRICS) - 1
        assert small_charts(app)[-1] == METRICS[-1].name
        await pilot.press("g")
        await pilot.pause()
        assert str(chart_pane(app).border_title) == f"2 {METRICS[-1].name}"


@pytest.mark.usefixtures("gated")
async def test_a_click_chooses_a_small_chart_and_another_opens_it(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        await pilot.press("m", "g")
        await pilot.pause()
        third = app.screen.query(SmallChart)[2]
        await pilot.click(third, offset=(5, 4))
        await pilot.pause()
        assert chart_pane(app).metric == 2
        assert chart_pane(app).is_grid
        await pilot.click(third, offset=(5, 4))
        await pilot.pause()
        assert not chart_pane(app).is_grid


async def test_of_the_small_charts_only_those_with_news_are_drawn_again(
    runs_file: RunsFile, gated: RunDirectory
) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        await pilot.press("m", "g")
        await pilot.pause()
        changed = drawn_from_now_on(app)
        append(gated, next_step(47))
        app.poll()
        assert len(changed()) == IN_TURN, "no more at once than a key can wait for"
        stepped = {metric.name for metric in METRICS if metric.source == "steps"}
        await until(pilot, lambda: changed() >= stepped, "the turn of the others")
        await pilot.pause(2 * TURN_S)
        assert changed() == stepped


# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("gated")
async def test_x_writes_its_files_names_them_and_never_writes_over_one(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    folder = runs_file.runs_dir / "exports"

    def files() -> list[Path]:
        return sorted(folder.glob("*"))

    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("x", "x")
        await until(pilot, lambda: len(files()) == 6, "two exports")
        await until(pilot, lambda: len(notices(app)) >= 2, "the notices")
        for file in files():
            assert any(file.name in notice and str(folder) in notice for notice in notices(app))
        (table, *_) = [file for file in files() if file.suffix == ".csv"]
        values = [
            float(row["value"])
            for row in csv.DictReader(table.read_text().splitlines())
            if row["run"] == "mamba_s-0001"
        ]
        assert values[:2] == list(MAMBA_HISTORY[:2])
        assert len(app.watcher.views) == 2, "exports are no run"


@pytest.mark.usefixtures("gated")
async def test_in_the_grid_x_exports_the_chosen_metric(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        await pilot.press("m", "g", "right", "x")
        await until(pilot, lambda: list(runs_file.runs_dir.glob("exports/loss-by-epoch-*.svg")), "the export")


@pytest.mark.usefixtures("gated")
async def test_a_read_only_room_and_a_closed_folder_export_nothing_and_say_why(runs_file: RunsFile) -> None:
    app = open_app(runs_file, readonly=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("x")
        await until(pilot, lambda: any("read-only" in notice for notice in notices(app)), "the refusal")
        assert not (runs_file.runs_dir / "exports").exists()
    (runs_file.runs_dir / "exports").write_text("in the way")
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("x")
        await until(pilot, lambda: any("was not exported" in notice for notice in notices(app)), "the reason")
