"""The line above a chart: what is drawn how, and the last value of each, or the values at the cursor."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from rich.cells import cell_len

from tui.text import clean
from tui.widgets.cell_grid import Run
from tui.widgets.plot_data import Trace
from tui.widgets.plot_look import look, marker, series_style
from tui.widgets.plot_scale import value_label


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


def next_x(traces: Sequence[Trace], x: float, direction: int) -> float | None:
    """The nearest x with data to the right (1) or to the left (-1) of x; None if there is none."""
    found: list[float] = []
    for trace in traces:
        for xs in (trace.xs, trace.gaps):
            index = bisect_right(xs, x) if direction > 0 else bisect_left(xs, x) - 1
            if 0 <= index < len(xs):
                found.append(xs[index])
    return None if not found else min(found) if direction > 0 else max(found)


def legend(
    traces: Sequence[Trace], *, title: str, x_label: str, cursor_x: float | None, ascii_only: bool, width: int
) -> list[Run]:
    """Runs of text that fit the width, not padded: the title, then each series' sample, name and value.

    What does not fit goes in this order: the title, the dash samples (the markers stay), the ends of the names.
    """
    heading = clean(title)
    if cursor_x is not None:
        heading = f"{clean(x_label) or 'x'} {value_label(cursor_x) if abs(cursor_x) < 1e4 else f'{cursor_x:.10g}'}"
    entries = []
    for trace in traces:
        value = last_value(trace) if cursor_x is None else value_at(trace, cursor_x)
        entries.append((trace.kind, clean(trace.name), value))
    # at the cursor, which x is read off matters more than how the dashes look
    for shown_heading, has_sample in ((heading, True), ("" if cursor_x is None else heading, True), ("", False)):
        runs = _runs(shown_heading, entries, has_sample, ascii_only)
        if sum(cell_len(text) for text, _ in runs) <= width:
            return runs
    names = sum(cell_len(name) for _, name, _ in entries)
    excess = sum(cell_len(text) for text, _ in runs) - width
    keep = max(names - excess, 0) // max(len(entries), 1)
    return _runs("", [(kind, _cut(name, keep), value) for kind, name, value in entries], False, ascii_only)


def _runs(heading: str, entries: Sequence[tuple[int, str, str]], has_sample: bool, ascii_only: bool) -> list[Run]:
    runs: list[Run] = [(heading, "title")] if heading else []
    for kind, name, value in entries:
        sample = marker(kind, ascii_only)
        if has_sample:
            sample += look(kind).ascii_line * 2 if ascii_only else look(kind).sample
        if runs:
            runs.append(("  ", "legend"))
        runs += [(sample, series_style(kind)), (f" {name} {value}" if name else f" {value}", "legend")]
    return runs


def _cut(name: str, cells: int) -> str:
    """The beginning of a name, so many cells wide at most."""
    while cell_len(name) > cells:
        name = name[:-1]
    return name
