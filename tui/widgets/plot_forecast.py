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


def draw_forecasts(grid: Grid, plot: Plot, area: Area) -> None:
    """Interval and middle of every forecast; rules and lines are drawn over it later."""
    for forecast in reversed(plot.forecasts):
        style = looks.dim_style(forecast.kind)
        band, guess = (looks.ASCII_BAND, looks.ASCII_GUESS) if plot.ascii_only else (looks.BAND, looks.GUESS)
        for column in range(area.width):
            found = interval_at(forecast, area.x.at(column / max(area.width - 1, 1)))
            if found is None:
                continue
            low, middle, high = (on_axis(value, plot.log_y) for value in found)
            if low is None or middle is None or high is None:
                continue
            # of an interval that reaches beyond the picture, what is within
            top, bottom = (area.row(min(max(end, area.y.low), area.y.high)) for end in (high, low))
            if top is None or bottom is None:
                continue
            if area.y.low <= high and low <= area.y.high:
                for row in range(top, bottom + 1):
                    grid.put(row, area.left + column, band, style)
            middle_row = area.row(middle)
            if middle_row is not None and column % _DASH == 0:
                grid.put(middle_row, area.left + column, guess, style)


def mark_forecasts(grid: Grid, plot: Plot, area: Area, taken: frozenset[str]) -> None:
    """Its points, and the word for it where nothing is drawn, as near to its end as there is room."""
    for forecast in plot.forecasts:
        hollow = looks.ASCII_GUESS if plot.ascii_only else looks.look(forecast.kind).hollow
        for x, y in zip(forecast.xs[1:], forecast.ys[1:], strict=True):
            placed = on_axis(y, plot.log_y)
            at_x, at_y = area.column(x), None if placed is None else area.row(placed)
            if at_x is not None and at_y is not None:
                grid.put(at_y, at_x, hollow, looks.dim_style(forecast.kind))
        value = on_axis(forecast.ys[-1], plot.log_y) if forecast.ys else None
        column, row = area.column(forecast.xs[-1]) if forecast.xs else None, None if value is None else area.row(value)
        if column is None or row is None:
            continue
        text = f"{clean(forecast.name)} {value_label(forecast.ys[-1])}".strip()
        begin = min(column, area.left + area.width) - cell_len(text)
        for distance in range(1, area.height):
            free = [
                at
                for at in (row - distance, row + distance)
                if area.top <= at < area.top + area.height and grid.is_free(at, begin, cell_len(text), taken)
            ]
            if free:
                grid.put(free[0], begin, text, looks.dim_style(forecast.kind))
                break
