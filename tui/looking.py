"""Keys that look and concern one pane or the layout, wherever the focus is."""

from __future__ import annotations

from textual.app import App

from tui.panes.chart import ChartPane
from tui.panes.log import LogPane
from tui.screens.room import RoomScreen


class Looking(App[None]):
    """The part of the application that goes to panes."""

    _room: RoomScreen

    def action_pane(self, number: int) -> None:
        """Go to a pane."""
        self._room.go_to(number)

    def action_maximize_pane(self) -> None:
        """The current pane alone, and back."""
        self._room.maximize_current()

    def action_out(self) -> None:
        """One layer out."""
        if not self._room.put_hints_away():
            self._room.step_out()

    def action_find(self) -> None:
        """Search the log."""
        self._room.go_to(LogPane.NUMBER)
        self._room.query_one(LogPane).open_search()

    def action_filter(self) -> None:
        """Show only some lines of the log."""
        self._room.go_to(LogPane.NUMBER)
        self._room.query_one(LogPane).open_search(is_filter=True)

    def action_follow(self) -> None:
        """Follow the log's end, or not."""
        log = self._room.query_one(LogPane)
        log.bring_up_to_date()  # else it may still have another run's file, and begin anew with this one's
        log.toggle_follow()

    def action_metric(self, step: int) -> None:
        """Walk the chart's metrics."""
        self._room.query_one(ChartPane).walk(step)
