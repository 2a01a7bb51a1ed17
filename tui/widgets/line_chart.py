"""A line chart in braille on Textual's Line API: zoom, a cursor that reads off values, and gaps instead of crashes.

Keys and mouse do the same: the wheel zooms about the mouse, dragging pans, a click puts the cursor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.reactive import reactive

from tui.ema import Ema
from tui.widgets import plot_view
from tui.widgets.cell_grid import Run
from tui.widgets.chart_keys import CHART_KEYS
from tui.widgets.picture import Picture
from tui.widgets.plot_data import Forecast, Level, Mark, Series, Spot, Trace, prepare
from tui.widgets.plot_draw import STYLES, draw, x_at
from tui.widgets.plot_legend import next_x
from tui.widgets.plot_model import Plot, x_extent
from tui.widgets.plot_scale import Scale

__all__ = ["Forecast", "Level", "LineChart", "Mark", "Series", "Spot"]

SMOOTHINGS = (0.0, 0.6, 0.9)
"""What the smoothing key goes through: none, about 2 points, about 10 points."""


class LineChart(Picture, can_focus=True):
    """Up to four lines over a common x axis, with horizontal levels and vertical marks.

    The axes fit the data until someone zooms; from then on the visible part stays theirs, whatever arrives, until they
    fit again. Any data can be drawn: what is missing or not finite is a marked gap.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(CHART_KEYS)

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line-chart--{name}" for name in STYLES if name != "base"}
    """
    | Class | Description |
    | :- | :- |
    | `line-chart--series-0` to `-3` | The lines, markers and legend samples, by `Series.kind`. |
    | `line-chart--dim-0` to `-3` | What stands behind a series: raw values and forecasts. |
    | `line-chart--level-0` to `-3` | The horizontal lines, in their order. |
    | `line-chart--mark` | Vertical marks and their labels. |
    | `line-chart--cursor` | The cursor's line. |
    | `line-chart--gap` | Where a value is missing or not finite. |
    | `line-chart--axis`, `line-chart--label` | Frame and ticks; their numbers and names. |
    | `line-chart--title`, `line-chart--legend` | The line above: title or cursor position; names and values. |
    | `line-chart--empty` | The text shown while there is nothing to draw. |
    """

    DEFAULT_CSS = """
    LineChart {
        height: 1fr;
        min-height: 1;
        color: $foreground;
        & > .line-chart--series-0 { color: $primary; text-style: bold; }
        & > .line-chart--series-1 { color: $warning; }
        & > .line-chart--series-2 { color: $foreground 80%; }
        & > .line-chart--series-3 { color: $error; }
        & > .line-chart--dim-0 { color: $primary 70%; }
        & > .line-chart--dim-1 { color: $warning 60%; }
        & > .line-chart--dim-2 { color: $foreground 50%; }
        & > .line-chart--dim-3 { color: $error 60%; }
        & > .line-chart--level-0 { color: $success; }
        & > .line-chart--level-1 { color: $foreground 80%; }
        & > .line-chart--level-2 { color: $foreground 75%; }
        & > .line-chart--level-3 { color: $foreground 70%; }
        & > .line-chart--mark { color: $foreground 70%; }
        & > .line-chart--cursor { color: $foreground; }
        & > .line-chart--gap { color: $error; text-style: bold; }
        & > .line-chart--axis { color: $foreground 50%; }
        & > .line-chart--label { color: $foreground 70%; }
        & > .line-chart--title { text-style: bold; }
        & > .line-chart--legend { color: $foreground; }
        & > .line-chart--empty { color: $foreground 70%; text-style: italic; }
    }
    """

    series: reactive[Sequence[Series]] = reactive[Sequence[Series]]((), repaint=False)
    """What to draw; the first lies on top. Assign a new sequence, a changed one is not noticed."""
    levels: reactive[Sequence[Level]] = reactive[Sequence[Level]]((), repaint=False)
    """Horizontal lines; always within the picture."""
    marks: reactive[Sequence[Mark]] = reactive[Sequence[Mark]]((), repaint=False)
    """Vertical lines; shown where there is data."""
    spots: reactive[Sequence[Spot]] = reactive[Sequence[Spot]]((), repaint=False)
    """Points that stand out."""
    forecasts: reactive[Sequence[Forecast]] = reactive[Sequence[Forecast]]((), repaint=False)
    """What lies ahead of the data; the fitted axes show it too."""
    title: reactive[str] = reactive("", repaint=False)
    """Shown at the left of the legend while there is room."""
    y_label: reactive[str] = reactive("", repaint=False)
    """The unit or name of the y axis, shown beside the title."""
    x_label: reactive[str] = reactive("", repaint=False)
    """The name of the x axis."""
    x_is_time: reactive[bool] = reactive(False, repaint=False)
    """Whether x counts seconds, to be told in s, m and h."""
    empty_text: reactive[str] = reactive("no data yet", repaint=False)
    """Shown while there is nothing to draw."""
    cursor_x: reactive[float | None] = reactive[float | None](None, repaint=False)
    """Where values are read off; may be set from outside to share a cursor between charts."""
    view: reactive[Scale | None] = reactive[Scale | None](None, repaint=False)
    """The visible part of the x axis; None shows everything and whatever arrives."""
    x_range: reactive[tuple[float, float] | None] = reactive[tuple[float, float] | None](None, repaint=False)
    """What the fitted x axis shows at least, so that charts side by side may share theirs."""
    y_range: reactive[tuple[float, float] | None] = reactive[tuple[float, float] | None](None, repaint=False)
    """What the y axis shows at least."""
    smoothing: reactive[float] = reactive(0.0, repaint=False)
    """Weight of the past in the exponential mean that is drawn, in [0, 1). Values read off are never smoothed."""
    has_levels: reactive[bool] = reactive(True, repaint=False)
    """Whether levels and marks are shown; without levels the y axis fits the data alone."""
    log_y: reactive[bool] = reactive(False, repaint=False)
    """Whether the y axis is logarithmic; values of 0 and below are gaps then."""
    ascii: reactive[bool] = reactive(False, repaint=False)
    """Whether to do without braille and other characters beyond ASCII."""

    @dataclass
    class CursorMoved(Message):
        """A person moved the cursor, or removed it."""

        chart: LineChart
        x: float | None

        @property
        def control(self) -> LineChart:
            """The chart whose cursor it is."""
            return self.chart

    def __init__(
        self,
        series: Sequence[Series] = (),
        *,
        levels: Sequence[Level] = (),
        marks: Sequence[Mark] = (),
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        empty_text: str = "no data yet",
        ascii: bool = False,  # noqa: A002 - the name of the reactive
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        """A chart of what is given; each argument may be assigned later too.

        Args:
            series: What to draw.
            levels: Horizontal lines.
            marks: Vertical lines.
            title: Shown at the left of the legend.
            x_label: The name of the x axis.
            y_label: The unit or name of the y axis.
            empty_text: Shown while there is nothing to draw.
            ascii: Whether to do without characters beyond ASCII.
            name: The name of the widget.
            id: The ID of the widget in the DOM.
            classes: The CSS classes of the widget.
            disabled: Whether the widget is disabled.
        """
        self._traces: list[Trace] = []
        self._prepared_series: Sequence[Series] | None = None
        self._prepared_how = (0.0, False)
        self._means: list[Ema] = []
        self._grabbed: tuple[int, Scale] | None = None
        self._was_dragged = False
        self._rich_styles: dict[str, Style] = {}
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self.series = series
        self.levels = levels
        self.marks = marks
        self.title = title
        self.x_label = x_label
        self.y_label = y_label
        self.empty_text = empty_text
        self.ascii = ascii

    def plot(self) -> Plot:
        """What the chart shows now, for drawing it elsewhere."""
        return Plot(
            traces=self._prepared(),
            levels=self.levels if self.has_levels else (),
            marks=self.marks if self.has_levels else (),
            spots=self.spots,
            forecasts=self.forecasts,
            title=self.title,
            x_label=self.x_label,
            y_label=self.y_label,
            empty_text=self.empty_text,
            cursor_x=self.cursor_x,
            view=self.view,
            x_range=self.x_range,
            y_range=self.y_range,
            log_y=self.log_y,
            ascii_only=self.ascii,
            x_is_time=self.x_is_time,
        )

    def picture(self, width: int, height: int) -> list[list[Run]]:
        """The plot in this many cells."""
        return draw(self.plot(), width, height)

    def on_mount(self) -> None:
        """Every reactive of a chart is in its picture."""
        for name, value in vars(LineChart).items():
            if isinstance(value, reactive):
                self.watch(self, name, self.draw_again, init=False)

    def notify_style_update(self) -> None:
        """Textual's notice that theme or stylesheet changed."""
        super().notify_style_update()
        self._rich_styles.clear()

    def style_of(self, name: str) -> Style:
        """The style of a name that a picture uses; small charts borrow it."""
        if name not in self._rich_styles:
            is_base = name == "base"
            self._rich_styles[name] = (
                self.rich_style if is_base else self.get_component_rich_style(f"line-chart--{name}")
            )
        return self._rich_styles[name]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a cursor, Escape belongs to whoever is one layer out."""
        return action != "clear_cursor" or self.cursor_x is not None

    def action_cursor(self, direction: int) -> None:
        """Move the cursor to the next x with data, or place it at that end of what is visible."""
        traces = self._prepared()
        start = self.cursor_x
        shown = self.view or self._extent()
        if start is None and shown is not None:
            # the ends themselves may hold data: start from just outside of them
            end, outward = (shown.low, -math.inf) if direction > 0 else (shown.high, math.inf)
            start = math.nextafter(end, outward)
        found = None if start is None else next_x(traces, start, direction, self.forecasts)
        if found is not None:
            self.place_cursor(found)

    def action_clear_cursor(self) -> None:
        """Remove the cursor."""
        self.place_cursor(None)

    def action_zoom_in(self) -> None:
        """Magnify the x axis around the cursor, if that is visible, or the middle."""
        full = self._extent()
        if full is not None:
            self.view = plot_view.zoomed_in(self.view, full, self.cursor_x)

    def action_zoom_out(self) -> None:
        """Show more of the x axis; everything, and whatever arrives, once nothing is left out."""
        full = self._extent()
        if full is not None:
            self.view = plot_view.zoomed_out(self.view, full)

    def action_fit(self) -> None:
        """Show everything, and whatever arrives."""
        self.view = None

    def action_pan(self, direction: int) -> None:
        """Move the zoomed part left (-1) or right (1)."""
        full = self._extent()
        if full is not None:
            self.view = plot_view.panned(self.view, full, direction)

    def action_toggle_log_y(self) -> None:
        """Change between a logarithmic and a linear y axis."""
        self.log_y = not self.log_y

    def action_cycle_smoothing(self) -> None:
        """Smooth a little, then more, then not at all."""
        stronger = [weight for weight in SMOOTHINGS if weight > self.smoothing]
        self.smoothing = stronger[0] if stronger else SMOOTHINGS[0]

    def action_toggle_levels(self) -> None:
        """Show levels and marks, or not."""
        self.has_levels = not self.has_levels

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Magnify about the mouse."""
        full = self._extent()
        if full is not None:
            self.view = plot_view.zoomed_in(self.view, full, self._pointed(event))
        event.stop()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show more about the mouse."""
        full = self._extent()
        if full is not None:
            self.view = plot_view.zoomed_out(self.view, full, self._pointed(event))
        event.stop()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of a zoomed view."""
        self._was_dragged = False
        if self.view is not None:
            self._grabbed = event.screen_x, self.view
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """What was under the mouse stays under it."""
        full = self._extent()
        if self._grabbed is None or full is None:
            return
        grabbed_at, view = self._grabbed
        plot, moved = replace(self.plot(), view=view), event.screen_x - grabbed_at
        # two columns in the middle: beyond the ends of the plot all columns stand for the ends
        middle = self.size.width // 2
        here, next_to_it = (x_at(plot, *self.size, column) for column in (middle, middle + 1))
        if moved and here is not None and next_to_it is not None:
            self._was_dragged = True
            self.view = plot_view.moved(view, full, (here - next_to_it) * moved)

    def on_mouse_up(self) -> None:
        """Let go of it."""
        if self._grabbed is not None:
            self._grabbed = None
            self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """Place the cursor at the data nearest to where the mouse points, unless it was dragged there."""
        pointed = None if self._was_dragged else self._pointed(event)
        if pointed is None:
            return
        traces = self._prepared()
        ways = (next_x(traces, pointed, way, self.forecasts) for way in (-1, 1))
        near = [x for x in ways if x is not None]
        if near:
            self.place_cursor(min(near, key=lambda x: abs(x / 2 - pointed / 2)))

    def watch_cursor_x(self, cursor_x: float | None) -> None:
        """A cursor never leaves the visible part of the axis; a zoomed view moves along."""
        full = self._extent()
        if cursor_x is not None and full is not None and full.low <= cursor_x <= full.high:
            self.view = plot_view.showing(self.view, full, cursor_x)

    def _prepared(self) -> list[Trace]:
        """The series fit for drawing. Each is prepared once; a smoothed one that grew is smoothed on from there."""
        how = (self.smoothing, self.log_y)
        if self._prepared_series is self.series and self._prepared_how == how:
            return self._traces
        known = zip(self._prepared_series or (), self._traces, strict=False) if self._prepared_how == how else ()
        traces = {id(line): trace for line, trace in known}
        if self._prepared_how[0] != self.smoothing:
            self._means.clear()
        self._means += [Ema(self.smoothing) for _ in self.series[len(self._means) :]]
        self._traces = [
            traces.get(id(line)) or prepare(line, smoothing=mean if self.smoothing > 0 else None, log_y=self.log_y)
            for line, mean in zip(self.series, self._means, strict=False)
        ]
        self._prepared_series, self._prepared_how = self.series, how
        return self._traces

    def _extent(self) -> Scale | None:
        return x_extent(self._prepared(), self.x_range, self.forecasts)

    def _pointed(self, event: events.MouseEvent) -> float | None:
        """The x that the mouse points at; None beside the chart or without data."""
        offset = event.get_content_offset(self)
        return None if offset is None else x_at(self.plot(), *self.size, offset.x)

    def place_cursor(self, x: float | None) -> None:
        """Move the cursor as a person does, or remove it: charts that share it follow."""
        self.cursor_x = x
        self.post_message(self.CursorMoved(self, x))
