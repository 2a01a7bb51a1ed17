"""The line in which a filter or a note is typed, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static


class RunsBar(Vertical):
    """A line to type in, hidden until it is asked for. Enter keeps what was typed, Escape drops it."""

    BINDINGS = [Binding("escape", "drop", "drop", show=False, id="runs.drop", tooltip="leave what was typed")]
    DEFAULT_CSS = """
    RunsBar { display: none; height: auto; }
    RunsBar.-open { display: block; }
    RunsBar Input, RunsBar Input:focus { height: 1; border: none; padding: 0; }
    RunsBar Static { color: $text-error; display: none; }
    RunsBar Static.-said { display: block; }
    """

    @dataclass
    class Typed(Message):
        """The text is another."""

        text: str

    @dataclass
    class Kept(Message):
        """Enter was pressed."""

        text: str

    @dataclass
    class Dropped(Message):
        """Escape was pressed."""

    def compose(self) -> ComposeResult:
        yield Input()
        yield Static(markup=False)

    def open_with(self, text: str, hint: str, longest: int | None = None) -> None:
        """Ask for a text.

        Args:
            text: what stands there to begin with.
            hint: what to type, shown while nothing is.
            longest: characters; None sets no limit.
        """
        line = self.query_one(Input)
        self.add_class("-open")
        with self.prevent(Input.Changed):
            line.max_length = longest
            line.value, line.placeholder = text, hint
        line.cursor_position = len(text)
        self.say_problem(Content())
        line.focus()

    def close(self) -> None:
        """Hide the line."""
        self.remove_class("-open")

    def say_problem(self, problem: Content) -> None:
        """What is wrong with the text; empty for nothing."""
        told = self.query_one(Static)
        told.update(problem)
        told.set_class(bool(problem), "-said")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say so."""
        event.stop()
        self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Say so."""
        event.stop()
        self.post_message(self.Kept(event.value))

    def action_drop(self) -> None:
        """Say so."""
        self.post_message(self.Dropped())
