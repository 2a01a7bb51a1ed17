"""The live log of the selected run: read from its file, followed until the person scrolls away, searched in place."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input

from tui.control.scene import Scene
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.widgets.virtual_log import VirtualLog

_HINTS = {False: "search: Enter jumps, n and N go on, Escape leaves", True: "show only lines with; empty shows all"}


class SearchBar(Input):
    """Where a search or a filter is typed; Escape leaves it."""

    DEFAULT_CSS = """
    SearchBar { display: none; height: 1; border: none; padding: 0; }
    SearchBar.-open { display: block; }
    """
    BINDINGS = [
        Binding(
            "escape", "close", "close", show=False, id="log.close_search", tooltip="leave the search bar; matches stay"
        )
    ]

    is_filter = False
    """Whether what is typed hides the other lines."""

    def open_as(self, *, is_filter: bool) -> None:
        """Show it, empty, with the cursor in it."""
        self.is_filter, self.placeholder, self.value = is_filter, _HINTS[is_filter], ""
        self.add_class("-open")
        self.focus()

    def action_close(self) -> None:
        """Back to the log; the matches stay marked."""
        self.remove_class("-open")
        self.screen.query_one(VirtualLog).focus()


class LogPane(Pane):
    """output.log of the selected run."""

    NUMBER = 5
    NAME = "Log"

    _run_id = ""

    def compose(self) -> ComposeResult:
        yield VirtualLog()
        yield SearchBar()

    @property
    def log_view(self) -> VirtualLog:
        """The view of the file."""
        return self.query_one(VirtualLog)

    def depends_on(self, scene: Scene) -> Hashable:
        return scene.now  # the log grows without an event: look at the file at every tick

    def show(self, scene: Scene) -> None:
        run = scene.selected
        self._run_id = run.id if run else ""
        path: Path | None = run.directory.log_file if run else None
        self.log_view.absent_text = no_run(scene)
        if self.log_view.path != path:
            self.log_view.path = path
            self.log_view.filter("")
            self.log_view.follow = scene.follows_log
            self.set_subtitle("")
        self.log_view.poll()
        self._retitle()

    def open_search(self, *, is_filter: bool = False) -> None:
        """Ask what to search for, or which lines to keep."""
        self.query_one(SearchBar).open_as(is_filter=is_filter)

    def toggle_follow(self) -> None:
        """Follow the end, or stay where one reads."""
        self.log_view.action_toggle_follow()
        self._retitle()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search or filter; the bar closes, n and N go on."""
        bar = self.query_one(SearchBar)
        (self.log_view.filter if bar.is_filter else self.log_view.search)(event.value)
        bar.action_close()
        self.set_subtitle("")
        self._retitle()

    def on_virtual_log_follow_changed(self) -> None:
        """Say at once that the view no longer follows, or does again."""
        self._retitle()

    def on_virtual_log_noticed(self, event: VirtualLog.Noticed) -> None:
        """The file was replaced, or nothing further was found."""
        self.set_subtitle(event.text)

    def _retitle(self) -> None:
        view = self.log_view
        state = "FOLLOW" if view.follow else f"PAUSED +{view.unseen}"
        matches = f"  {view.num_matches} {'shown' if view.filtering else 'found'}" if view.num_matches else ""
        self.set_title(f"{state}  {view.line_count} lines{matches}  {self._run_id}" if self._run_id else "")
