"""The chart pane, driven by keys and mouse: metrics, axes, the cursor, and what is redrawn."""

from __future__ import annotations

import pytest
from charted import (
    ROOMY,
    SMALL,
    SPEC,
    append,
    chart_pane,
    legend,
    next_epoch,
    next_step,
    open_app,
    until,
    write_gated,
)
from recorded import MAMBA_HISTORY, run_events, write_run
from textual import events

from engine.run.directory import RunDirectory
from engine.run.runs_file import RunsFile
from tui.control.curves import AXES, METRICS
from tui.keymap import ROOM_BINDINGS
from tui.panes.chart import ChartPane
from tui.panes.metric_grid import MetricGrid
from tui.panes.versus import VersusPane
from tui.screens.help import HelpScreen
from tui.widgets.chart_keys import CHART_KEYS
from tui.widgets.line_chart import LineChart
from tui.widgets.plot_draw import x_at


@pytest.fixture
def gated(runs_file: RunsFile) -> RunDirectory:
    """A run right at its gate, beside a baseline that has ended."""
    return write_gated(runs_file)


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
