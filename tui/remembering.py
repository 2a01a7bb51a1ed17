"""A room that is found as it was left, and explains itself once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import RenderableType
from textual import on
from textual.app import App

from tui.control.curves import AXES, METRICS
from tui.control.room_memory import Layout, RoomMemory, found_again
from tui.panes.chart import ChartPane
from tui.panes.first_hints import FirstHints
from tui.panes.pane import Pane
from tui.screens.room import RoomScreen
from tui.text import clean
from tui.widgets.line_chart import SMOOTHINGS

if TYPE_CHECKING:
    from tui.control.watcher import Watcher


def layout_of(room: RoomScreen, run_id: str) -> Layout:
    """How the room is now, with this run chosen."""
    chart = room.query_one(ChartPane)
    return Layout(
        pane=room.current,
        is_alone=room.has_class("-alone"),
        metric=METRICS[chart.metric].name,
        axis=chart.axis,
        smoothing=chart.chart.smoothing,
        run=run_id,
        follows=room.listing.follows,
    )


def lay_out(room: RoomScreen, layout: Layout) -> None:
    """Make the room as it was; what there is no more is passed over."""
    chart = room.query_one(ChartPane)
    names = [metric.name for metric in METRICS]
    if layout.metric in names:
        chart.metric = names.index(layout.metric)
    chart.axis = next((axis for axis in AXES if axis == layout.axis), chart.axis)
    if layout.smoothing in SMOOTHINGS:
        chart.chart.smoothing = layout.smoothing
    room.listing = replace(room.listing, follows=layout.follows)
    if layout.pane in {pane.NUMBER for pane in room.query(Pane)}:
        room.go_to(layout.pane)
        if layout.is_alone:
            room.maximize_current()


class Remembering(App[None]):
    """The part of the application that has a memory; without one it forgets."""

    memory: RoomMemory | None = None
    selected_id: str
    watcher: Watcher
    _is_laid_out = False
    _room: RoomScreen

    def choose(self, run_id: str) -> None:
        """Select a run."""
        raise NotImplementedError

    def recall(self) -> None:
        """Find the room as it was left; the first time, explain it."""
        if self.memory is None:
            return
        layout, note = self.memory.recall()
        if layout is not None:
            lay_out(self._room, layout)
            self.choose(found_again(layout.run, list(self.watcher.views.values())) or self.selected_id)
        self._is_laid_out = True
        if note:
            self.notify(clean(note), markup=False)
        if not self.memory.has_read_hints:
            self._room.query_one(FirstHints).open()

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave, however that came about, and remember how it was; not what was never laid out."""
        if self.memory is not None and self._is_laid_out:
            with suppress(OSError):  # a full disk is told elsewhere; for this there is nobody left to tell
                self.memory.keep(layout_of(self._room, self.selected_id))
        super().exit(result, return_code, message)

    @on(FirstHints.Read)
    def note_hints_read(self) -> None:
        """Never again."""
        if self.memory is not None:
            with suppress(OSError):  # they come once more, no harm done
                self.memory.note_hints_read()
