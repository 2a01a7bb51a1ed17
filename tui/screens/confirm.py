"""Asks before something happens that cannot be taken back, or before anything at all where runs.toml says so."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.panes.words import lines, say


class ConfirmScreen(ModalScreen[bool]):
    """The plan of an action, with the focus on Cancel."""

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen > Vertical {
        width: 70; max-width: 95%; height: auto; max-height: 90%;
        border: thick $warning; background: $surface; padding: 1 2;
    }
    ConfirmScreen Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
    ConfirmScreen Button { margin-left: 2; }
    """
    BINDINGS = [
        Binding("escape,n", "answer(False)", "cancel", id="confirm.cancel"),
        Binding("y", "answer(True)", "yes", id="confirm.yes"),
    ]

    def __init__(self, title: str, plan: Sequence[str], verb: str, *, plain: bool = False) -> None:
        super().__init__()
        self._rows = [say(title, "bold", plain=plain), *(say(row, plain=plain) for row in plan)]
        self._verb = verb

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(lines(*self._rows))
            with Horizontal():
                yield Button("Cancel", id="cancel")
                yield Button(say(self._verb).markup, id="yes", variant="warning")

    def on_mount(self) -> None:
        """The safe answer is the one that Enter gives."""
        self.query_one("#cancel", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is an answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """A key is an answer."""
        self.dismiss(answer)
