"""A line chart as rows of characters and style names: a pure function, for the widget, for tests and for exports.

From the back to the front: intervals of forecasts, vertical marks, levels, lines (what was measured dim behind what is
smoothed), gaps, point markers, spots, labels of marks, cursor, labels of levels, forecasts where nothing measured is.
The y axis is fitted to what is visible of the series and to the levels, so a gate's bar is always in sight.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from rich.cells import cell_len

from tui.text import clean
from tui.widgets import plot_look as looks
from tui.widgets.braille import Raster
from tui.widgets.cell_grid import Grid, Run
from tui.widgets.plot_axes import draw_axes
from tui.widgets.plot_data import Trace
from tui.widgets.plot_forecast import draw_bands, mark_forecasts
from tui.widgets.plot_legend import legend
from tui.widgets.plot_line import line_spans, visible
from tui.widgets.plot_model import Area, Plot, drawable_levels, on_axis, shown_x
from tui.widgets.plot_scale import Scale

STYLES = (
    *("base", "axis", "label", "title", "legend", "mark", "gap", "cursor", "empty"),
    *(looks.series_style(kind) for kind in range(len(looks.LOOKS))),
    *(looks.dim_style(kind) for kind in range(len(looks.LOOKS))),
    *(looks.level_style(index) for index in range(len(looks.LEVELS))),
)
"""Every style name that a picture may use."""

_MEASURED = frozenset(name for name in STYLES if name.startswith("series") or name in ("gap", "cursor"))
"""What a forecast must not be written over."""
_COVERED = frozenset(name for name in STYLES if name.startswith(("series", "dim")) or name in ("label", "gap"))
"""What a level's label must not be written over."""
_TWO_ROWS_FROM = {True: 14, False: 7}
"""From this many rows of height, the legend may take two of them: with names, and in a small chart without."""
_RAW = -1
"""Owner of the first trace's measured dots behind its smoothed line; those of the others count down from here."""
_LEVELS = frozenset(name for name in STYLES if name.startswith("level"))


def draw(plot: Plot, width: int, height: int) -> list[list[Run]]:
    """The picture of a plot.

    Args:
        plot: What to show. Any numbers will do; those that cannot be drawn are left out.
        width: Cells; made for 20 and more, poorer below.
        height: Cells; made for 5 and more, poorer below.

    Returns:
        `height` rows of (text, style name), each exactly `width` cells wide.
    """
    grid = Grid(max(width, 0), max(height, 0), "base")
    rows = legend(plot, grid.width, 2 if grid.height >= _TWO_ROWS_FROM[plot.has_names] else 1)
    for row, runs in enumerate(rows):
        column = 0
        for text, style in runs:
            grid.put(row, column, text, style)
            column += cell_len(text)
    if not any(trace.xs for trace in plot.traces):
        _draw_empty(grid, plot)
        return grid.rows()
    shown = shown_x(plot)
    area = draw_axes(grid, plot, shown, len(rows)) if shown else None
    if area is not None:
        draw_bands(grid, plot, area)
        _draw_rules(grid, plot, area)
        _draw_lines(grid, plot, area)
        _draw_spots(grid, plot, area)
        if plot.has_names:
            _label_marks(grid, plot, area)
        _draw_cursor(grid, plot, area)
        if plot.has_names:
            _label_levels(grid, plot, area)
        mark_forecasts(grid, plot, area, _MEASURED, _COVERED | _LEVELS | {"mark"})
    return grid.rows()


def x_at(plot: Plot, width: int, height: int, column: int) -> float | None:
    """The x that a column of the picture stands for, the nearest end beside the plot; None if nothing is plotted."""
    shown = shown_x(plot)
    area = draw_axes(Grid(width, height, "base"), plot, shown) if shown else None
    if area is None:
        return None
    return area.x.at(min(max((column - area.left) / max(area.width - 1, 1), 0.0), 1.0))


def _draw_rules(grid: Grid, plot: Plot, area: Area) -> None:
    """Vertical marks and horizontal levels."""
    for mark in plot.marks:
        column = area.column(mark.x)
        for row in range(area.height if column is not None else 0):
            grid.put(area.top + row, column or 0, looks.ASCII_MARK if plot.ascii_only else looks.MARK, "mark")
    for index, value, _ in reversed(drawable_levels(plot.levels, plot.log_y)):
        level_row = area.row(value)
        if level_row is not None:
            grid.put(level_row, area.left, _level_line(index, plot.ascii_only) * area.width, looks.level_style(index))


def _draw_lines(grid: Grid, plot: Plot, area: Area) -> None:
    raster = Raster(area.width, area.height, ascii_only=plot.ascii_only)
    for index, trace in reversed(list(enumerate(plot.traces))):
        if trace.raw is not trace.ys:
            measured = replace(trace, ys=trace.raw)  # neither is smoothed now
            spans = line_spans(measured, area.x, area.y, raster.dot_columns, raster.dot_rows)
            raster.add(spans, (True,), _RAW - index)
    for trace in reversed(plot.traces):
        look = looks.look(trace.kind)
        spans = line_spans(trace, area.x, area.y, raster.dot_columns, raster.dot_rows)
        raster.add(spans, look.ascii_dash if plot.ascii_only else look.dash, trace.kind)
    owners = {trace.kind: (looks.look(trace.kind).ascii_line, looks.series_style(trace.kind)) for trace in plot.traces}
    owners |= {_RAW - index: (looks.ASCII_RAW, looks.dim_style(trace.kind)) for index, trace in enumerate(plot.traces)}
    for row, column, character, owner in raster.cells():
        # straight into the lists: every one of these characters is one cell wide
        plain, style = owners[owner]
        grid.characters[area.top + row][area.left + column] = character or plain
        grid.styles[area.top + row][area.left + column] = style
    for trace in reversed(plot.traces):
        columns = {area.column(x) for x in trace.gaps[_inside(trace.gaps, area.x)]}
        for column in (column for column in columns if column is not None):
            grid.put(area.top + area.height - 1, column, looks.GAP, "gap")
        for index in _marked(trace, area):
            _draw_point(grid, area, trace, index, plot.ascii_only)


def _marked(trace: Trace, area: Area) -> Sequence[int]:
    """The points that get a marker: all if they are few, else those that no line joins to another."""
    first, last = visible(trace, area.x)
    if (last - first) * 3 <= area.width:
        return range(first, last)
    starts = {0, *trace.starts}
    alone = [index for index in starts if first <= index < last and (index + 1 in starts or index + 1 == len(trace.xs))]
    # many lone points in one column look like one
    return list({area.column(trace.xs[index]): index for index in alone}.values())


def _draw_point(grid: Grid, area: Area, trace: Trace, index: int, ascii_only: bool) -> None:
    column, row = area.column(trace.xs[index]), area.row(trace.raw[index])
    if column is not None and row is not None:
        grid.put(row, column, looks.marker(trace.kind, ascii_only), looks.series_style(trace.kind))


def _draw_spots(grid: Grid, plot: Plot, area: Area) -> None:
    """The points that stand out, each with its label near it, where nothing is drawn."""
    for spot in reversed(plot.spots):
        value = on_axis(spot.value, plot.log_y)
        column, row = area.column(spot.x), None if value is None else area.row(value)
        if column is None or row is None:
            continue
        grid.put(row, column, looks.ASCII_SPOT if plot.ascii_only else looks.SPOT, looks.series_style(spot.kind))
        text = clean(spot.label)
        cells = cell_len(text)
        centred = max(min(column - cells // 2, area.left + area.width - cells), area.left)
        beside = (column - cells - 1, column + 2)
        for at, begin in product((row - 1, row + 1, row, row - 2, row + 2), (centred, *beside)):
            within = area.top <= at < area.top + area.height and area.left <= begin <= area.left + area.width - cells
            if within and _has_room(grid, at, begin, cells):
                grid.put(at, begin, text, looks.series_style(spot.kind))
                break


def _draw_cursor(grid: Grid, plot: Plot, area: Area) -> None:
    column = None if plot.cursor_x is None else area.column(plot.cursor_x)
    if plot.cursor_x is None or column is None:
        return
    for row in range(area.top, area.top + area.height):
        grid.put(row, column, looks.ASCII_CURSOR if plot.ascii_only else looks.CURSOR, "cursor")
    for trace in reversed(plot.traces):
        index = bisect_left(trace.xs, plot.cursor_x)
        if index < len(trace.xs) and trace.xs[index] == plot.cursor_x:
            _draw_point(grid, area, trace, index, plot.ascii_only)


def _label_marks(grid: Grid, plot: Plot, area: Area) -> None:
    """Each mark's label beside it, in the highest row where nothing is drawn yet."""
    for mark in sorted(plot.marks, key=lambda mark: mark.x):
        column, label = area.column(mark.x), clean(mark.label)
        if column is None or not label:
            continue
        right, cells = column + 1, cell_len(label)
        begin = right if right + cells <= area.left + area.width else column - cells
        for row in range(area.top, area.top + area.height):
            if begin >= area.left and _has_room(grid, row, begin, cells):
                grid.put(row, begin, label, "mark")
                break


def _has_room(grid: Grid, row: int, begin: int, cells: int) -> bool:
    """Whether a label covers nothing there and is not read as one word with another beside it."""
    beside = (column for column in (begin - 1, begin + cells) if 0 <= column < grid.width)
    touches = any(grid.characters[row][column].isalnum() for column in beside)
    return not touches and grid.is_free(row, begin, cells, _COVERED | _LEVELS | {"mark"})


def _label_levels(grid: Grid, plot: Plot, area: Area) -> None:
    """Each level's dash and label at the right edge, in the nearest free row when two want the same."""
    beside = area.left + area.width < grid.width
    for index, value, label in drawable_levels(plot.levels, plot.log_y):
        wanted = area.row(value)
        if wanted is None or not label:
            continue
        text = _level_line(index, plot.ascii_only) * 2 + " " + label
        room = grid.width - area.left - area.width - 1 if beside else area.width // 2
        while cell_len(text) > room:
            text = text[:-1]
        column = area.left + area.width + 1 if beside else grid.width - cell_len(text)
        for row in (wanted, wanted - 1, wanted + 1, wanted - 2, wanted + 2):
            within = area.top <= row < area.top + area.height
            taken = _COVERED | _LEVELS if beside else _COVERED
            if within and grid.is_free(row, column, cell_len(text), taken):
                grid.put(row, column, text, looks.level_style(index) if beside else "label")
                break


def _draw_empty(grid: Grid, plot: Plot) -> None:
    has_gaps = any(trace.gaps for trace in plot.traces)
    text = clean("no finite value yet" if has_gaps else plot.empty_text)
    row = grid.height // 2 if grid.height > 1 else 0
    grid.put(row, max((grid.width - cell_len(text)) // 2, 0), text, "empty")


def _inside(xs: Sequence[float], x: Scale) -> slice:
    return slice(bisect_left(xs, x.low), bisect_right(xs, x.high))


def _level_line(index: int, ascii_only: bool) -> str:
    lines = looks.ASCII_LEVELS if ascii_only else looks.LEVELS
    return lines[index % len(lines)]
