"""The chart as a widget: keys, mouse, what it tells its owner, and how it looks."""

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from tui.widgets.line_chart import Level, LineChart, Mark, Series
from tui.widgets.plot_scale import Scale

MAMBA = Series("mamba_s", range(1, 8), [0.4123, 0.4719, 0.4944, 0.5071, 0.5122, 0.5133, 0.5149], 0)
AMN = Series("amn", range(1, 8), [0.45, 0.49, 0.5, 0.505, None, 0.511, 0.512], 1)


class ChartApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.moved: list[float | None] = []

    def compose(self) -> ComposeResult:
        yield LineChart(
            [MAMBA, AMN],
            levels=[Level(0.5, "gate 0.50"), Level(0.481, "floor 0.481")],
            marks=[Mark(2, "gate@2")],
            title="val_cosine",
            x_label="epoch",
        )

    def on_mount(self) -> None:
        self.query_one(LineChart).focus()

    def on_line_chart_cursor_moved(self, message: LineChart.CursorMoved) -> None:
        self.moved.append(message.x)


def lines(chart: LineChart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def test_a_chart_at_80_by_24(snap_compare: Any) -> None:
    """Two lines of different dash and marker, a gate and a floor labelled at the right, a gap at epoch 5."""
    assert snap_compare(ChartApp(), terminal_size=(80, 24), press=["right", "right"])


async def test_of_a_changed_chart_only_the_rows_that_differ_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        await pilot.pause()
        painted: list[int] = []
        refresh = LineChart.refresh

        def noted(widget: LineChart, *regions: Region, **how: bool) -> LineChart:
            painted.extend(region.y for region in regions)
            if not regions:
                painted.extend(range(widget.size.height))
            return refresh(widget, *regions, **how)

        monkeypatch.setattr(LineChart, "refresh", noted)
        before = lines(chart)
        chart.series = [MAMBA, Series("amn", AMN.xs, [*AMN.ys[:-1], 0.5125], 1)]
        chart.levels = [*chart.levels]
        await pilot.pause()
        after = lines(chart)
        changed = [y for y in range(chart.size.height) if before[y] != after[y]]
        assert 0 in changed, "the legend's value"
        assert set(changed) <= set(painted)
        assert len(painted) == len(set(painted)) < chart.size.height / 2
        painted.clear()
        chart.series = [*chart.series]
        await pilot.pause()
        assert painted == [], "the same picture"


async def test_arrows_move_the_cursor_over_the_data_and_say_so() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("right", "right", "left", "left", "escape", "left")
        await pilot.pause()
        chart = app.query_one(LineChart)
        assert chart.cursor_x == 7
        assert lines(chart)[0].startswith("epoch 7  ●━━ mamba_s 0.5149")
    # a fourth press to the left had nowhere to go
    assert app.moved == [1, 2, 1, None, 7]


async def test_a_click_places_the_cursor_on_the_nearest_data() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click(LineChart, offset=(35, 10))
        assert app.query_one(LineChart).cursor_x in (4, 5)


async def test_escape_without_a_cursor_is_left_to_others() -> None:
    app = ChartApp()
    async with app.run_test():
        chart = app.query_one(LineChart)
        assert not chart.check_action("clear_cursor", ())
        chart.cursor_x = 2.0
        assert chart.check_action("clear_cursor", ())


async def test_the_axis_fits_new_data_until_someone_zooms() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        chart.series = [Series("mamba_s", range(1, 13), [0.5] * 12)]
        await pilot.pause()
        assert " 12 " in lines(chart)[-1]
        await pilot.press("plus")
        view = chart.view
        assert view is not None
        chart.series = [Series("mamba_s", range(1, 40), [0.5] * 39)]
        await pilot.pause()
        assert chart.view == view
        await pilot.press("equals_sign")
        assert chart.view is None


async def test_a_zoomed_view_is_panned_and_zoomed_out_again() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        await pilot.press("plus", "plus", "shift+right")
        first = chart.view
        assert isinstance(first, Scale)
        await pilot.press("shift+left")
        second = chart.view
        assert second is not None
        assert second.low < first.low
        await pilot.press("minus", "minus")
        assert chart.view is None


async def test_the_view_follows_the_cursor() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        chart.view = Scale(1.0, 3.0)
        chart.cursor_x = 6.0
        await pilot.pause()
        assert chart.view == Scale(4.0, 6.0)


async def test_log_scale_and_smoothing_have_keys() -> None:
    app = ChartApp()
    async with app.run_test() as pilot:
        chart = app.query_one(LineChart)
        await pilot.press("y", "s")
        assert chart.log_y
        assert chart.smoothing > 0
        await pilot.press("s", "s", "y")
        assert (chart.log_y, chart.smoothing) == (False, 0.0)


async def test_charts_side_by_side_may_share_their_axes() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        chart.x_range, chart.y_range = (1.0, 20.0), (0.0, 1.0)
        await pilot.pause()
        shown = "\n".join(lines(chart))
        assert " 20" in shown
        assert "1.0┤" in shown
        assert "0.0┤" in shown


@pytest.mark.parametrize("size", [(20, 5), (8, 3), (1, 1), (200, 60)])
async def test_every_size_is_filled_and_every_segment_has_a_style(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size):
        chart = app.query_one(LineChart)
        for y in range(chart.size.height):
            strip = chart.render_line(y)
            assert strip.cell_length == chart.size.width
            assert all(segment.style for segment in strip)


async def test_without_colour_the_models_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(80, 24)):
        legend = lines(app.query_one(LineChart))[0]
        assert "●━━ mamba_s" in legend
        assert "◆╌╌ amn" in legend


async def test_another_theme_repaints_the_lines() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LineChart)
        before = [segment.style for segment in chart.render_line(0)]
        app.theme = "textual-light"
        await pilot.pause()
        assert [segment.style for segment in chart.render_line(0)] != before
