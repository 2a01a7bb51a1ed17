"""The live log of the selected run: read from its file, followed until the person scrolls away, searched in place."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

from engine.run.secrets import secrets_hider
from tui.control.log_places import Place, marks_epoch, place_before, place_of
from tui.control.scene import Scene
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.screens.line_detail import LineDetailScreen
from tui.widgets.virtual_log import VirtualLog

_HINTS = {False: "search: Enter, then n and N go on; Escape undoes", True: "show only lines with; empty shows all"}
LIVE_BYTES = 8_000_000
"""Of a log in which every key typed searches anew: some 45 ms where little is found, 125 where every line holds it. A
longer one is searched at Enter."""


class SearchBar(Input):
    """Where a search or a filter is typed; Escape leaves it."""

    DEFAULT_CSS = """
    SearchBar { display: none; height: 1; padding: 0; }
    SearchBar, SearchBar:focus { border: none; }
    SearchBar.-open { display: block; }
    """
    BINDINGS = [
        Binding("escape", "leave", "leave", show=False, id="log.close_search", tooltip="leave, as if nothing was typed")
    ]

    @dataclass
    class Left(Message):
        """Someone thought better of it."""

    is_filter = False
    """Whether what is typed hides the other lines."""

    def open_as(self, *, is_filter: bool) -> None:
        """Show it, empty, with the cursor in it."""
        self.is_filter, self.placeholder, self.value = is_filter, _HINTS[is_filter], ""
        self.add_class("-open")
        self.focus()

    def close(self) -> None:
        """Back to the log; the matches stay marked."""
        self.remove_class("-open")
        self.screen.query_one(VirtualLog).focus()

    def action_leave(self) -> None:
        """Close it, as if nothing had been typed."""
        self.post_message(self.Left())
        self.close()


class LogPane(Pane):
    """output.log of the selected run."""

    NUMBER = 5
    NAME = "Log"

    _run_id = ""
    _before: tuple[str, bool] = ("", False)
    """What was searched for when the bar was opened, and whether it hid the other lines."""

    @dataclass
    class PlaceWanted(Message):
        """Someone wants to see in the chart where a line stands."""

        place: Place

    def compose(self) -> ComposeResult:
        yield VirtualLog(hide=secrets_hider())
        yield SearchBar()

    def on_mount(self) -> None:
        """Say how the log is shown, as that changes."""
        super().on_mount()
        self.watch(self.log_view, "wrap", self._retitle, init=False)

    def watch_plain(self, plain: bool) -> None:
        """ASCII for the lines as well."""
        super().watch_plain(plain)
        self.log_view.plain = plain

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
        self._before = self.log_view.sought, self.log_view.filtering
        self.query_one(SearchBar).open_as(is_filter=is_filter)

    def toggle_follow(self) -> None:
        """Follow the end, or stay where one reads."""
        self.log_view.action_toggle_follow()
        self._retitle()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search or filter while it is typed, where that takes no time."""
        bar = self.query_one(SearchBar)
        if bar.has_class("-open") and event.value and self.log_view.num_bytes <= LIVE_BYTES:
            self._look_for(event.value, is_filter=bar.is_filter)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search or filter; the bar closes, n and N go on."""
        bar = self.query_one(SearchBar)
        self._look_for(event.value, is_filter=bar.is_filter)
        bar.close()
        self.set_subtitle("")

    def on_search_bar_left(self) -> None:
        """What was looked for before is looked for again."""
        text, is_filter = self._before
        self._look_for(text, is_filter=is_filter)

    def on_virtual_log_line_opened(self, event: VirtualLog.LineOpened) -> None:
        """Show a line whole, copy it, or say where it stands."""
        if event.wanted == "detail":
            self.app.push_screen(LineDetailScreen(event.number, event.line, plain=self.plain))
        elif event.wanted == "copy":
            self.app.copy_to_clipboard(event.line.text)
            self.set_subtitle(f"line {event.number + 1} copied, if this terminal lets programs copy")
        else:
            place = place_before(event.number, self.log_view.text_at)
            if place is None:
                self.set_subtitle("no line up to here names an epoch")
            else:
                self.post_message(self.PlaceWanted(place))

    def show_epoch(self, epoch: int) -> None:
        """Go to the last line about a step of an epoch: the one that sums it up, once it has ended."""

        def is_of_it(text: str) -> bool:
            place = place_of(text)
            return place is not None and place.epoch == epoch

        number = self.log_view.find_line(is_of_it, marks_epoch(epoch))
        if number is None:
            self.set_subtitle(f"no line names epoch {epoch}")
        else:
            self.log_view.go_to_line(number)
            self.set_subtitle("")

    def _look_for(self, text: str, *, is_filter: bool) -> None:
        (self.log_view.filter if is_filter else self.log_view.search)(text)
        self._retitle()

    def on_virtual_log_follow_changed(self) -> None:
        """Say at once that the view no longer follows, or does again."""
        self._retitle()

    def on_virtual_log_sought(self) -> None:
        """Say at once how many lines are found or shown, also where Escape or another key ends a search."""
        self._retitle()

    def on_virtual_log_noticed(self, event: VirtualLog.Noticed) -> None:
        """The file was replaced, or nothing further was found."""
        self.set_subtitle(event.text)

    def _retitle(self) -> None:
        view = self.log_view
        state = "FOLLOW" if view.follow else f"PAUSED +{view.unseen}"
        matches = f"  {view.num_matches} {'shown' if view.filtering else 'found'}" if view.sought else ""
        wrap = "  wrapped" if view.wrap else ""
        self.set_title(f"{state}  {view.line_count} lines{matches}{wrap}  {self._run_id}" if self._run_id else "")
