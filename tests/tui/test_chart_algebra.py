"""What a chart computes, held against the plain definitions: views, means, gaps, extremes, clocks and forecasts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tui.ema import Ema
from tui.widgets.plot_data import Forecast, Level, Mark, Series, Spot, prepare
from tui.widgets.plot_draw import draw
from tui.widgets.plot_forecast import interval_at
from tui.widgets.plot_legend import next_x
from tui.widgets.plot_line import line_spans
from tui.widgets.plot_model import Plot, shown_x, y_extent
from tui.widgets.plot_scale import Scale, time_label, time_ticks
from tui.widgets.plot_view import moved, panned, zoomed_in, zoomed_out

numbers = st.floats(-1e6, 1e6)
FORECAST = Forecast("projected", [2.0, 3.0, 4.0], [0.47, 0.49, 0.51], [0.47, 0.48, 0.49], [0.47, 0.50, 0.54])


@st.composite
def scales(draw_from: st.DrawFn) -> Scale:
    """Axes of epochs, steps and seconds: not so narrow beside their size that floats cannot tell their parts apart."""
    low, width = draw_from(st.floats(-1e4, 1e4)), draw_from(st.floats(0.1, 1e6))
    return Scale(low, low + width)


def about(scale: Scale) -> object:
    width = scale.high - scale.low
    return pytest.approx((scale.low, scale.high), abs=width * 1e-6)


def text_of(rows: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


# ── views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(scales(), st.floats(0, 1), st.integers(1, 8))
def test_zooming_out_undoes_zooming_in_about_the_same_place(full: Scale, place: float, times: int) -> None:
    centre, views = full.at(place), [zoomed_in(None, full, full.at(place))]
    for _ in range(times):
        views.append(zoomed_in(views[-1], full, centre))
    for inner, outer in pairwise(reversed(views)):
        found = zoomed_out(inner, full, centre)
        assert found is not None
        assert (found.low, found.high) == about(outer)
    assert zoomed_out(views[0], full, centre) is None


@given(scales(), st.floats(0, 1))
def test_what_is_under_the_mouse_stays_there_when_zooming_in(full: Scale, place: float) -> None:
    centre = full.at(place)
    assert zoomed_in(None, full, centre).fraction(centre) == pytest.approx(full.fraction(centre), abs=1e-6)


@given(scales(), st.floats(0, 1), st.integers(1, 6), st.floats(-3, 3))
def test_a_view_is_moved_within_the_data_and_keeps_its_width(
    full: Scale, place: float, times: int, shift: float
) -> None:
    view = zoomed_in(None, full, full.at(place))
    for _ in range(times):
        view = zoomed_in(view, full, full.at(place))
    width = view.high - view.low
    found = moved(view, full, shift * (full.high - full.low))
    slack = (full.high - full.low) * 1e-9
    assert found.high - found.low == pytest.approx(width, rel=1e-6)
    assert found.low >= full.low - slack
    assert found.high <= full.high + slack


@given(scales())
def test_panning_there_and_back_inside_the_data_changes_nothing(full: Scale) -> None:
    view = zoomed_in(zoomed_in(zoomed_in(None, full, None), full, None), full, None)
    there = panned(view, full, 1)
    back = panned(there, full, -1)
    assert back is not None
    assert (back.low, back.high) == about(view)
    assert panned(None, full, 1) is None, "what shows everything has nowhere to go"


# ── means ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def plain_mean(values: Sequence[float], weight: float) -> list[float]:
    """The definition: every value so far, weighted by weight^age, over the sum of those weights."""
    means = []
    for end in range(1, len(values) + 1):
        weights = [weight ** (end - 1 - index) for index in range(end)]
        total = math.fsum(share * value for share, value in zip(weights, values[:end], strict=True))
        means.append(total / math.fsum(weights))
    return means


@given(st.lists(numbers, max_size=30), st.sampled_from([0.0, 0.3, 0.6, 0.9]))
def test_smoothing_is_the_exponential_mean(values: list[float], weight: float) -> None:
    assert Ema(weight).of(values) == pytest.approx(plain_mean(values, weight), rel=1e-6, abs=1e-6)


@given(st.lists(numbers, max_size=40), st.integers(0, 40), st.lists(numbers, max_size=10))
def test_a_mean_carried_on_equals_one_from_the_beginning(values: list[float], cut: int, other: list[float]) -> None:
    mean = Ema(0.9)
    mean.of(values[:cut])
    assert mean.of(values) == Ema(0.9).of(values)
    assert mean.of(other) == Ema(0.9).of(other), "another series is not taken for its continuation"


def test_a_mean_carried_on_computes_the_new_values_only() -> None:
    class Counted(float):
        multiplied = 0

        def __rmul__(self, other: float) -> float:
            Counted.multiplied += 1
            return other * float(self)

    values = [Counted(index) for index in range(1000)]
    mean = Ema(0.9)
    mean.of(values)
    assert Counted.multiplied == 1000
    mean.of([*values, Counted(7)])
    assert Counted.multiplied == 1001


@given(st.lists(numbers, min_size=1, max_size=30))
def test_a_smoothed_series_still_holds_what_was_measured(values: list[float]) -> None:
    trace = prepare(Series("a", range(len(values)), values), smoothing=Ema(0.9))
    assert list(trace.raw) == list(trace.values) == values
    shown = y_extent(Plot([trace]), Scale(-0.5, len(values)))
    assert shown.low <= min(values) <= max(values) <= shown.high


def test_raw_values_stay_behind_the_smoothed_line_in_another_shape_and_style() -> None:
    trace = prepare(Series("loss", range(40), [float(x % 2) for x in range(40)]), smoothing=Ema(0.9))
    rows = draw(Plot([trace], ascii_only=True), 60, 16)
    styles = {style for row in rows for text, style in row if "'" in text}
    assert styles == {"dim-0"}
    rows = draw(Plot([prepare(Series("loss", range(40), [float(x % 2) for x in range(40)]))], ascii_only=True), 60, 16)
    assert not any("'" in text for row in rows for text, _ in row)


@given(st.lists(numbers, min_size=50, max_size=300), st.floats(0, 1), st.floats(0.05, 0.9))
def test_the_y_axis_holds_every_visible_mean_and_measured_value(values: list[float], at: float, width: float) -> None:
    end = len(values) - 1
    x = Scale(at * end, at * end + width * end)
    trace = prepare(Series("a", range(len(values)), values), smoothing=Ema(0.9))
    seen = [index for index in range(len(values)) if x.low <= index <= x.high]
    shown = y_extent(Plot([trace]), x)
    slack = (shown.high - shown.low) * 1e-9
    for ys in (trace.raw, trace.ys):
        assert all(shown.low - slack <= ys[index] <= shown.high + slack for index in seen)


def test_of_many_points_a_smoothed_line_is_thin_and_its_measured_values_keep_their_extremes() -> None:
    values = [float(x % 2) for x in range(2000)]
    trace = prepare(Series("a", range(2000), values), smoothing=Ema(0.9))
    x, y = Scale(0, 1999), Scale(0, 1)
    smoothed = line_spans(trace, x, y, 40, 101)
    assert max(bottom - top for _, top, bottom in smoothed[1:]) < 20
    measured = line_spans(replace(trace, ys=trace.raw), x, y, 40, 101)
    assert {(top, bottom) for _, top, bottom in measured} == {(0, 100)}


# ── gaps and extremes ────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.one_of(numbers, st.sampled_from([None, math.nan, math.inf, -math.inf])), max_size=40))
def test_every_value_is_a_point_or_a_gap_and_no_line_crosses_a_gap(ys: list[float | None]) -> None:
    trace = prepare(Series("a", range(len(ys)), ys))
    finite = [x for x, y in enumerate(ys) if y is not None and math.isfinite(y)]
    assert list(trace.xs) == finite
    assert list(trace.gaps) == [x for x in range(len(ys)) if x not in finite]
    starts = set(trace.starts)
    for index in range(1, len(finite)):
        assert (index in starts) == (finite[index] - finite[index - 1] > 1)


@given(st.lists(st.floats(0, 1), min_size=50, max_size=400), st.integers(2, 40))
def test_many_points_in_few_columns_lose_no_extreme(ys: list[float], columns: int) -> None:
    assume(len(ys) > columns)
    trace = prepare(Series("a", range(len(ys)), ys))
    rows = 101
    x, y = Scale(0, len(ys) - 1), Scale(0, 1)
    spans = line_spans(trace, x, y, columns, rows)
    for index, value in enumerate(ys):
        column, row = round(x.fraction(index) * (columns - 1)), rows - 1 - round(value * (rows - 1))
        near = [span for span in spans if abs(span[0] - column) <= 1]
        assert any(top <= row <= bottom for _, top, bottom in near), f"{value} at {index} is not drawn"


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(0, 1e6), st.floats(1e-3, 1e7), st.integers(1, 20))
def test_ticks_of_a_clock_lie_within_it_and_are_not_too_many(low: float, width: float, count: int) -> None:
    scale = Scale(low, low + width)
    found = time_ticks(scale, count)
    assert len(found) <= count
    assert found == sorted(found)
    assert all(scale.low - width * 1e-6 <= tick <= scale.high + width * 1e-6 for tick in found)


def test_seconds_are_told_as_a_clock_tells_them() -> None:
    labels = [time_label(seconds) for seconds in (0, 45, 90, 3600, 3 * 3600 + 41 * 60, 12.5, 120)]
    assert labels == ["0s", "45s", "1m30", "1h", "3h41", "12.5s", "2m"]
    assert [time_label(tick) for tick in time_ticks(Scale(0, 3600), 5)] == ["0s", "15m", "30m", "45m", "1h"]


# ── forecasts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plot_with_forecast(**changes: object) -> Plot:
    measured = prepare(Series("mamba_s", [1.0, 2.0], [0.41, 0.47]))
    return Plot([measured], [Level(0.5, "gate")], forecasts=[FORECAST], **changes)  # type: ignore[arg-type]


def test_a_forecast_lies_between_its_epochs_and_nowhere_else() -> None:
    assert interval_at(FORECAST, 2.0) is None, "measured"
    assert interval_at(FORECAST, 4.5) is None
    assert interval_at(FORECAST, 3.5) == pytest.approx((0.485, 0.50, 0.52))


@pytest.mark.parametrize("ascii_only", [False, True])
def test_what_is_projected_shares_no_character_with_what_is_measured(ascii_only: bool) -> None:
    """Without colour: left of the last epoch no sign of a forecast, right of it nothing but."""
    plot = plot_with_forecast(ascii_only=ascii_only)
    rows = text_of(draw(plot, 80, 16))
    body = [row[10:60] for row in rows[1:-2]]
    signs = {",", "?"} if ascii_only else {"░", "·", "○"}
    measured = {"*", "@"} if ascii_only else {"●"}
    seen = {character for row in body for character in row}
    assert signs <= seen
    assert measured & seen
    without = text_of(draw(Plot(plot.traces, plot.levels, ascii_only=ascii_only), 80, 16))
    assert not signs & {character for row in without[1:] for character in row}


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_legend_and_the_picture_say_that_it_is_projected(ascii_only: bool) -> None:
    rows = text_of(draw(plot_with_forecast(ascii_only=ascii_only), 80, 16))
    assert "projected 0.51 (0.49 to 0.54)" in rows[0]
    assert any("projected 0.51" in row for row in rows[1:])
    narrow = text_of(draw(plot_with_forecast(ascii_only=ascii_only), 44, 10))
    assert "projected 0.51" in narrow[0]


def test_the_cursor_walks_on_into_the_forecast_and_reads_its_interval() -> None:
    plot = plot_with_forecast(cursor_x=3.0, x_label="epoch")
    assert next_x(plot.traces, 2.0, 1, plot.forecasts) == 3.0
    (heading, *_) = text_of(draw(plot, 100, 16))
    assert heading.startswith("epoch 3")
    assert "mamba_s ~0.47" in heading, "the last measured value is marked as not being of this epoch"
    assert "projected 0.49 (0.48 to 0.5)" in heading


def test_the_fitted_axes_show_the_whole_forecast() -> None:
    plot = plot_with_forecast()
    x = shown_x(plot)
    assert x == Scale(1.0, 4.0)
    assert y_extent(plot, x).high >= 0.54
    assert shown_x(Plot(forecasts=[FORECAST])) is None, "without data there is nothing that it could go on from"


def test_the_best_point_is_marked_and_labelled() -> None:
    trace = prepare(Series("mamba_s", [1.0, 2.0, 3.0], [0.41, 0.47, 0.46]))
    for ascii_only, sign in ((False, "★"), (True, "^")):
        rows = text_of(draw(Plot([trace], spots=[Spot(2.0, 0.47, "best 0.470")], ascii_only=ascii_only), 60, 14))
        assert sum(row.count(sign) for row in rows) == 1
        assert any("best 0.470" in row for row in rows)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
def test_no_label_runs_into_another(ascii_only: bool) -> None:
    touching = shown = 0
    for width, best, height in product(range(30, 100, 3), (2.0, 3.0, 4.0, 6.0), (8, 14)):
        ys = [0.41, 0.44, 0.45, 0.46, 0.46, 0.47, 0.46, 0.46, 0.46]
        trace = prepare(Series("", [float(epoch) for epoch in range(1, 10)], ys))
        spots = [Spot(best, max(ys), "best 0.470"), Spot(best + 1, max(ys), "best 0.469", 1)]
        plot = Plot([trace], marks=[Mark(2.0, "gate@2"), Mark(4.0, "smoke@4")], spots=spots, ascii_only=ascii_only)
        for row in text_of(draw(plot, width, height)):
            shown += "best" in row or "@" in row
            touching += re.search(r"\wgate|\wsmoke|\wbest|@\d\w|0\.4(70|69)\w", row) is not None
    assert shown > 100
    assert touching == 0


def test_a_small_chart_keeps_its_name_before_its_values() -> None:
    traces = [prepare(Series("mamba_s", [1.0], [0.5])), prepare(Series("amn", [1.0], [0.25], 1))]
    plot = Plot(traces, title="negatives_per_query", has_names=False, cursor_x=1.0)
    rows = text_of(draw(plot, 24, 9))
    assert [row.rstrip() for row in rows[:2]] == ["negatives_per_query", "● 0.5  ◆ 0.25"]
    assert text_of(draw(plot, 24, 5))[0].rstrip() == "negatives_per_query"
