"""What a picture shows, and where in it the lines go: the plot, its extents and the area that maps numbers to cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui.text import clean
from tui.widgets.plot_data import Forecast, Level, Mark, Spot, Trace
from tui.widgets.plot_line import position, visible
from tui.widgets.plot_scale import Scale, fit, span

_MARGIN = 0.04
"""Share of the y range left free above and below: a line along the edge is easily taken for the frame."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything that a picture shows."""

    traces: Sequence[Trace] = ()
    """The first is drawn on top."""
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    spots: Sequence[Spot] = ()
    forecasts: Sequence[Forecast] = ()
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    empty_text: str = "no data yet"
    cursor_x: float | None = None
    view: Scale | None = None
    """The visible part of the x axis; None shows all of it."""
    x_range: tuple[float, float] | None = None
    """What the x axis shows at least when it shows everything."""
    y_range: tuple[float, float] | None = None
    """What the y axis shows at least: values, not logarithms."""
    log_y: bool = False
    """The traces' ys are base-10 logarithms."""
    x_is_time: bool = False
    """The x axis counts seconds, and its ticks are told in s, m and h."""
    has_names: bool = True
    """Whether series, levels and marks are named; a small chart among others has no room for it."""
    ascii_only: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """Where the lines go, in cells, and the axes that map numbers to it."""

    left: int
    top: int
    width: int
    height: int
    x: Scale
    y: Scale

    def column(self, x: float) -> int | None:
        """The column of cells of an x; None if it is not visible."""
        return self.left + round(position([x], self.x, self.width)[0]) if self.x.low <= x <= self.x.high else None

    def row(self, y: float) -> int | None:
        """The row of cells of a y; None if it is not visible."""
        if not self.y.low <= y <= self.y.high:
            return None
        return self.top + self.height - 1 - round(position([y], self.y, self.height)[0])


def x_extent(
    traces: Sequence[Trace], at_least: tuple[float, float] | None = None, forecasts: Sequence[Forecast] = ()
) -> Scale | None:
    """The x axis that shows all points, gaps and forecasts; None without a point or gap."""
    ends = [x for trace in traces for xs in (trace.xs, trace.gaps) for x in (*xs[:1], *xs[-1:])]
    ahead = [x for forecast in forecasts for x in forecast.xs[-1:]]
    return fit([*ends, *ahead, *(at_least or ())]) if ends else None


def shown_x(plot: Plot) -> Scale | None:
    """The visible part of the x axis; None where there is nothing to show."""
    return plot.view or x_extent(plot.traces, plot.x_range, plot.forecasts)


def on_axis(value: float, log_y: bool) -> float | None:
    """Where a number lies on the y axis: itself, or its logarithm; None where it has no place there."""
    if not math.isfinite(value) or (log_y and value <= 0):
        return None
    return math.log10(value) if log_y else value


def drawable_levels(levels: Sequence[Level], log_y: bool) -> list[tuple[int, float, str]]:
    """Place in the list, position on the y axis and label of the levels that have a position."""
    placed = ((index, on_axis(level.value, log_y), clean(level.label)) for index, level in enumerate(levels))
    return [(index, value, label) for index, value, label in placed if value is not None]


def y_extent(plot: Plot, x: Scale) -> Scale:
    """The y axis that shows what is visible of the series, and every level."""
    at_least = [Level(value, "") for value in plot.y_range or ()]
    ends = [value for _, value, _ in drawable_levels([*plot.levels, *at_least], plot.log_y)]
    for trace in plot.traces:
        first, last = visible(trace, x)
        if last > first:
            inside = trace.raw[first:last]
            # each mean lies between the one before it and what is measured
            ends += (min(inside), max(inside), trace.ys[first])
    for forecast in plot.forecasts:
        for at, low, high in zip(forecast.xs, forecast.lows, forecast.highs, strict=True):
            if x.low <= at <= x.high:
                ends += [end for end in (on_axis(low, plot.log_y), on_axis(high, plot.log_y)) if end is not None]
    return span(min(ends), max(ends), _MARGIN) if ends else Scale(0.0, 1.0)
