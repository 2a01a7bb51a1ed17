"""The room: every pane on one screen, laid out by the terminal's size; one at a time where there is little room."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import reactive
from textual.screen import Screen

from engine.run.convert import ConfigError
from tui.control.chart_export import Shown, export
from tui.control.labels import archive, write_note
from tui.control.listing import Listing
from tui.control.scene import Scene
from tui.control.views import RunView
from tui.messages import ActionDone, ActionFailed, Relisted
from tui.panes.chart import ChartPane
from tui.panes.decision_tree import DecisionTreePane
from tui.panes.figures import shown_runs
from tui.panes.first_hints import FirstHints
from tui.panes.gates import GatesPane
from tui.panes.key_hints import KeyHints
from tui.panes.log import LogPane
from tui.panes.pane import Pane
from tui.panes.preflight import PreflightPane
from tui.panes.runs import RunsPane
from tui.panes.status_strip import StatusStrip
from tui.panes.system import SystemPane
from tui.panes.versus import VersusPane
from tui.text import clean
from tui.widgets.line_chart import LineChart

FORGET_S = 60.0
"""Between two times that the toolkit is made to forget widgets that are gone."""


def forget_removed() -> None:
    """Let go of what was drawn of widgets that are gone: help, questions, notices.

    The toolkit (8.2) caches colours by the object that holds a widget's drawn lines, the last 1,024 of them: every
    opening of the help cost a quarter of a megabyte.
    """
    with suppress(ImportError, AttributeError):  # it is nobody's promise that there is such a cache
        from textual._styles_cache import StylesCache

        StylesCache.get_inner_outer.cache_clear()


class RoomScreen(Screen[None]):
    """All panes. Sizes switch classes; the widgets live on, so nothing loses its scroll or zoom."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (180, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)
    plain: reactive[bool] = reactive(False)
    current: reactive[int] = reactive(2, repaint=False)
    """Number of the pane that has the screen to itself where only one fits."""

    listing: reactive[Listing] = reactive(Listing, init=False, repaint=False)
    """How the person looks at the runs."""

    def compose(self) -> ComposeResult:
        yield StatusStrip(markup=False).data_bind(RoomScreen.scene, RoomScreen.plain)
        with Container(id="panes"):
            panes = (RunsPane, ChartPane, GatesPane, SystemPane, VersusPane, DecisionTreePane, LogPane, PreflightPane)
            for pane in panes:
                bound = pane().data_bind(RoomScreen.scene, RoomScreen.plain)
                yield bound.data_bind(RoomScreen.listing) if isinstance(bound, RunsPane | VersusPane) else bound
        yield FirstHints(markup=False).data_bind(RoomScreen.scene, RoomScreen.plain)
        yield KeyHints(markup=False).data_bind(RoomScreen.scene, RoomScreen.plain)

    def watch_plain(self, plain: bool) -> None:
        """The layout knows, for what the toolkit itself would draw beyond ASCII."""
        self.set_class(plain, "-plain")

    def on_mount(self) -> None:
        """Start on the chart."""
        self.go_to(2)
        self.set_interval(FORGET_S, forget_removed)

    def pane(self, number: int) -> Pane:
        """The pane with this number."""
        return next(pane for pane in self.query(Pane) if number == pane.NUMBER)

    def go_to(self, number: int) -> None:
        """Show a pane and give it the focus; one without a place in this layout has the screen to itself."""
        pane = self.pane(number)
        self.remove_class("-guest")
        self._make_current(pane)
        # now, since the layout decides whether the pane has a place; all others follow when the screen is next idle
        self.app.stylesheet.update_nodes([pane])
        if not pane.display:
            self.add_class("-guest")
            self.app.stylesheet.update_nodes([pane])
        pane.focus_inside()

    def maximize_current(self) -> None:
        """The current pane alone, and back."""
        if not self.step_out():
            self.add_class("-alone")

    def put_hints_away(self) -> bool:
        """Close the first hints; False if they were not open."""
        return self.query_one(FirstHints).put_away()

    def step_out(self) -> bool:
        """Leave the innermost layer; False if there is none."""
        is_inside = self.has_class("-alone") or self.has_class("-guest")
        self.remove_class("-alone", "-guest")
        return is_inside

    def neighbour(self, step: int) -> str:
        """The id of the run `step` rows further in the list, to which the person goes by hand."""
        views, selected = (self.scene.views, self.scene.selected) if self.scene else ((), None)
        run_id = self.listing.neighbour(views, selected.id if selected else "", step)
        self.listing = self.listing.chosen_by_hand(views, run_id)
        return run_id

    def followed(self, run_id: str, views: Mapping[str, RunView]) -> str:
        """The id of the run to select: the newest one's while that is followed, else `run_id`."""
        return self.listing.followed(list(views.values()), run_id)

    @property
    def in_sight(self) -> frozenset[str]:
        """The ids of the runs of which panes show more than a row."""
        scene = self.scene
        if scene is None:
            return frozenset()
        shown = {view.id for view in shown_runs(scene)} | {view.id for view in scene.pair if view is not None}
        return frozenset({*shown, *self.listing.marked, self.listing.reference})

    def on_relisted(self, event: Relisted) -> None:
        """Look at the runs in another way."""
        self.listing = event.listing

    def on_runs_pane_chosen(self, event: RunsPane.Chosen) -> None:
        """Whoever goes elsewhere no longer follows the newest run. The application selects it."""
        if self.scene is not None:
            self.listing = self.listing.chosen_by_hand(self.scene.views, event.run_id)

    def on_runs_pane_note_wanted(self, event: RunsPane.NoteWanted) -> None:
        """Write a note on a run."""
        run = event.run

        def note() -> str:
            return f"{run.id}: {'noted' if write_note(run.directory, clean(event.text)) else 'the note is gone'}"

        self._write(note)

    def on_runs_pane_archive_wanted(self, event: RunsPane.ArchiveWanted) -> None:
        """Put a run away, or take it out again."""
        run, away = event.run, event.away

        def put() -> str:
            archive(run, away=away)
            return f"{run.id} is {'archived: X takes it out again, is:archived lists it' if away else 'listed again'}"

        self._write(put)

    @work(thread=True, group="labels", exit_on_error=False)
    def _write(self, change: Callable[[], str]) -> None:
        try:
            self.app.post_message(ActionDone(change()))
        except (ConfigError, OSError) as error:
            self.app.post_message(ActionFailed(str(error)))

    def on_line_chart_cursor_moved(self, event: LineChart.CursorMoved) -> None:
        """One cursor for all charts that count the same."""
        for chart in self.query(LineChart):
            if chart.x_label == event.chart.x_label or event.x is None:
                chart.cursor_x = event.x

    def on_chart_pane_export_wanted(self, event: ChartPane.ExportWanted) -> None:
        """Write what a chart shows; a room that takes no action writes nothing."""
        if self.scene is None or not event.shown.runs:
            self.notify("there is nothing to export yet", severity="warning", markup=False)
        elif self.scene.readonly:
            self.notify("read-only: nothing is written", severity="warning", markup=False)
        else:
            self._export(event.shown, event.shown.runs[0].directory.path.parent)

    def on_log_pane_place_wanted(self, event: LogPane.PlaceWanted) -> None:
        """From a line of the log to its place in the chart."""
        self.go_to(ChartPane.NUMBER)
        self.query_one(ChartPane).show_place(event.place)

    def on_chart_pane_epoch_wanted(self, event: ChartPane.EpochWanted) -> None:
        """From an epoch in the chart to what the log says of it."""
        self.go_to(LogPane.NUMBER)
        self.query_one(LogPane).show_epoch(event.epoch)

    @work(thread=True, group="exports", exit_on_error=False)
    def _export(self, shown: Shown, runs_dir: Path) -> None:
        try:
            files, why_not = export(shown, runs_dir, time.time())
        except OSError as error:
            words = f"The chart was not exported: {error.strerror or error}. Is there room on {runs_dir}?"
            self.app.call_from_thread(self.notify, clean(words), severity="error", markup=False, timeout=10)
            return
        names = ", ".join(file.name for file in files)
        words = clean(f"{files[0].parent}: {names}{f' ({why_not})' if why_not else ''}")
        self.app.call_from_thread(self.notify, words, title="exported", markup=False)

    def on_descendant_focus(self) -> None:
        """The pane with the focus is the current one."""
        focused = self.focused
        pane = next((above for above in focused.ancestors if isinstance(above, Pane)), None) if focused else None
        if pane is not None and pane is not self.pane(self.current):
            self._make_current(pane)

    def _make_current(self, pane: Pane) -> None:
        self.current = pane.NUMBER
        for other in self.query(Pane):
            other.set_class(other is pane, "-current")
