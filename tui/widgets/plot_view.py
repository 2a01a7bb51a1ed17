"""The part of the x axis that a person has zoomed to. Pure: a view goes in, a view comes out.

None stands for "everything, and whatever arrives": the chart fits itself until someone zooms, and from then on shows
what they chose until they ask it to fit again.
"""

from __future__ import annotations

from tui.widgets.plot_scale import Scale

ZOOM_STEP = 1.5
"""How much a key press magnifies: two presses a little more than double."""
PAN_STEP = 0.25
"""Share of the view that a key press pans: what was in the middle stays visible."""
_NARROWEST = 1e-6
"""Smallest view, as a share of the data's range: one step in a million."""


def zoomed_in(view: Scale | None, full: Scale, centre: float | None) -> Scale:
    """A smaller part of the view, about the centre if that is visible, else about the middle."""
    shown = view or full
    if (shown.high - shown.low) / ZOOM_STEP < (full.high - full.low) * _NARROWEST:
        return shown
    pivot = _pivot(shown, centre)
    kept = 1 / ZOOM_STEP
    return Scale(shown.at(pivot * (1 - kept)), shown.at(pivot * (1 - kept) + kept))


def zoomed_out(view: Scale | None, full: Scale, centre: float | None = None) -> Scale | None:
    """A larger part, about the centre if that is visible, else about the middle; None once that shows everything."""
    if view is None:
        return None
    pivot = _pivot(view, centre)
    extra = ZOOM_STEP - 1
    wider = Scale(view.at(-extra * pivot), view.at(1 + extra * (1 - pivot)))
    # three presses in and three out must come back, roundings notwithstanding
    if wider.high - wider.low >= (full.high - full.low) * (1 - 1e-6):
        return None
    return _within(wider, full)


def panned(view: Scale | None, full: Scale, direction: int) -> Scale | None:
    """The view moved by a quarter of itself, left (-1) or right (1), but not past the data. A fitted view stays."""
    if view is None:
        return None
    return moved(view, full, (view.high - view.low) * PAN_STEP * direction)


def moved(view: Scale, full: Scale, shift: float) -> Scale:
    """The view moved along the axis, but not past the data."""
    return _within(Scale(view.low + shift, view.high + shift), full)


def showing(view: Scale | None, full: Scale, x: float) -> Scale | None:
    """The view, moved as little as needed to contain x."""
    if view is None or view.low <= x <= view.high:
        return view
    return moved(view, full, x - view.low if x < view.low else x - view.high)


def _pivot(view: Scale, centre: float | None) -> float:
    """Which share of the view stays where it is."""
    pivot = 0.5 if centre is None else view.fraction(centre)
    return pivot if 0 <= pivot <= 1 else 0.5


def _within(view: Scale, full: Scale) -> Scale:
    width = view.high - view.low
    if view.low < full.low:
        return Scale(full.low, full.low + width)
    if view.high > full.high:
        return Scale(full.high - width, full.high)
    return view
