"""The table of the runs: what differs is drawn again, and its cursor and the room's selected run go together."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable


class RunsTable(DataTable[Content]):
    """Rows of cells by the id of their run."""

    BINDINGS = [
        Binding("j", "cursor_down", "down", show=False, id="runs.down", tooltip="the run below"),
        Binding("k", "cursor_up", "up", show=False, id="runs.up", tooltip="the run above"),
        Binding("g,home", "to_row(0)", "first", show=False, id="runs.first", tooltip="the newest run"),
        Binding("G,end", "to_row(-1)", "last", show=False, id="runs.last", tooltip="the oldest run"),
    ]
    DEFAULT_CSS = "RunsTable { height: 1fr; background: transparent; }"

    @dataclass
    class Moved(Message):
        """The cursor was moved to a run by hand."""

        run_id: str

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)
        self._frame: Hashable = None
        self._cells: Mapping[str, Mapping[str, Content]] = {}
        self._selected = ""
        self._told: deque[str] = deque(maxlen=64)
        """Runs that the cursor was moved to and that have not come back as the selected one yet: it is ahead."""

    def show_runs(self, columns: Mapping[str, int], cells: Mapping[str, Mapping[str, Content]], selected: str) -> None:
        """Show these rows.

        Args:
            columns: name and width in cells, in order.
            cells: by run and column; rows in order. A row that is the same object as the last time is not looked into.
            selected: the run to stand on; empty for none.
        """
        frame = (tuple(columns.items()), tuple(cells))
        was_rebuilt, was_changed = frame != self._frame, selected != self._selected
        self._frame, self._selected = frame, selected
        if was_rebuilt:
            self._rebuild(columns, cells)
        else:
            self._update(columns, cells)
        self._cells = cells
        is_answer = selected in self._told
        while is_answer and self._told.popleft() != selected:
            pass
        if selected and (was_rebuilt or (was_changed and not is_answer)):
            ahead = next((run_id for run_id in reversed(self._told) if run_id in cells), selected)
            self.move_cursor(row=self.get_row_index(ahead), scroll=True)

    def action_to_row(self, row: int) -> None:
        """To the first row, or to the last one (-1)."""
        self.move_cursor(row=row % max(1, self.row_count))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Tell where the cursor was moved to, but not of a row that it has left again."""
        event.stop()
        run_id, known = event.row_key.value, self._told[-1] if self._told else self._selected
        if run_id is not None and self.has_focus and event.cursor_row == self.cursor_row and run_id != known:
            self._told.append(run_id)
            self.post_message(self.Moved(run_id))

    def _rebuild(self, columns: Mapping[str, int], cells: Mapping[str, Mapping[str, Content]]) -> None:
        self.clear(columns=True)
        for name, width in columns.items():
            self.add_column(name, key=name, width=width)
        for run_id, row in cells.items():
            self.add_row(*(row[name] for name in columns), key=run_id)

    def _update(self, columns: Mapping[str, int], cells: Mapping[str, Mapping[str, Content]]) -> None:
        for run_id, row in cells.items():
            if row is not self._cells.get(run_id):
                for name in columns:
                    if self.get_cell(run_id, name).markup != row[name].markup:
                        self.update_cell(run_id, name, row[name])
