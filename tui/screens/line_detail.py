"""One line of a log, whole: folded to the screen, with what of it can be copied."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.panes.words import lines, say
from tui.widgets.log_line import ShownLine


class LineDetailScreen(ModalScreen[None]):
    """A line that is longer than the pane is wide."""

    DEFAULT_CSS = """
    LineDetailScreen { align: center middle; }
    LineDetailScreen > VerticalScroll {
        width: 90%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 2;
    }
    """
    BINDINGS = [
        Binding("escape,q,enter", "dismiss", "close", id="line.close"),
        Binding("y", "copy", "copy", id="line.copy"),
    ]

    def __init__(self, number: int, line: ShownLine, *, plain: bool = False) -> None:
        """Show a line.

        Args:
            number: of the line, from 0.
            line: the line, cleaned.
            plain: use ASCII only.
        """
        super().__init__()
        self._number, self._line, self._plain = number, line, plain

    def compose(self) -> ComposeResult:
        head = f"line {self._number + 1}{f', {self._line.kind}' if self._line.kind else ''}: y copies it, Escape closes"
        with VerticalScroll():
            yield Static(
                lines(
                    say(head, "$foreground-muted", plain=self._plain),
                    say(self._line.text + self._line.note, plain=self._plain),
                )
            )

    def action_copy(self) -> None:
        """Hand the line to the terminal's clipboard."""
        self.app.copy_to_clipboard(self._line.text)
        self.notify("copied, if this terminal lets programs copy (OSC 52)", markup=False)
