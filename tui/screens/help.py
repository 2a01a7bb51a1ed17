"""Help: every key that works here, made from the binding tables, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keymap import ROOM_BINDINGS
from tui.panes.words import lines, say

_KEY_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "equal": "=",
    "ampersand": "&",
    "exclamation_mark": "!",
}


class HelpScreen(ModalScreen[None]):
    """The keys of the room, then those of the focused pane."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 76; max-width: 98%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 2;
    }
    """
    BINDINGS = [Binding("escape,q,question_mark", "dismiss", "close", id="help.close")]

    def __init__(self, pane: str, bindings: Iterable[Binding], *, plain: bool = False) -> None:
        """Help on the room.

        Args:
            pane: name of the pane that has the focus.
            bindings: what its focused part binds.
            plain: use ASCII only.
        """
        super().__init__()
        self._pane = pane
        self._pane_bindings = list(bindings)
        self._plain = plain

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(lines(*self._rows()))

    def _rows(self) -> Iterator[Content]:
        hint = "UPPER CASE changes the world, lower case looks. Escape closes."
        yield say(hint, "$foreground-muted", plain=self._plain)
        yield from self._section("Everywhere", ROOM_BINDINGS)
        if self._pane_bindings:
            yield from self._section(f"In {self._pane}", self._pane_bindings)

    def _section(self, title: str, bindings: Iterable[Binding]) -> Iterator[Content]:
        yield say(title, "bold $text-accent", plain=self._plain)
        for binding in bindings:
            key = binding.key_display or ", ".join(_KEY_NAMES.get(key, key) for key in binding.key.split(","))
            yield Content.assemble(
                (f"{key:>14}  ", "bold"), say(binding.tooltip or binding.description, plain=self._plain)
            )
