"""From a trace to the dots it covers.

More points than columns of dots: each column spans from its smallest to its largest value, so no spike is ever lost.
Of a smoothed line, whose measured values are drawn behind it, each column has its last value instead: a line to follow.
Fewer: straight segments between them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from tui.widgets.braille import Span
from tui.widgets.plot_data import Trace
from tui.widgets.plot_scale import Scale

_FAR = 1e9
"""Dots. Positions beyond are cut to this: far outside of any screen, and small enough to compute with."""


def visible(trace: Trace, x: Scale) -> tuple[int, int]:
    """The points within the scale, as a half-open range of indices."""
    return bisect_left(trace.xs, x.low), bisect_right(trace.xs, x.high)


def line_spans(trace: Trace, x: Scale, y: Scale, columns: int, rows: int) -> list[Span]:
    """The dots of a trace.

    Args:
        trace: What to draw: its `ys`, which are smoothed where they are not its `raw` values.
        x: Its horizontal axis, from the first column's centre to the last one's.
        y: Its vertical axis, from the last row's centre to the first one's.
        columns: Columns of dots.
        rows: Rows of dots.

    Returns:
        Spans within the raster; several for a column where several segments cross it.
    """
    first, last = visible(trace, x)
    if last - first > columns:
        found = _bucketed(trace, x, y, columns, rows, first, last)
    else:
        # one neighbour on each side, so that a line runs on to the edge of a zoomed view
        found = _segments(trace, x, y, columns, rows, max(first - 1, 0), min(last + 1, len(trace.xs)))
    floor = rows - 1
    if all(top >= 0 and bottom <= floor for _, top, bottom in found):
        return found
    return [(column, max(top, 0), min(bottom, floor)) for column, top, bottom in found if top <= floor and bottom >= 0]


def position(values: Sequence[float], scale: Scale, dots: int) -> list[float]:
    """Where finite values lie on an axis of that many dots: 0 at its low end, dots - 1 at its high end."""
    half = 0.5 if math.isinf(scale.high - scale.low) else 1.0
    low = scale.low * half
    factor = (dots - 1) / (scale.high * half - low)
    if half == 1.0 and values and scale.low <= min(values) and max(values) <= scale.high:
        return [(value - low) * factor for value in values]  # nearly always: what is visible fits
    if half == 1.0:
        return [max(min((value - low) * factor, _FAR), -_FAR) for value in values]
    return [max(min((value * half - low) * factor, _FAR), -_FAR) for value in values]


def _bucketed(trace: Trace, x: Scale, y: Scale, columns: int, rows: int, first: int, last: int) -> list[Span]:
    """Smallest and largest, or the mean so far, of each column, joined to the column before unless a gap is between."""
    xs, ys = trace.xs, trace.ys
    is_smoothed = trace.raw is not ys
    starts = frozenset(trace.starts)
    edges = [x.at((column + 0.5) / (columns - 1)) for column in range(columns - 1)] if columns > 1 else []
    found: list[int] = []  # the columns that hold points
    extremes: list[float] = []  # four for each of them: smallest, largest, first, last
    joined: list[bool] = []
    begin = first
    for column in range(columns):
        end = bisect_left(xs, edges[column], begin, last) if column < len(edges) else last
        if end == begin:
            continue
        found.append(column)
        if is_smoothed:
            extremes += (ys[end - 1],) * 4
        else:
            inside = ys[begin:end]
            extremes += (min(inside), max(inside), inside[0], inside[-1])
        joined.append(begin > first and begin not in starts)
        begin = end
    floor = rows - 1
    at = [floor - round(p) for p in position(extremes, y, rows)]
    spans: list[Span] = []
    for index, column in enumerate(found):
        bottom, top, opening, _ = at[index * 4 : index * 4 + 4]
        if joined[index]:
            before, from_row = found[index - 1], at[index * 4 - 1]
            if column - before > 1:
                _add_segment(spans, before, from_row, column, opening, columns)
            # reach next to where the column before ended
            elif from_row < top:
                top = from_row + 1
            elif from_row > bottom:
                bottom = from_row - 1
        spans.append((column, top, bottom))
    return spans


def _segments(trace: Trace, x: Scale, y: Scale, columns: int, rows: int, first: int, last: int) -> list[Span]:
    """Straight lines from point to point."""
    at_x = position(trace.xs[first:last], x, columns)
    floor = rows - 1
    at_y = [floor - p for p in position(trace.ys[first:last], y, rows)]
    starts = {index - first for index in trace.starts}
    spans: list[Span] = []
    for index, (column, row) in enumerate(zip(at_x, at_y, strict=True)):
        if index == 0 or index in starts:
            if 0 <= round(column) < columns:
                spans.append((round(column), round(row), round(row)))
        else:
            _add_segment(spans, at_x[index - 1], at_y[index - 1], column, row, columns)
    return spans


def _add_segment(spans: list[Span], x0: float, y0: float, x1: float, y1: float, columns: int) -> None:
    """One straight line between two positions, x0 <= x1, clipped to the columns."""
    from_column, to_column = round(x0), round(x1)
    if from_column == to_column:
        if 0 <= from_column < columns:
            spans.append((from_column, round(min(y0, y1)), round(max(y0, y1))))
        return
    slope = (y1 - y0) / (x1 - x0)
    first, last = max(from_column, 0), min(to_column, columns - 1)
    left = y0 if first == from_column else y0 + (first - 0.5 - x0) * slope
    for column in range(first, last + 1):
        right = y1 if column == to_column else y0 + (column + 0.5 - x0) * slope
        spans.append((column, round(left), round(right)) if slope >= 0 else (column, round(right), round(left)))
        left = right
