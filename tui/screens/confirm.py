"""Asks before something happens that cannot be taken back, or before anything at all where runs.toml says so."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.acts import Act
from tui.keymap import shown_key
from tui.panes.words import lines, say
from tui.text import clean


class ConfirmScreen(ModalScreen[str | None]):
    """The plan of an action, with the focus on Cancel, or on the reason where one must be given.

    Answers None for no, else the reason, which is empty where none was asked for.
    """

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen > Vertical {
        width: 70; max-width: 95%; height: auto; max-height: 90%;
        border: thick $warning; background: $surface; padding: 1 2;
    }
    ConfirmScreen Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
    ConfirmScreen Button { margin-left: 2; }
    ConfirmScreen Input { margin-top: 1; }
    ConfirmScreen #keys { width: 1fr; height: 3; content-align: left middle; }
    """
    BINDINGS = [
        Binding("escape,n", "answer(False)", "cancel", id="confirm.cancel", tooltip="leave it as it is"),
        Binding("y", "answer(True)", "yes", id="confirm.yes", tooltip="do it"),
    ]

    def __init__(self, title: str, act: Act, verb: str, *, plain: bool = False) -> None:
        super().__init__()
        self._rows = [say(title, "bold", plain=plain), *(say(row, plain=plain) for row in act.plan)]
        self._verb = verb
        self._plain = plain
        self._needs_reason, self._meanwhile = act.needs_reason, act.meanwhile

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(lines(*self._rows))
            if self._needs_reason:
                yield Input(placeholder="why", max_length=400)
            with Horizontal():
                yield Static(id="keys")  # beside the buttons: below them a low terminal has no row for it
                yield Button("Cancel", id="cancel")
                yield Button(say(self._verb).markup, id="yes", variant="warning")

    def on_mount(self) -> None:
        """The safe answer is the one that Enter gives; an empty reason is no answer."""
        (self.query_one(Input) if self._needs_reason else self.query_one("#cancel", Button)).focus()

    def on_descendant_focus(self) -> None:
        """Name the keys that answer now: while a reason is typed, letters are letters and Enter is the yes."""
        bound = [(active.binding.id, shown_key(key)) for key, active in self.active_bindings.items()]
        yes = ["enter"] if isinstance(self.focused, Input) else [key for name, key in bound if name == "confirm.yes"]
        cancel = [key for name, key in bound if name == "confirm.cancel"]
        hints = [
            Content.assemble((" or ".join(keys), "bold $text-accent"), say(f" {word}", plain=self._plain))
            for keys, word in ((yes, self._verb), (cancel, "cancel"))
        ]
        self.query_one("#keys", Static).update(lines(*hints))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is an answer."""
        self.action_answer(event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Enter behind a reason is a yes."""
        self.action_answer(True)

    def action_answer(self, answer: bool) -> None:
        """A key is an answer; a yes without the reason that must be given waits for it."""
        reason = clean(self.query_one(Input).value).strip() if self._needs_reason else ""
        if not answer:
            self.dismiss(None)
        elif reason or not self._needs_reason:
            if self._meanwhile:
                self.app.notify(clean(self._meanwhile), markup=False)
            self.dismiss(reason)
        else:
            self.query_one(Input).focus()
