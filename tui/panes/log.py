"""The live log of the selected run: read from its file, followed until the person scrolls away, searched in place."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input

from tui.control.scene import Scene
from tui.panes.pane import Pane
from tui.widgets.virtual_log import VirtualLog


class SearchBar(Input):
    """Where a search is typed; Escape leaves it."""

    DEFAULT_CSS = """
    SearchBar { display: none; height: 1; border: none; padding: 0; }
    SearchBar.-open { display: block; }
    """
    BINDINGS = [Binding("escape", "close", "close", show=False, id="log.close_search")]

    def action_close(self) -> None:
        """Back to the log; the matches stay marked."""
        self.remove_class("-open")
        self.screen.set_focus(self.screen.query_one(VirtualLog))


class LogPane(Pane):
    """output.log of the selected run."""

    NUMBER = 5
    NAME = "Log"

    _run_id = ""

    def compose(self) -> ComposeResult:
        yield VirtualLog()
        yield SearchBar(placeholder="search; Enter jumps, n and N go on, Escape leaves")

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
        if self.log_view.path != path:
            self.log_view.path = path
        self.log_view.poll()
        self._retitle()

    def open_search(self) -> None:
        """Show the search bar and put the cursor in it."""
        bar = self.query_one(SearchBar)
        bar.add_class("-open")
        bar.focus()

    def toggle_follow(self) -> None:
        """Follow the end, or stay where one reads."""
        self.log_view.follow = not self.log_view.follow
        self._retitle()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search; the bar closes, n and N go on."""
        found = self.log_view.search(event.value)
        self.set_subtitle(f"{found} lines match" if event.value else "")
        self.query_one(SearchBar).action_close()

    def on_virtual_log_follow_changed(self) -> None:
        """Say at once that the view no longer follows, or does again."""
        self._retitle()

    def _retitle(self) -> None:
        view = self.log_view
        state = "FOLLOW" if view.follow else f"PAUSED +{view.unseen}"
        self.set_title(f"{state}  {view.line_count} lines  {self._run_id}" if self._run_id else "")
