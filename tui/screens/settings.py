"""A person's settings: each with its value, where that comes from, and what can be done about it here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.control.preferences import NAMES, Resolved
from tui.panes.words import lines, say

_WHAT = {
    "theme": "colours of the room",
    "confirm": "ask before every action",
    "bell": "ring at an alert",
    "notices": "show alerts in the corner",
    "ascii": "ASCII only",
    "follow": "follow a log from the start",
}


class SettingsScreen(ModalScreen[None]):
    """The preferences as a list: left and right change one, and what is changed is written at once."""

    DEFAULT_CSS = """
    SettingsScreen { align: center middle; }
    SettingsScreen > VerticalScroll {
        width: 76; max-width: 98%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 2;
    }
    SettingsScreen OptionList, SettingsScreen OptionList:focus {
        height: auto; border: none; padding: 0; background: $surface; margin-top: 1;
    }
    SettingsScreen .note { color: $foreground-muted; margin-top: 1; }
    """
    BINDINGS = [
        Binding("escape,q,comma", "dismiss", "close", id="settings.close", tooltip="close the settings"),
        Binding("right,space", "change(1)", "next", id="settings.next", tooltip="the next value (so does Enter)"),
        Binding("left", "change(-1)", "previous", id="settings.previous", tooltip="the value before"),
        Binding("delete,backspace", "forget", "usual", id="settings.forget", tooltip="take it out of your file"),
    ]

    @dataclass
    class Wanted(Message):
        """A person wants a preference to be something else."""

        name: str
        value: object
        """None for what it would be without the person's file."""

    def __init__(
        self, resolved: Callable[[], Resolved], themes: Sequence[str], path: str, *, plain: bool = False
    ) -> None:
        """The settings as they are.

        Args:
            resolved: asks what holds now.
            themes: names of the themes there are, in the order in which they are offered.
            path: where they are written; empty where they last as long as the room does.
            plain: use ASCII only.
        """
        super().__init__()
        self._resolved = resolved
        self._themes = list(themes)
        self._path = path
        self._plain = plain

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Static(say("Settings", "bold $text-accent", plain=self._plain))
            yield OptionList(*(Option(row, id=name) for name, row in self._rows()), markup=False)
            yield Static(lines(*self._notes()), classes="note")

    def show(self) -> None:
        """Draw the values again."""
        options = self.query_one(OptionList)
        for name, row in self._rows():
            options.replace_option_prompt(name, row)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter is the next value."""
        event.stop()
        self.action_change(1)

    def action_change(self, step: int) -> None:
        """Another value for the chosen setting."""
        name = self._chosen
        value = getattr(self._resolved().values, name)
        if isinstance(value, bool):
            self.post_message(self.Wanted(name, not value))
            return
        at = self._themes.index(value) if value in self._themes else -1
        self.post_message(self.Wanted(name, self._themes[(at + step) % len(self._themes)]))

    def action_forget(self) -> None:
        """Have the chosen setting as it is without the person's file."""
        self.post_message(self.Wanted(self._chosen, None))

    @property
    def _chosen(self) -> str:
        return NAMES[self.query_one(OptionList).highlighted or 0]

    def _rows(self) -> Iterator[tuple[str, Content]]:
        resolved = self._resolved()
        for name in NAMES:
            value = getattr(resolved.values, name)
            shown = value if isinstance(value, str) else "yes" if value else "no"
            source = resolved.sources[name]
            # without colours: the chosen row has a ground of its own
            yield (
                name,
                Content.assemble(
                    say(f"{name:9}", "bold", plain=self._plain),
                    say(f"{_WHAT[name]:29}", plain=self._plain),
                    say(f"{shown:14}", "bold", plain=self._plain),
                    say(source, plain=self._plain),
                ),
            )

    def _notes(self) -> Iterator[Content]:
        yield say(
            "left and right change, Delete goes back to what holds without you, Escape closes.", plain=self._plain
        )
        yield say("Command line and locale beat runs.toml, that your file, and that the default.", plain=self._plain)
        where = f"Written to {self._path}; keys are rebound there, in [keys]." if self._path else "For this room only."
        yield say(where, plain=self._plain)
