"""The line above a chart: what is drawn how, and the last value of each, or the values at the cursor."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from tui.text import clean
from tui.widgets.cell_grid import Run
from tui.widgets.plot_data import Forecast, Trace
from tui.widgets.plot_forecast import forecast_labels, sample
from tui.widgets.plot_look import dim_style, look, marker, series_style
from tui.widgets.plot_model import Plot
from tui.widgets.plot_scale import time_label, value_label

_VALUE_CELLS = 7
"""Room kept for a value, `~0.4719`: the legend must not change its height as the cursor moves."""
_X_CELLS = 8
"""The same for the cursor's position."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the picture, and what it reads."""

    mark: str
    dash: str
    style: str
    name: str
    value: str
    interval: str = ""

    def runs(self, *, has_dash: bool, has_interval: bool = False, cells: int | None = None) -> list[Run]:
        """Sample, name (of at most so many cells), value and interval."""
        name = self.name if cells is None else _cut(self.name, cells)
        value = self.value + (self.interval if has_interval else "")
        text = f" {name} {value}" if name else f" {value}"
        return [(self.mark + (self.dash if has_dash else ""), self.style), (text, "legend")]


def value_at(trace: Trace, x: float) -> str:
    """What a series reads at x: its value there, the last one before marked as such, or the word for a gap."""
    index = bisect_right(trace.xs, x)
    gap = bisect_right(trace.gaps, x)
    if gap and (not index or trace.gaps[gap - 1] > trace.xs[index - 1]):
        return "gap" if trace.gaps[gap - 1] == x else "~gap"
    if not index:
        return "-"
    return ("" if trace.xs[index - 1] == x else "~") + value_label(trace.values[index - 1])


def last_value(trace: Trace) -> str:
    """A series' newest value, or the word for a gap: an infinite loss must not read as the last good one."""
    newest = max([*trace.xs[-1:], *trace.gaps[-1:]], default=0.0)
    return value_at(trace, newest)


def next_x(traces: Sequence[Trace], x: float, direction: int, forecasts: Sequence[Forecast] = ()) -> float | None:
    """The nearest x with data or a forecast to the right (1) or to the left (-1) of x; None if there is none."""
    found: list[float] = []
    for xs in (*(xs for trace in traces for xs in (trace.xs, trace.gaps)), *(forecast.xs for forecast in forecasts)):
        index = bisect_right(xs, x) if direction > 0 else bisect_left(xs, x) - 1
        if 0 <= index < len(xs):
            found.append(xs[index])
    return None if not found else min(found) if direction > 0 else max(found)


def legend(plot: Plot, width: int, max_rows: int = 1) -> list[list[Run]]:
    """Rows of runs of text that fit the width, not padded: the title, then each line's sample, name and value.

    What fits into no number of rows goes in this order: the intervals, the title, the dash samples (the markers stay),
    the ends of the names. At the cursor its position takes the title's place, and goes after the dash samples.
    """
    entries = [*_entries(plot)]
    if not plot.has_names:
        return _without_names(_title(plot), entries, width, max_rows)
    heading = _title(plot) if plot.cursor_x is None else _position(plot, plot.cursor_x)
    if max_rows > 1 and _fitted(heading, entries, width, 1) is None:
        wrapped = _fitted(heading, entries, width, max_rows)
        if wrapped is not None:
            return [_joined(row) for row in wrapped]
    # at the cursor, which x is read off matters more than how the dashes look
    second = ("", True) if plot.cursor_x is None else (heading, False)
    tries = ((heading, True, True), (heading, True, False), (*second, False), ("", False, False))
    for shown_heading, has_dash, has_interval in tries:
        runs = _joined(_parts(shown_heading, entries, has_dash=has_dash, has_interval=has_interval))
        if _cells(runs) <= width:
            return [runs]
    names = sum(cell_len(entry.name) for entry in entries)
    keep = max(names - (_cells(runs) - width), 0) // max(len(entries), 1)
    return [_joined([entry.runs(has_dash=False, cells=keep) for entry in entries])]


def _entries(plot: Plot) -> Iterable[_Entry]:
    """Every line of the picture: measured ones, then forecasts, which say that they are."""
    for trace in plot.traces:
        value = last_value(trace) if plot.cursor_x is None else value_at(trace, plot.cursor_x)
        dash = look(trace.kind).ascii_line * 2 if plot.ascii_only else look(trace.kind).sample
        name = clean(trace.name) if plot.has_names else ""
        yield _Entry(marker(trace.kind, plot.ascii_only), dash, series_style(trace.kind), name, value)
    for forecast in plot.forecasts if plot.has_names else ():
        at = plot.cursor_x if plot.cursor_x is not None else max(forecast.xs[-1:], default=0.0)
        look_of_it = sample(forecast.kind, plot.ascii_only)
        yield _Entry(look_of_it, "", dim_style(forecast.kind), clean(forecast.name), *forecast_labels(forecast, at))


def _title(plot: Plot) -> str:
    label = clean(plot.y_label)
    return f"{clean(plot.title)} ({label})" if plot.title and label else clean(plot.title) or label


def _position(plot: Plot, x: float) -> str:
    name = clean(plot.x_label) or "x"
    if plot.x_is_time:
        return f"{name} {time_label(x)}"
    return f"{name} {value_label(x) if abs(x) < 1e4 else f'{x:.10g}'}"


def _without_names(heading: str, entries: Sequence[_Entry], width: int, max_rows: int) -> list[list[Run]]:
    """The title and the values, on a row each where there are two; the title outlasts the values."""
    title: list[list[Run]] = [[(heading, "title")]] if heading else []
    values = [entry.runs(has_dash=False) for entry in entries]
    if max_rows > 1:
        return [_joined(title), _joined(values)]
    runs = _joined([*title, *values])
    return [runs if _cells(runs) <= width else _joined(title)]


def _fitted(heading: str, entries: Sequence[_Entry], width: int, max_rows: int) -> list[list[list[Run]]] | None:
    """The parts on as few rows as they need with room for any value; None if there are too few rows."""
    rows: list[list[list[Run]]] = [[]]
    used = 0
    widths = [max(cell_len(heading), _X_CELLS)] if heading else []
    for entry in entries:
        fixed = cell_len(entry.mark + entry.dash + entry.name + entry.interval) + 2
        widths.append(fixed + max(len(entry.value), _VALUE_CELLS))
    for cells, part in zip(widths, _parts(heading, entries, has_dash=True, has_interval=True), strict=True):
        if rows[-1] and used + 2 + cells > width:
            rows.append([])
            used = 0
        used += cells + (2 if rows[-1] else 0)
        rows[-1].append(part)
        if used > width or len(rows) > max_rows:
            return None
    return rows


def _parts(heading: str, entries: Sequence[_Entry], *, has_dash: bool, has_interval: bool) -> list[list[Run]]:
    parts = [entry.runs(has_dash=has_dash, has_interval=has_interval) for entry in entries]
    return [[(heading, "title")], *parts] if heading else parts


def _joined(parts: Sequence[list[Run]]) -> list[Run]:
    runs: list[Run] = []
    for part in parts:
        runs += [("  ", "legend"), *part] if runs else part
    return runs


def _cells(runs: Sequence[Run]) -> int:
    return sum(cell_len(text) for text, _ in runs)


def _cut(name: str, cells: int) -> str:
    """The beginning of a name, so many cells wide at most."""
    while cell_len(name) > cells:
        name = name[:-1]
    return name
