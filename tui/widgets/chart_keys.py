"""Every key of a line chart in one table, with what it does in words."""

from __future__ import annotations

from textual.binding import Binding


def _key(key: str, action: str, short: str, binding_id: str, tooltip: str) -> Binding:
    return Binding(key, action, short, id=f"chart.{binding_id}", show=False, tooltip=tooltip)


CHART_KEYS: list[Binding] = [
    _key("left", "cursor(-1)", "Cursor left", "cursor_left", "to the value before; the legend reads all lines there"),
    _key("right", "cursor(1)", "Cursor right", "cursor_right", "to the next value (a click goes to the nearest)"),
    _key("escape", "clear_cursor", "No cursor", "clear_cursor", "hide the cursor"),
    _key("plus", "zoom_in", "Zoom in", "zoom_in", "magnify around the cursor (wheel: around the mouse)"),
    _key("minus", "zoom_out", "Zoom out", "zoom_out", "show more of the x axis"),
    _key("equals_sign", "fit", "Fit", "fit", "show all data, and what arrives"),
    _key("shift+left", "pan(-1)", "Pan left", "pan_left", "move the zoomed view left (or drag it)"),
    _key("shift+right", "pan(1)", "Pan right", "pan_right", "move the zoomed view right"),
    _key("y", "toggle_log_y", "Log scale", "log_y", "logarithmic or linear y axis"),
    _key("s", "cycle_smoothing", "Smoothing", "smoothing", "smooth lightly, strongly, not at all"),
    _key("t", "toggle_levels", "Levels", "levels", "gate and floor lines on or off"),
]
