"""How a forecast is drawn, so that nobody takes it for data: a shaded interval, a dotted middle, hollow points.

Whole cells instead of braille, on top of nothing that was measured, and the word for it at its end. Without colour the
shade tells it apart, without Unicode the question marks do.
"""

from __future__ import annotations

from bisect import bisect_right

from rich.cells import cell_len

from tui.text import clean
from tui.widgets import plot_look as looks
from tui.widgets.cell_grid import Grid
from tui.widgets.plot_data import Forecast
from tui.widgets.plot_model import Area, Plot, on_axis
from tui.widgets.plot_scale import Scale, value_label

_DASH = 2
"""The middle is drawn in every second column."""


def interval_at(forecast: Forecast, x: float) -> tuple[float, float, float] | None:
    """Low end, middle and high end at an x, straight between the epochs; None outside of the forecast."""
    if not forecast.xs or not forecast.xs[0] < x <= forecast.xs[-1]:
        return None
    after = min(bisect_right(forecast.xs, x), len(forecast.xs) - 1)
    part = Scale(forecast.xs[after - 1], forecast.xs[after]).fraction(x)
    columns = (forecast.lows, forecast.ys, forecast.highs)
    low, middle, high = (Scale(ys[after - 1], ys[after]).at(part) for ys in columns)
    return low, middle, high


def forecast_labels(forecast: Forecast, x: float) -> tuple[str, str]:
    """`0.5113` and ` (0.4862 to 0.5431)`; a dash where nothing is forecast."""
    found = interval_at(forecast, x)
    if found is None:
        return "-", ""
    low, middle, high = map(value_label, found)
    return middle, f" ({low} to {high})"


def sample(kind: int, ascii_only: bool) -> str:
    """How a forecast looks, for the legend."""
    if ascii_only:
        return looks.ASCII_BAND + looks.ASCII_GUESS + looks.ASCII_BAND
    return looks.BAND + looks.look(kind).hollow + looks.BAND


def draw_bands(grid: Grid, plot: Plot, area: Area) -> None:
    """The interval of every forecast, behind all else."""
    band = looks.ASCII_BAND if plot.ascii_only else looks.BAND
    for forecast in reversed(plot.forecasts):
        for column in range(area.width):
            found = interval_at(forecast, _x_of(area, column))
            low, high = (on_axis(found[end], plot.log_y) for end in (0, 2)) if found else (None, None)
            if low is None or high is None or high < area.y.low or low > area.y.high:
                continue
            # of an interval that reaches beyond the picture, what is within
            top, bottom = (area.row(min(max(end, area.y.low), area.y.high)) for end in (high, low))
            for row in range(top or 0, (bottom or 0) + 1):
                grid.put(row, area.left + column, band, looks.dim_style(forecast.kind))


def mark_forecasts(grid: Grid, plot: Plot, area: Area, measured: frozenset[str], taken: frozenset[str]) -> None:
    """Middle and points, wherever nothing measured is drawn; and the word for it near its end, where nothing is.

    Args:
        grid: where everything else has been drawn.
        plot: whose forecasts.
        area: where the lines go.
        measured: the styles that the middle must not cover.
        taken: those that the word must not cover.
    """
    for forecast in reversed(plot.forecasts):
        style, guess = looks.dim_style(forecast.kind), looks.ASCII_GUESS if plot.ascii_only else looks.GUESS
        hollow = looks.ASCII_GUESS if plot.ascii_only else looks.look(forecast.kind).hollow
        ahead = [interval_at(forecast, _x_of(area, column)) for column in range(0, area.width, _DASH)]
        dots = [(area.left + _DASH * place, found[1], guess) for place, found in enumerate(ahead) if found]
        points = zip(map(area.column, forecast.xs[1:]), forecast.ys[1:], strict=True)
        for column, y, character in (*dots, *((at, y, hollow) for at, y in points if at is not None)):
            value = on_axis(y, plot.log_y)
            row = None if value is None else area.row(value)
            if row is not None and grid.is_free(row, column, 1, measured):
                grid.put(row, column, character, style)
        _name(grid, plot, area, forecast, taken)


def _name(grid: Grid, plot: Plot, area: Area, forecast: Forecast, taken: frozenset[str]) -> None:
    value = on_axis(forecast.ys[-1], plot.log_y) if forecast.ys else None
    column, row = area.column(forecast.xs[-1]) if forecast.xs else None, None if value is None else area.row(value)
    if column is None or row is None or not plot.has_names:
        return
    text = f"{clean(forecast.name)} {value_label(forecast.ys[-1])}".strip()
    begin = min(column, area.left + area.width) - cell_len(text)
    for distance in range(1, area.height):
        for at in (row - distance, row + distance):
            within = area.top <= at < area.top + area.height
            if within and grid.is_free(at, begin, cell_len(text), taken):
                grid.put(at, begin, text, looks.dim_style(forecast.kind))
                return


def _x_of(area: Area, column: int) -> float:
    """The x in the middle of a column of the area."""
    return area.x.at(column / max(area.width - 1, 1))
