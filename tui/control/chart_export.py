"""What a chart shows, as files below `<runs_dir>/exports`: SVG and PNG to look at, CSV to compute with.

The picture has what the screen has, forecasts told apart from measured values. The table has every number in full,
with its run and its place in epochs, steps and seconds.
"""

from __future__ import annotations

import csv
import io
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui.control import svg_chart
from tui.control.curves import AXES, Axis, Course, Metric, best_point, decisions, levels, outlook, positions, values
from tui.control.png_chart import png_of
from tui.control.views import RunView
from tui.ema import Ema

FOLDER = "exports"
_COLUMNS = ("run", "metric", "what", "epoch", "step", "seconds", "value", "low", "high", "smoothed")
_X_NAMES: dict[Axis, str] = {"epoch": "epoch", "step": "step", "time": "seconds of training"}
_MAX_SAME = 1000
"""Exports of one metric in one second; nobody presses a key so often."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a chart shows."""

    metric: Metric
    axis: Axis
    runs: Sequence[RunView]
    """The first is the selected one: of it alone the projection is drawn, and the levels."""
    within: tuple[float, float] | None = None
    """The visible part of the x axis; None for all of it."""
    log_y: bool = False
    smoothing: float = 0.0
    """Weight of the past in the exponential mean that is drawn; 0 for none."""
    has_levels: bool = True

    def sees(self, x: float) -> bool:
        """Whether an x is visible."""
        return math.isfinite(x) and (self.within is None or self.within[0] <= x <= self.within[1])


def export(shown: Shown, runs_dir: Path, now: float) -> tuple[list[Path], str]:
    """Write the files, under a name that nothing has yet; returns them, and why there is no PNG.

    Raises:
        OSError: they cannot be written; nothing that was there has been touched.
    """
    folder = runs_dir / FOLDER
    folder.mkdir(exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "_", shown.metric.name)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    svg = svg_of(shown)
    png, why_not = png_of(svg, svg_chart.FONTS)
    contents = {".svg": svg.encode(), ".csv": csv_of(shown).encode()} | ({".png": png} if png else {})
    for number in range(1, _MAX_SAME):
        stem = f"{name}-by-{shown.axis}-{moment}" + (f"-{number}" if number > 1 else "")
        paths = [folder / f"{stem}{ending}" for ending in contents]
        if any(path.exists() or path.is_symlink() for path in paths):
            continue
        for path, content in zip(paths, contents.values(), strict=True):
            with path.open("xb") as file:  # "x": created here, or not at all
                file.write(content)
        return paths, why_not
    raise FileExistsError(f"{folder}: {_MAX_SAME} exports of {name} in one second")


def csv_of(shown: Shown) -> str:
    """The table: a row for each visible value, measured or projected; an empty field where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for view in shown.runs:
        writer.writerows(_rows(view, shown))
    return text.getvalue()


def svg_of(shown: Shown) -> str:
    """The picture."""
    runs = shown.runs
    lines = [line for colour, view in enumerate(runs) for line in _lines(view, colour, shown)]
    bands = [band for view in runs[:1] for band in _bands(view, 0, shown)]
    bars = [(name, value) for view in runs[:1] if shown.has_levels for value, name in levels(view, shown.metric)]
    smoothed = f", smoothed {shown.smoothing:g}" if shown.smoothing else ""
    return svg_chart.draw_chart(
        f"{shown.metric.name} by {shown.axis}{smoothed}",
        lines,
        levels=bars,
        marks=[mark for view in runs[:1] if shown.has_levels for mark in _marks(view, shown)],
        bands=bands,
        x_name=_X_NAMES[shown.axis],
        log_y=shown.log_y,
    )


def _rows(view: RunView, shown: Shown) -> Iterator[tuple[object, ...]]:
    metric, course = shown.metric, Course(view)
    places = [positions(view, metric, axis) for axis in AXES]
    numbers = values(view, metric)
    means = _smoothed(numbers, shown.smoothing)
    for x, epoch, step, seconds, value, mean in zip(
        positions(view, metric, shown.axis), *places, numbers, means, strict=True
    ):
        if shown.sees(x):
            place = (_cell(epoch), _cell(step), _cell(seconds))
            yield view.id, metric.name, "measured", *place, _cell(value), "", "", _cell(mean)
    for found in outlook(view, metric)[1:] if view is shown.runs[0] else ():
        at = [course.convert(float(found.epoch), "epoch", axis) for axis in AXES]
        x_of_it = at[AXES.index(shown.axis)]
        if x_of_it is not None and shown.sees(x_of_it):
            place = (_cell(at[0]), _cell(at[1]), _cell(at[2]))
            yield view.id, metric.name, "projected", *place, found.value, found.low, found.high, ""


def _lines(view: RunView, colour: int, shown: Shown) -> Iterator[svg_chart.Line]:
    xs, numbers = positions(view, shown.metric, shown.axis), values(view, shown.metric)
    best = best_point(view, shown.metric)
    at = None if best is None else Course(view).convert(float(best[0]), "epoch", shown.axis)
    spot = (at, best[1]) if best is not None and at is not None and shown.sees(at) else None
    if shown.smoothing:
        means = _smoothed(numbers, shown.smoothing)
        points = [(x, mean) for x, mean in zip(xs, means, strict=True) if shown.sees(x)]
        yield svg_chart.Line(view.id, points, colour=colour, spot=spot)
    points = [(x, value) for x, value in zip(xs, numbers, strict=True) if shown.sees(x)]
    yield svg_chart.Line(
        "" if shown.smoothing else view.id,
        points,
        colour=colour,
        is_faint=shown.smoothing > 0,
        spot=None if shown.smoothing else spot,
    )


def _bands(view: RunView, colour: int, shown: Shown) -> Iterator[svg_chart.Band]:
    course = Course(view)
    placed = [(course.convert(float(found.epoch), "epoch", shown.axis), found) for found in outlook(view, shown.metric)]
    points = [(x, one.low, one.value, one.high) for x, one in placed if x is not None and shown.sees(x)]
    if len(points) > 1:
        yield svg_chart.Band("projected", points, colour=colour)


def _marks(view: RunView, shown: Shown) -> Iterator[tuple[str, float]]:
    course = Course(view)
    for epoch, name in decisions(view):
        x = course.convert(float(epoch), "epoch", shown.axis)
        if x is not None and shown.sees(x):
            yield name, x


def _smoothed(numbers: Sequence[float | None], weight: float) -> list[float | None]:
    """The mean at each value, as it is drawn; None at gaps, and everywhere without smoothing."""
    finite = [value for value in numbers if value is not None and math.isfinite(value)]
    means = iter(Ema(weight).of(finite) if weight else [])
    return [next(means, None) if value is not None and math.isfinite(value) else None for value in numbers]


def _cell(number: float | None) -> float | str:
    """The number in full; an empty field where there is none."""
    return "" if number is None or not math.isfinite(number) else number
