"""What a key would do, before it does it: the plan of every restart and probe that applies now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keymap import ACTION_KEYS, key_of
from tui.panes.words import lines, say


class PlanScreen(ModalScreen[None]):
    """Plans by action. Nothing here acts: that takes the key itself."""

    DEFAULT_CSS = """
    PlanScreen { align: center middle; }
    PlanScreen > VerticalScroll {
        width: 100; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 2;
    }
    """
    BINDINGS = [Binding("escape,q,i", "dismiss", "close", id="plan.close")]

    def __init__(
        self,
        plans: Mapping[str, Sequence[str]],
        why_not: Mapping[str, str],
        *,
        keys: Mapping[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        """Show plans.

        Args:
            plans: lines by action.
            why_not: reasons, by action that does not apply.
            keys: what a person has rebound.
            plain: use ASCII only.
        """
        super().__init__()
        self._plans, self._why_not, self._plain = plans, why_not, plain
        self._keys = keys or {}

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(lines(*self._rows()))

    def _rows(self) -> Iterator[Content]:
        yield say("What these keys would do now. Escape closes; nothing has happened.", "$foreground-muted")
        for action, plan in self._plans.items():
            yield say(self._heading(action), "bold $text-accent", plain=self._plain)
            yield from (say(f"   {row}", plain=self._plain) for row in plan)
        for action, reason in self._why_not.items():
            yield say(f"{self._heading(action)}: {reason}", "$foreground-muted", plain=self._plain)

    def _heading(self, action: str) -> str:
        return f"{key_of(f'act.{action}', self._keys)}  {ACTION_KEYS[action][1]}"
