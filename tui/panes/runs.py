"""The list of runs: state as a word and a shape, epoch, val_cosine, the gate, and which fix made it."""

from __future__ import annotations

from collections.abc import Hashable

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable, Static

from tui.control.scene import Scene
from tui.control.views import RunView
from tui.panes.empty import no_run
from tui.panes.pane import Pane
from tui.panes.words import number, status_mark, verdict_mark

_COLUMNS = {"run": 13, "state": 11, "epoch": 6, "val_cos": 8, "gate": 14, "fix": 24}
"""Name and least width in cells, space between columns included: the table cannot measure styled content itself."""


class RunsPane(Pane):
    """Every run of the folder, newest last."""

    NUMBER = 1
    NAME = "Runs"

    DEFAULT_CSS = """
    RunsPane DataTable { height: 1fr; background: transparent; }
    RunsPane .empty { display: none; color: $foreground-muted; }
    RunsPane.-empty .empty { display: block; }
    RunsPane.-empty DataTable { display: none; }
    """

    class Chosen(Message):
        """A run was chosen."""

        def __init__(self, run_id: str, *, opened: bool) -> None:
            self.run_id = run_id
            self.opened = opened
            """Enter was pressed on it, rather than the cursor moved over it."""
            super().__init__()

    def compose(self) -> ComposeResult:
        yield Static(classes="empty", markup=False)
        yield DataTable[Content](cursor_type="row", cell_padding=0)

    def on_mount(self) -> None:
        super().on_mount()
        table = self._table
        for column, width in _COLUMNS.items():
            table.add_column(column, key=column, width=width)

    @property
    def _table(self) -> DataTable[Content]:
        return self.query_one(DataTable)

    def depends_on(self, scene: Scene) -> Hashable:
        return scene.tick, scene.selected.id if scene.selected else ""

    def show(self, scene: Scene) -> None:
        table = self._table
        self.set_class(not scene.views, "-empty")
        if not scene.views:
            self.query_one(".empty", Static).update(self.say(no_run(scene)))
        wanted = [view.id for view in reversed(scene.views)]
        if [row.value for row in table.rows] != wanted:
            table.clear()
            table.ordered_columns[0].width = max([_COLUMNS["run"], *(len(run_id) + 1 for run_id in wanted)])
            for view in reversed(scene.views):
                table.add_row(*self._cells(view, scene), key=view.id)
        else:
            for view in scene.views:
                for column, cell in zip(_COLUMNS, self._cells(view, scene), strict=True):
                    table.update_cell(view.id, column, cell, update_width=True)
        if scene.selected is not None and not table.has_focus:
            table.move_cursor(row=table.get_row_index(scene.selected.id), scroll=True)
        alive = sum(view.status.is_alive for view in scene.views)
        self.set_title(f"{len(scene.views)}, {alive} alive" if scene.views else "")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """The cursor moved by hand: show that run."""
        if self._table.has_focus and event.row_key.value is not None:
            self.post_message(self.Chosen(event.row_key.value, opened=False))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter opens a run."""
        if event.row_key.value is not None:
            self.post_message(self.Chosen(event.row_key.value, opened=True))

    def _cells(self, view: RunView, scene: Scene) -> list[Content]:
        latest = view.latest
        judged = view.gate_judgement(view.gate)
        fix = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in view.spec.patch.items())
        fix = f"undone: {fix}" if view.id in scene.undone else fix
        return [
            self.say(view.id),
            status_mark(view.status, plain=self.plain),
            self.say(f"{latest.epoch if latest else 0}/{view.spec.config.epochs}"),
            self.say(number(latest.val_cosine if latest else None)),
            verdict_mark(judged.verdict, plain=self.plain, word=True),
            self.say(fix, "$foreground-muted"),
        ]
