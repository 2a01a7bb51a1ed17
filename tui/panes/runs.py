"""The list of runs: state as a word and a shape, epoch, val_cosine and its course, gates, age, and what is noted."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from tui.control.labels import MAX_NOTE
from tui.control.listing import Listing
from tui.control.run_filter import EVERY_RUN, FilterError, parse_filter
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.messages import Relisted
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.panes.run_rows import Rows, fit_columns
from tui.panes.runs_bar import RunsBar
from tui.panes.runs_table import RunsTable
from tui.text import clean

_BORDER = 4
"""Cells beside the list in a pane as wide as the terminal."""


def _key(key: str, action: str, short: str, tooltip: str, *, display: str | None = None) -> Binding:
    binding_id = f"runs.{action.partition('(')[0]}"
    return Binding(key, action, short, show=False, key_display=display, tooltip=tooltip, id=binding_id)


class RunsPane(Pane):
    """The runs that are wanted, newest first. The row under the cursor is the room's selected run."""

    NUMBER = 1
    NAME = "Runs"

    BINDINGS = [
        _key("space", "mark", "mark", "mark the run, to compare it in pane 6; or no longer"),
        _key("b", "reference", "reference", "hold others against this run; or no longer"),
        _key("d", "all_settings", "settings", "compare: the settings that differ, or all"),
        _key("l", "follow_newest", "latest", "keep the newest run selected, or stay"),
        _key("ampersand", "filter", "filter", "list only some runs: gate:missed loss.temperature<0.07", display="&"),
        _key("N", "note", "note", "write a note on the run; its #words are tags"),
        _key("X", "archive", "archive", "archive an ended run (nothing is deleted), or take it out again"),
        _key("escape", "show_all", "all", "list all runs again"),
    ]
    DEFAULT_CSS = """
    RunsPane .empty { display: none; color: $foreground-muted; }
    RunsPane.-empty .empty { display: block; }
    RunsPane.-empty RunsTable { display: none; }
    """

    listing: reactive[Listing] = reactive(Listing, init=False, repaint=False)
    """How the runs are looked at; set by data binding, never by the pane."""

    class Chosen(Message):
        """A run was chosen."""

        def __init__(self, run_id: str, *, opened: bool) -> None:
            self.run_id = run_id
            self.opened = opened
            """Enter was pressed on it, rather than the cursor moved over it."""
            super().__init__()

    @dataclass
    class NoteWanted(Message):
        """A note was written on a run."""

        run: RunView
        text: str

    @dataclass
    class ArchiveWanted(Message):
        """A run shall be put away, or taken out again."""

        run: RunView
        away: bool

    def __init__(self) -> None:
        super().__init__()
        self._rows = Rows()
        self._noted: RunView | None = None
        """The run whose note is being written; None where a filter is."""

    def compose(self) -> ComposeResult:
        yield Static(classes="empty", markup=False)
        yield RunsBar()
        yield RunsTable()

    @property
    def _table(self) -> RunsTable:
        return self.query_one(RunsTable)

    @property
    def _selected(self) -> RunView | None:
        return self.scene.selected if self.scene else None

    def watch_listing(self) -> None:
        """List other runs, or other marks."""
        self.watch_scene(self.scene)

    def on_resize(self) -> None:
        """Other columns fit."""
        self.watch_scene(self.scene)

    def depends_on(self, scene: Scene) -> Hashable:
        selected = scene.selected.id if scene.selected else ""
        return scene.turn, selected, self.listing, self.size.width, int(scene.now // 60)

    def focus_inside(self) -> None:
        """To the list, not to the line that is hidden above it."""
        self._table.focus()

    # ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, scene: Scene) -> None:
        selected = scene.selected.id if scene.selected else ""
        rows = self.listing.rows(scene.views, selected)
        self.set_class(not rows, "-empty")
        if not scene.views:
            self.query_one(".empty", Static).update(self.say(no_run(scene)))
        made = self._rows.of(rows, self.listing, now=scene.now, undone=scene.undone, plain=self.plain)
        # not laid out yet: where it opens on its own, its first picture is to be the one that stays
        room = self._table.size.width or self.size.width or self.app.size.width - _BORDER
        columns = fit_columns(list(made.values()), room)
        self._table.show_runs(columns, {run_id: row.cells for run_id, row in made.items()}, selected)
        self._say_what_is_listed(scene, len(rows))

    def _say_what_is_listed(self, scene: Scene, listed: int) -> None:
        listing, views = self.listing, scene.views
        alive = sum(view.status.is_alive for view in views)
        hidden = 0 if listing.wanted.asks_for_archived else sum(view.is_put_away for view in views)
        parts = [f"{listed} of {len(views)}" if listed < len(views) else f"{listed}", f"{alive} alive"]
        parts += [f"{len(listing.marked)} marked"] if listing.marked else []
        parts += [f"{hidden} archived"] if hidden else []
        parts += ["LATEST"] if listing.follows else []
        shown = f"  & {listing.wanted}" if listing.wanted.groups else ""
        self.set_title(", ".join(parts) + shown if views else "")
        writing = "" if scene.readonly else "  N note  X archive"
        self.set_subtitle(f"space mark  b reference  d settings  & filter{writing}  l latest" if views else "")

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape belongs to the room where there is no filter to drop."""
        return action != "show_all" or bool(self.listing.wanted.groups)

    def action_mark(self) -> None:
        """Mark the selected run, or take the mark away."""
        self._relist_selected(self.listing.with_mark)

    def action_reference(self) -> None:
        """Hold others against the selected run, or no longer."""
        self._relist_selected(self.listing.with_reference)

    def action_all_settings(self) -> None:
        """What a comparison lists."""
        self.post_message(Relisted(replace(self.listing, all_settings=not self.listing.all_settings)))

    def action_follow_newest(self) -> None:
        """Keep the newest run selected, or stay."""
        follows = not self.listing.follows
        self.post_message(Relisted(replace(self.listing, follows=follows)))
        newest = self.listing.newest(self.scene.views) if self.scene else None
        if follows and newest is not None:
            self.post_message(self.Chosen(newest.id, opened=False))

    def action_show_all(self) -> None:
        """Drop the filter."""
        self.post_message(Relisted(replace(self.listing, wanted=EVERY_RUN)))

    def action_filter(self) -> None:
        """Ask which runs to list."""
        self._noted = None
        hint = "gate:missed model:amn loss.temperature<0.07 -note:debug | id:0007"
        self.query_one(RunsBar).open_with(str(self.listing.wanted), hint)

    def action_note(self) -> None:
        """Ask what to note."""
        if self._may_write() and self._selected is not None:
            self._noted = self._selected
            hint = clean(f"a note on {self._noted.id}; its #words are tags")
            self.query_one(RunsBar).open_with(clean(self._noted.note), hint, MAX_NOTE)

    def action_archive(self) -> None:
        """Put the run away, or take it out again."""
        if self._may_write() and self._selected is not None:
            # chosen by this, if by nothing before: it stays in sight, so that the same key takes it out again
            self.post_message(self.Chosen(self._selected.id, opened=False))
            self.post_message(self.ArchiveWanted(self._selected, not self._selected.archived))

    def _may_write(self) -> bool:
        if self.scene is not None and self.scene.readonly:
            self.notify("read-only: nothing is written on a run", severity="warning", markup=False)
            return False
        return True

    def _relist_selected(self, change: Callable[[str], Listing]) -> None:
        if self._selected is not None:
            self.post_message(Relisted(change(self._selected.id)))

    # ── typing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_runs_bar_typed(self, event: RunsBar.Typed) -> None:
        """List what is found as it is typed; what means nothing yet changes nothing."""
        if self._noted is None:
            self._narrow(event.text)

    def on_runs_bar_kept(self, event: RunsBar.Kept) -> None:
        """Keep the note; keep a filter, and go to the newest run that it finds."""
        if self._noted is not None:
            self.post_message(self.NoteWanted(self._noted, event.text))
        elif not self._narrow(event.text):
            return
        elif self.scene is not None:
            found = Listing(parse_filter(event.text)).rows(self.scene.views, "")
            if found and all(view is not self._selected for view in found):
                self.post_message(self.Chosen(found[0].id, opened=False))
        self._close_bar()

    def on_runs_bar_dropped(self) -> None:
        """Leave the note as it was; list all runs again."""
        if self._noted is None:
            self.action_show_all()
        self._close_bar()

    def _close_bar(self) -> None:
        self.query_one(RunsBar).close()
        self._table.focus()

    def _narrow(self, text: str) -> bool:
        """List what a filter finds; False, and why, where it means nothing."""
        bar = self.query_one(RunsBar)
        try:
            wanted = parse_filter(text)
        except FilterError as error:
            bar.say_problem(self.say(str(error)))
            return False
        bar.say_problem(self.say(""))
        self.post_message(Relisted(replace(self.listing, wanted=wanted)))
        return True

    # ── the cursor ───────────────────────────────────────────────────────────────────────────────────────────────────

    def on_runs_table_moved(self, event: RunsTable.Moved) -> None:
        """Show the run under the cursor."""
        self.post_message(self.Chosen(event.run_id, opened=False))

    def on_data_table_row_selected(self, event: RunsTable.RowSelected) -> None:
        """Enter opens a run."""
        if event.row_key.value is not None:
            self.post_message(self.Chosen(event.row_key.value, opened=True))
