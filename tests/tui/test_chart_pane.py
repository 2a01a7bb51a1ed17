"""The chart pane, driven by keys and mouse: metrics, axes, cursor, small charts, exports, and what is redrawn."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from recorded import MAMBA_HISTORY, make_spec, passed_amn, run_events, stamp, write_run
from textual import events
from textual.pilot import Pilot

from engine.run.directory import RunDirectory
from engine.run.events import EpochEnded, Event, StepLogged, encode_event
from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig
from tui.app import RoomApp
from tui.control.curves import AXES, METRICS
from tui.keymap import ROOM_BINDINGS
from tui.panes.chart import ChartPane
from tui.panes.metric_grid import MetricGrid, SmallChart
from tui.panes.versus import VersusPane
from tui.screens.help import HelpScreen
from tui.widgets.chart_keys import CHART_KEYS
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_draw import x_at

SMALL, ROOMY = (80, 24), (160, 45)
SPEC = msgspec.structs.replace(make_spec(), evals={"smoke": EvalConfig(at_epoch=4)})


def open_app(file: RunsFile, *, readonly: bool = False, plain: bool = False) -> RoomApp:
    return RoomApp(file, file.runs_dir, readonly=readonly, plain=plain)


def chart_pane(app: RoomApp) -> ChartPane:
    return app.screen.query_one(ChartPane)


def legend(app: RoomApp) -> str:
    chart = chart_pane(app).chart
    return " ".join(chart.render_line(y).text for y in range(2))


def notices(app: RoomApp) -> list[str]:
    return [notification.message for notification in app._notifications]


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within 10 s: {what}")


@pytest.fixture
def gated(runs_file: RunsFile) -> RunDirectory:
    """A run two epochs old, right at its gate, beside a baseline that has ended."""
    run = write_run(runs_file.runs_dir, SPEC, run_events(SPEC, MAMBA_HISTORY[:2], steps_of_next=4))
    passed_amn(runs_file.runs_dir)
    return run


def append(run: RunDirectory, *later: Event) -> None:
    """What an engine would write next."""
    first = len(run.events_file.read_bytes().splitlines()) + 1
    with run.events_file.open("ab") as file:
        file.writelines(encode_event(event) for event in stamp(later, first=first))


def next_epoch(epoch: int, value: float) -> Event:
    return next(
        event
        for event in run_events(SPEC, [*MAMBA_HISTORY[: epoch - 1], value])
        if isinstance(event, EpochEnded) and event.record.epoch == epoch
    )


def next_step(step: int) -> Event:
    last = next(event for event in run_events(SPEC, [0.1]) if isinstance(event, StepLogged))
    return msgspec.structs.replace(last, epoch=3, step=step, loss=9.75)


# ── one metric after the other ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("gated")
async def test_brackets_walk_every_metric_and_come_back(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        seen = []
        for _ in METRICS:
            seen.append(str(chart_pane(app).border_title))
            await pilot.press("right_square_bracket")
            await pilot.pause()
        assert seen == [f"2 {metric.name}" for metric in METRICS]
        assert chart_pane(app).metric == 0
        await pilot.press("left_square_bracket")
        assert chart_pane(app).metric == len(METRICS) - 1


@pytest.mark.usefixtures("gated")
async def test_the_projection_is_drawn_ahead_of_the_data_and_named(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        chart = chart_pane(app).chart
        (forecast,) = chart.forecasts
        assert forecast.xs == [2.0, 3.0, 4.0], "to the smoke evaluation"
        assert "projected" in legend(app)
        assert [spot.label for spot in chart.spots] == ["best 0.312", "best 0.581"]
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert not chart.forecasts
        assert "projected" not in legend(app)


async def test_no_projection_where_there_is_one_epoch(runs_file: RunsFile) -> None:
    write_run(runs_file.runs_dir, SPEC, run_events(SPEC, MAMBA_HISTORY[:1]))
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        assert not chart_pane(app).chart.forecasts
        assert "projected" not in legend(app)


@pytest.mark.usefixtures("gated")
async def test_the_cursor_reads_every_line_and_walks_into_what_is_projected(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        await pilot.press("m", "right", "right")
        await pilot.pause()
        assert "epoch 2" in legend(app)
        assert "mamba_s-0001 0.312" in legend(app)
        assert "amn-0002 0.577" in legend(app)
        await pilot.press("right")
        await pilot.pause()
        assert "mamba_s-0001 ~0.312" in legend(app)
        assert "projected 0." in legend(app)


@pytest.mark.usefixtures("gated")
async def test_a_changes_what_x_counts_and_keeps_the_view_and_the_cursor_where_they_were(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("right_square_bracket", "right", "plus")
        chart = chart_pane(app).chart
        before, cursor = chart.view, chart.cursor_x
        assert before
        assert cursor
        await pilot.press("a")
        await pilot.pause()
        assert chart.x_label == "step"
        assert chart.view
        assert (chart.view.low, chart.view.high) == pytest.approx((before.low * 20, before.high * 20))
        assert chart.cursor_x == pytest.approx(cursor * 20)
        await pilot.press("a")
        await pilot.pause()
        assert chart.x_is_time
        await pilot.press("a")
        await pilot.pause()
        assert chart_pane(app).axis == AXES[0]
        assert chart.view
        assert (chart.view.low, chart.view.high) == pytest.approx((before.low, before.high))


@pytest.mark.usefixtures("gated")
async def test_a_cursor_over_steps_is_none_of_the_pair_over_epochs(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("right")
        await pilot.pause()
        others = app.screen.query_one(VersusPane).query(LineChart)
        assert {chart.cursor_x for chart in others} == {1.0}
        await pilot.press("escape", "a", "right")
        await pilot.pause()
        assert chart_pane(app).chart.cursor_x == 20.0
        assert {chart.cursor_x for chart in others} == {None}


@pytest.mark.usefixtures("gated")
async def test_smoothing_log_scale_and_hidden_levels_are_told_in_the_border(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        pane = chart_pane(app)
        assert "context_mean" in "".join(pane.chart.render_line(y).text for y in range(pane.chart.size.height))
        await pilot.press("s", "y", "t")
        await pilot.pause()
        for word in ("smoothed 0.6", "log y", "t shows levels"):
            assert word in str(pane.border_subtitle)
        assert "context_mean" not in "".join(pane.chart.render_line(y).text for y in range(pane.chart.size.height))
        await pilot.press("s", "s", "y", "t")
        await pilot.pause()
        assert str(pane.border_subtitle).startswith("a by epoch")


# ── the mouse ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("gated")
async def test_the_wheel_zooms_about_the_mouse_and_dragging_pans(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("right_square_bracket")
        chart = chart_pane(app).chart
        await pilot.pause()
        under = x_at(chart.plot(), *chart.size, 20)
        await pilot._post_mouse_events([events.MouseScrollUp], chart, offset=(20, 8))
        await pilot._post_mouse_events([events.MouseScrollUp], chart, offset=(20, 8))
        view = chart.view
        assert view
        assert view.high - view.low == pytest.approx((4.0 - 0.25) / 1.5**2)
        assert x_at(chart.plot(), *chart.size, 20) == pytest.approx(under, abs=0.05)
        await pilot.mouse_down(chart, offset=(50, 8))
        await pilot.hover(chart, offset=(30, 8))
        moved = chart.view
        await pilot.mouse_up(chart, offset=(30, 8))
        await pilot._post_mouse_events([events.Click], chart, offset=(30, 8))
        assert moved
        assert moved.low > view.low
        assert moved.high - moved.low == pytest.approx(view.high - view.low)
        assert chart.cursor_x is None, "what ends a drag is no click"
        for _ in range(3):
            await pilot._post_mouse_events([events.MouseScrollDown], chart, offset=(30, 8))
        assert chart.view is None
        await pilot.click(chart, offset=(30, 8))
        assert chart.cursor_x is not None


# ── what arrives ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_data_that_arrives_leaves_a_zoomed_view_and_the_cursor_alone(
    runs_file: RunsFile, gated: RunDirectory
) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("right_square_bracket", "right", "plus", "plus")
        chart = chart_pane(app).chart
        view, cursor = chart.view, chart.cursor_x
        append(gated, next_step(47), next_step(50))
        await until(pilot, lambda: chart.series[0].ys[-1] == 9.75, "the new step")
        assert (chart.view, chart.cursor_x) == (view, cursor)
        await pilot.press("equals_sign", "escape")
        await pilot.pause()
        assert "mamba_s-0001 9.75" in legend(app)


async def test_a_step_within_the_epoch_redraws_no_chart_of_epochs(
    runs_file: RunsFile, gated: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        shown: list[str] = []
        plain_show = ChartPane.show
        monkeypatch.setattr(
            ChartPane, "show", lambda self, scene: shown.append(METRICS[self.metric].name) or plain_show(self, scene)
        )
        append(gated, next_step(47))
        app.poll()
        await pilot.pause()
        assert shown == []
        append(gated, next_epoch(3, 0.352))
        app.poll()
        await pilot.pause()
        assert shown == ["val_cosine"]
        await pilot.press("right_square_bracket")
        await pilot.pause()
        shown.clear()
        append(gated, next_step(61))
        app.poll()
        await pilot.pause()
        assert shown == ["loss"]


# ── small charts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def small_charts(app: RoomApp) -> list[str]:
    return [chart.title.strip("> ") for chart in app.screen.query(SmallChart) if chart.visible]


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
        assert third.cursor_x is None


async def test_of_the_small_charts_only_those_with_news_are_drawn_again(
    runs_file: RunsFile, gated: RunDirectory
) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=ROOMY) as pilot:
        await pilot.press("m", "g")
        await pilot.pause()
        charts = {chart.title.strip("> "): chart for chart in app.screen.query(SmallChart) if chart.visible}
        before = {name: chart.series for name, chart in charts.items()}
        append(gated, next_step(47))
        app.poll()
        await pilot.pause()
        changed = {name for name, chart in charts.items() if chart.series is not before[name]}
        assert changed == {metric.name for metric in METRICS if metric.source == "steps"}


# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("gated")
async def test_x_writes_both_files_names_them_and_never_writes_over_one(runs_file: RunsFile) -> None:
    app = open_app(runs_file)
    folder = runs_file.runs_dir / "exports"

    def files() -> list[Path]:
        return sorted(folder.glob("*"))

    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("x", "x")
        await until(pilot, lambda: len(files()) == 4, "two exports")
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


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_key_does_two_things_where_the_chart_has_the_focus() -> None:
    """Escape excepted, which each layer takes only while there is something to leave."""
    for inner in (CHART_KEYS, MetricGrid.BINDINGS):
        keys = [key for binding in (*inner, *ChartPane.BINDINGS, *ROOM_BINDINGS) for key in binding.key.split(",")]
        twice = {key for key in keys if keys.count(key) > 1}
        assert twice <= {"escape"}


@pytest.mark.usefixtures("gated")
@pytest.mark.parametrize("keys", [(), ("g",)], ids=["large", "small"])
async def test_help_lists_every_key_of_the_chart_with_what_it_does(runs_file: RunsFile, keys: tuple[str, ...]) -> None:
    app = open_app(runs_file)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = "\n".join(str(row) for row in app.screen._rows())
        inner = MetricGrid.BINDINGS if keys else CHART_KEYS
        wanted = [binding for binding in (*inner, *ChartPane.BINDINGS) if binding.key != "escape"]
        assert all(binding.tooltip and binding.tooltip in text for binding in wanted)
