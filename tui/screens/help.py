"""Help: every key that works here, made from the binding tables, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keymap import ROOM_BINDINGS, rebound, shown_key
from tui.panes.words import lines, say


class HelpScreen(ModalScreen[None]):
    """The keys of the room, then those of the focused pane."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 76; max-width: 98%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 2;
    }
    """
    BINDINGS = [Binding("escape,q,question_mark", "dismiss", "close", id="help.close", tooltip="close the help")]

    def __init__(
        self, pane: str, bindings: Iterable[Binding], *, keys: Mapping[str, str] | None = None, plain: bool = False
    ) -> None:
        """Help on the room.

        Args:
            pane: name of the pane that has the focus.
            bindings: what its focused part binds.
            keys: what a person has bound otherwise, by binding id.
            plain: use ASCII only.
        """
        super().__init__()
        self._pane = pane
        self._pane_bindings = list(bindings)
        self._keys = keys or {}
        self._plain = plain

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(lines(*self._rows()))

    def _rows(self) -> Iterator[Content]:
        hint = "UPPER CASE changes the world, lower case looks. Escape closes."
        yield say(hint, "$foreground-muted", plain=self._plain)
        yield from self._section("Everywhere", rebound(ROOM_BINDINGS, self._keys))
        if self._pane_bindings:
            yield from self._section(f"In {self._pane}", self._pane_bindings)

    def _section(self, title: str, bindings: Iterable[Binding]) -> Iterator[Content]:
        yield say(title, "bold $text-accent", plain=self._plain)
        for binding in bindings:
            key = binding.key_display or shown_key(binding.key)
            yield Content.assemble(
                (f"{key:>14}  ", "bold"), say(binding.tooltip or binding.description, plain=self._plain)
            )
