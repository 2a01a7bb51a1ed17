"""The pieces of a chart, each on its own: axes, dots, traces, views and the composed picture."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.ema import Ema
from tui.widgets.braille import Raster
from tui.widgets.cell_grid import Grid
from tui.widgets.plot_data import Forecast, Level, Mark, Series, Spot, prepare
from tui.widgets.plot_draw import STYLES, draw, x_at
from tui.widgets.plot_legend import last_value, legend, next_x, value_at
from tui.widgets.plot_line import line_spans
from tui.widgets.plot_model import Plot
from tui.widgets.plot_scale import LARGEST, Scale, fit, log_ticks, span, tick_labels, ticks
from tui.widgets.plot_view import panned, showing, zoomed_in, zoomed_out

anything = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, LARGEST, -LARGEST, 5e-324, math.nan, math.inf, -math.inf, 0.5]),
)
anything_or_none = st.one_of(st.none(), anything)
names = st.text(max_size=12)


@st.composite
def any_series(draw_from: st.DrawFn) -> Series:
    points = draw_from(st.lists(st.tuples(anything, anything_or_none), max_size=30))
    return Series(draw_from(names), [x for x, _ in points], [y for _, y in points], draw_from(st.integers(0, 9)))


@st.composite
def any_forecast(draw_from: st.DrawFn) -> Forecast:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    points = draw_from(
        st.lists(st.tuples(finite, finite, finite, finite), max_size=5, unique_by=lambda point: point[0])
    )
    xs, ys, lows, highs = ([found[place] for found in sorted(points)] for place in range(4))
    return Forecast(draw_from(names), xs, ys, lows, highs, draw_from(st.integers(0, 9)))


def text_of(rows: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def cosine_plot(**changes: object) -> Plot:
    mamba = Series("mamba_s", range(1, 8), [0.4123, 0.4719, 0.4944, 0.5071, 0.5122, 0.5133, 0.5149], 0)
    amn = Series("amn", range(1, 8), [0.45, 0.49, 0.5, 0.505, None, 0.511, 0.512], 1)
    given_by_default: dict[str, object] = {
        "traces": [prepare(mamba), prepare(amn)],
        "levels": [Level(0.5, "gate 0.50"), Level(0.481, "floor 0.481")],
        "marks": [Mark(2, "gate@2")],
        "title": "val_cosine",
        "x_label": "epoch",
    }
    return Plot(**{**given_by_default, **changes})  # type: ignore[arg-type]


@given(
    st.lists(any_series(), max_size=4),
    st.lists(st.tuples(anything, names), max_size=3),
    st.lists(st.tuples(anything, names), max_size=3),
    st.one_of(st.none(), anything),
    st.tuples(st.integers(0, 90), st.integers(0, 16)),
    st.tuples(st.booleans(), st.booleans(), st.floats(0, 1), st.booleans(), st.booleans()),
    st.lists(any_forecast(), max_size=2),
    st.lists(st.builds(Spot, anything, anything, names, st.integers(0, 9)), max_size=2),
)
def test_any_data_can_be_drawn_at_any_size(
    series: list[Series],
    levels: list[tuple[float, str]],
    marks: list[tuple[float, str]],
    cursor_x: float | None,
    size: tuple[int, int],
    how: tuple[bool, bool, float, bool, bool],
    forecasts: list[Forecast],
    spots: list[Spot],
) -> None:
    ascii_only, log_y, smoothing, x_is_time, has_names = how
    width, height = size
    plot = Plot(
        traces=[prepare(line, smoothing=Ema(smoothing), log_y=log_y) for line in series],
        levels=[Level(*level) for level in levels],
        marks=[Mark(*mark) for mark in marks],
        title="title",
        x_label="epoch",
        cursor_x=cursor_x,
        log_y=log_y,
        ascii_only=ascii_only,
        x_is_time=x_is_time,
        has_names=has_names,
        forecasts=forecasts,
        spots=spots,
    )
    rows = draw(plot, width, height)
    assert len(rows) == height
    for row in rows:
        assert cell_len("".join(text for text, _ in row)) == width
        assert {style for _, style in row} <= set(STYLES)


def test_a_recorded_run_shows_its_lines_gate_floor_and_gap() -> None:
    rows = text_of(draw(cosine_plot(), 80, 16))
    assert rows[0].startswith("val_cosine  ●━━ mamba_s 0.5149  ◆╌╌ amn 0.512")
    assert sum(row.count("●") for row in rows[1:]) == 7
    assert sum(row.count("◆") for row in rows[1:]) in (5, 6)  # two points may share a cell
    assert any(row.endswith("── gate 0.50  ") for row in rows)
    assert any("╌╌ floor 0.481" in row for row in rows)
    assert "x" in rows[-3]  # the missing value of epoch 5
    assert rows[-1].split() == ["1", "2", "3", "4", "5", "6", "7", "epoch"]


def test_the_cursor_reads_off_every_series() -> None:
    assert text_of(draw(cosine_plot(cursor_x=2.0), 80, 16))[0].startswith("epoch 2  ●━━ mamba_s 0.4719  ◆╌╌ amn 0.49 ")
    assert "amn gap" in text_of(draw(cosine_plot(cursor_x=5.0), 80, 16))[0]


def test_without_unicode_the_two_models_still_differ() -> None:
    rows = text_of(draw(cosine_plot(ascii_only=True), 80, 16))
    assert all(row.isascii() for row in rows)
    assert "@** mamba_s" in rows[0]
    assert "#++ amn" in rows[0]


def test_one_point_is_a_marker() -> None:
    rows = text_of(draw(Plot([prepare(Series("a", [1], [0.5]))]), 40, 10))
    assert sum(row.count("●") for row in rows[1:]) == 1


def test_ten_thousand_points_lose_no_spike() -> None:
    ys = [0.0] * 10_000
    ys[4321] = 1.0
    trace = prepare(Series("a", range(10_000), ys))
    found = line_spans(trace, Scale(0, 9999), Scale(0, 1), 160, 80)
    assert min(top for _, top, _ in found) == 0


def test_nothing_to_draw_says_so() -> None:
    assert any("press T" in row for row in text_of(draw(Plot(empty_text="press T"), 40, 8)))
    diverged = Plot([prepare(Series("a", [1, 2], [math.nan, math.inf]))])
    assert any("no finite value yet" in row for row in text_of(draw(diverged, 40, 8)))


def test_a_diverged_loss_does_not_read_as_its_last_good_value() -> None:
    assert last_value(prepare(Series("a", [1, 2, 3], [0.5, 0.4, math.inf]))) == "gap"
    assert last_value(prepare(Series("a", [1, 2, 3], [0.5, math.inf, 0.4]))) == "0.4"


def test_values_are_read_where_they_are_or_before() -> None:
    trace = prepare(Series("a", [1, 2, 4], [0.5, None, 0.4]))
    assert [value_at(trace, x) for x in (0, 1, 1.5, 2, 3, 4, 9)] == ["-", "0.5", "~0.5", "gap", "~gap", "0.4", "~0.4"]


def test_the_next_x_may_belong_to_any_series_or_gap() -> None:
    traces = [prepare(Series("a", [1, 4], [1, 1])), prepare(Series("b", [2, 3], [1, None]))]
    assert [next_x(traces, x, 1) for x in (0, 1, 2, 3, 4)] == [1, 2, 3, 4, None]
    assert [next_x(traces, x, -1) for x in (5, 4, 3, 2, 1)] == [4, 3, 2, 1, None]


def test_foreign_names_cannot_reach_the_terminal() -> None:
    plot = Plot([prepare(Series("a\x1b]0;stolen\x07b", [1], [1]))], [Level(1, "g\x1b[2Jate")], [Mark(1, "\x9bm")])
    assert all(row.isprintable() for row in text_of(draw(plot, 60, 10)))


def test_unordered_points_are_put_in_order() -> None:
    trace = prepare(Series("a", [3, 1, math.nan, 2], [0.3, 0.1, 9.0, 0.2]))
    assert (list(trace.xs), list(trace.values)) == ([1, 2, 3], [0.1, 0.2, 0.3])


def test_gaps_interrupt_the_line() -> None:
    trace = prepare(Series("a", [1, 2, 3, 4], [0.1, math.nan, 0.3, 0.4]))
    assert (list(trace.ys), list(trace.starts), list(trace.gaps)) == ([0.1, 0.3, 0.4], [1], [2])
    columns = {column for column, _, _ in line_spans(trace, Scale(1, 4), Scale(0, 1), 31, 11)}
    assert 0 in columns
    assert not columns & set(range(1, 20))
    assert set(range(20, 31)) <= columns


def test_smoothing_is_drawn_but_not_read() -> None:
    trace = prepare(Series("a", [1, 2], [1.0, 3.0]), smoothing=Ema(0.5))
    assert list(trace.ys) == pytest.approx([1.0, (0.25 * 1 + 0.5 * 3) / 0.75])
    assert list(trace.values) == list(trace.raw) == [1.0, 3.0]


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm() -> None:
    trace = prepare(Series("a", [1, 2, 3], [10.0, 0.0, 1000.0]), log_y=True)
    assert (list(trace.ys), list(trace.values), list(trace.gaps)) == ([1.0, 3.0], [10.0, 1000.0], [2])


@given(st.lists(anything, max_size=8), st.integers(0, 20), st.booleans())
def test_ticks_lie_within_the_axis_and_are_not_too_many(values: list[float], count: int, integers: bool) -> None:
    scale = fit(values)
    if scale is None:
        assert not any(map(math.isfinite, values))
        return
    found = ticks(scale, count, integers=integers)
    assert len(found) <= count
    assert found == sorted(found)
    slack = (scale.high / 2 - scale.low / 2) * 1e-6
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in found)
    assert len(tick_labels(found)) == len(found)


def test_ticks_are_round_and_their_labels_short() -> None:
    assert tick_labels(ticks(Scale(0.41, 0.52), 8)) == ["0.42", "0.44", "0.46", "0.48", "0.50", "0.52"]
    assert ticks(Scale(1, 7), 8, integers=True) == [1, 2, 3, 4, 5, 6, 7]
    assert tick_labels(ticks(Scale(0, 1e5), 6)) == ["0", "20000", "40000", "60000", "80000", "100000"]
    assert log_ticks(Scale(-3, 2), 6) == [-3, -2, -1, 0, 1, 2]
    assert [round(10**tick) for tick in log_ticks(Scale(math.log10(2), math.log10(9)), 4)] == [2, 4, 6, 8]


def test_a_scale_is_never_without_extent() -> None:
    for value in (0.0, 1.0, -3e-310, LARGEST, -LARGEST):
        scale = span(value, value)
        assert scale.low < scale.high
        assert 0 <= scale.fraction(value) <= 1
    assert span(-LARGEST, LARGEST).fraction(0.0) == pytest.approx(0.5)


def test_a_zoomed_view_stays_when_data_arrives_and_grows_back_to_everything() -> None:
    full = Scale(0, 100)
    view = zoomed_in(None, full, 20.0)
    assert view.low < 20 < view.high
    assert view.high - view.low == pytest.approx(100 / 1.5)
    assert zoomed_out(view, full) is None
    assert zoomed_out(view, Scale(0, 1000)) is not None


def test_a_view_is_panned_within_the_data() -> None:
    full, view = Scale(0, 100), Scale(40, 60)
    assert panned(view, full, 1) == Scale(45, 65)
    assert panned(Scale(90, 100), full, 1) == Scale(90, 100)
    assert panned(None, full, 1) is None
    assert showing(view, full, 70) == Scale(50, 70)
    assert showing(view, full, 50) == view


def test_zooming_in_comes_to_an_end() -> None:
    full, view = Scale(0, 1), Scale(0, 1)
    for _ in range(200):
        view = zoomed_in(view, full, None)
    assert view.low < view.high


def dots_of(raster: Raster) -> set[tuple[int, int]]:
    """Braille read back by Unicode's own numbering of the dots: the plain definition."""
    numbering = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    return {
        (column * 2 + numbering[bit][0], row * 4 + numbering[bit][1])
        for row, column, character, _ in raster.cells()
        for bit in range(8)
        if (ord(character) - 0x2800) >> bit & 1
    }


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 11), st.integers(0, 11)), max_size=10))
def test_a_raster_holds_just_the_dots_of_its_spans(drawn: list[tuple[int, int, int]]) -> None:
    spans = [(column, min(a, b), max(a, b)) for column, a, b in drawn]
    raster = Raster(5, 3)
    raster.add(spans, (True,), 0)
    assert dots_of(raster) == {(column, row) for column, top, bottom in spans for row in range(top, bottom + 1)}


def test_a_dash_leaves_columns_out() -> None:
    raster = Raster(4, 1)
    raster.add([(column, 0, 0) for column in range(8)], (True, False), 0)
    assert dots_of(raster) == {(0, 0), (2, 0), (4, 0), (6, 0)}


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-3, 12), st.text("ab漢字é\u0301", max_size=6)), max_size=8))
def test_a_grid_keeps_its_width_whatever_is_written(written: list[tuple[int, int, str]]) -> None:
    grid = Grid(10, 3, "base")
    for row, column, text in written:
        grid.put(row, column, text, "label")
    assert [cell_len(text) for text in text_of(grid.rows())] == [10, 10, 10]


def test_a_legend_gives_up_the_title_before_the_values() -> None:
    traces = [prepare(Series("mamba_s", [1], [0.5])), prepare(Series("amn", [1], [0.25], 1))]

    def fitted(width: int) -> str:
        (runs,) = legend(Plot(traces, title="val_cosine"), width)
        return "".join(text for text, _ in runs)

    assert fitted(80) == "val_cosine  ●━━ mamba_s 0.5  ◆╌╌ amn 0.25"
    assert fitted(32) == "●━━ mamba_s 0.5  ◆╌╌ amn 0.25"
    assert fitted(26) == "● mamba_s 0.5  ◆ amn 0.25"
    assert fitted(20) == "● mam 0.5  ◆ amn 0.25"[:20] or len(fitted(20)) <= 20


def test_a_legend_at_the_cursor_gives_up_the_dashes_before_it_gives_up_where_that_is() -> None:
    """Values of epoch 1 without a word of it read as the last ones."""
    traces = [prepare(Series("mamba_s", [1, 2], [0.5, 0.6])), prepare(Series("amn", [1, 2], [0.25, 0.3], 1))]

    def fitted(width: int) -> str:
        (runs,) = legend(Plot(traces, title="val_cosine", x_label="epoch", cursor_x=1.0), width)
        return "".join(text for text, _ in runs)

    assert fitted(38) == "epoch 1  ●━━ mamba_s 0.5  ◆╌╌ amn 0.25"
    assert fitted(37) == fitted(34) == "epoch 1  ● mamba_s 0.5  ◆ amn 0.25"
    assert fitted(33) == "● mamba_s 0.5  ◆ amn 0.25"


def test_a_column_of_the_picture_stands_for_an_x() -> None:
    plot = cosine_plot()
    assert x_at(plot, 80, 16, 0) == 1
    assert x_at(plot, 80, 16, 79) == 7
    assert x_at(Plot(), 80, 16, 5) is None
