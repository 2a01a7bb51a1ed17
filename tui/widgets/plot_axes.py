"""The frame of a chart: axes, ticks and their numbers, and how much room that leaves for the lines."""

from __future__ import annotations

from rich.cells import cell_len

from tui.text import clean
from tui.widgets.cell_grid import Grid
from tui.widgets.plot_model import Area, Plot, drawable_levels, y_extent
from tui.widgets.plot_scale import Scale, log_ticks, tick_labels, ticks, time_label, time_ticks

_LABELS_BESIDE = 50
"""From this many cells of width, levels are labelled beside the plot instead of within."""
_NAME_BESIDE = 30
"""From this many cells of width, the x axis shows its name beside its numbers."""


def draw_axes(grid: Grid, plot: Plot, x: Scale, legend_rows: int = 1) -> Area | None:
    """Ticks, their numbers and the frame below the legend; None if that leaves no room for lines."""
    has_axis, has_numbers, top = grid.height >= 5, grid.height >= 4, legend_rows if grid.height >= 2 else 0
    height = grid.height - top - has_axis - has_numbers
    y = y_extent(plot, x)
    y_ticks = (log_ticks if plot.log_y else ticks)(y, max(height // 2, 1))
    labels = [_power(tick) for tick in y_ticks] if plot.log_y else tick_labels(y_ticks)
    gutter = max(map(len, labels), default=0) + 1 if grid.width >= 20 else 0
    beside = [cell_len(label) for _, _, label in drawable_levels(plot.levels, plot.log_y) if label]
    margin = min(max(beside) + 4, grid.width // 4) if beside and grid.width >= _LABELS_BESIDE else 0
    width = grid.width - gutter - margin
    if width < 1 or height < 1:
        return None
    area = Area(gutter, top, width, height, x, y)
    upright, corner, along, tick_mark = ("|", "+", "-", "+") if plot.ascii_only else ("│", "└", "─", "┬")
    if gutter:
        for row in range(height):
            grid.put(top + row, gutter - 1, upright, "axis")
        for tick, label in zip(y_ticks, labels, strict=True):
            row_of_tick = area.row(tick)
            if row_of_tick is not None:
                grid.put(row_of_tick, gutter - 1 - len(label), label, "label")
                grid.put(row_of_tick, gutter - 1, "+" if plot.ascii_only else "┤", "axis")
    if has_axis:
        grid.put(top + height, max(gutter - 1, 0), (corner if gutter else "") + along * width, "axis")
    if has_numbers:
        _draw_x_ticks(grid, plot, area, tick_mark if has_axis else None)
    return area


def _draw_x_ticks(grid: Grid, plot: Plot, area: Area, tick_mark: str | None) -> None:
    row = grid.height - 1
    integers = all(float(x).is_integer() for trace in plot.traces for x in (*trace.xs[:2], *trace.xs[-1:]))
    name = clean(plot.x_label)
    end = grid.width
    if name and grid.width >= _NAME_BESIDE and cell_len(name) <= grid.width // 3:
        end -= cell_len(name)
        grid.put(row, end, name, "label")
    most = max(area.width // 8, 3)
    x_ticks = time_ticks(area.x, most) if plot.x_is_time else ticks(area.x, most, integers=integers)
    labels = [time_label(tick) for tick in x_ticks] if plot.x_is_time else tick_labels(x_ticks)
    free_from = 0
    for tick, label in zip(x_ticks, labels, strict=True):
        column = area.column(tick)
        if column is None:
            continue
        if tick_mark:
            grid.put(row - 1, column, tick_mark, "axis")
        begin = min(max(column - len(label) // 2, 0), grid.width - len(label))
        if free_from <= begin and begin + len(label) < end + (end == grid.width):
            grid.put(row, begin, label, "label")
            free_from = begin + len(label) + 1


def _power(exponent: float) -> str:
    return f"{10**exponent:.3g}" if -300 < exponent < 300 else f"1e{exponent:.0f}"
