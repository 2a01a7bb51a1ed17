"""What has happened, newest first: to every run and by every autopilot, also while no room was open."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.control.noticed import Alert, Severity
from tui.panes.words import say

_LOOKS: dict[Severity, tuple[str, str]] = {
    # a shape and its ASCII stand-in; the title says it in words. No colours: on the chosen row they would be unreadable
    "information": (" ", " "),
    "warning": ("!", "!"),
    "error": ("✖", "x"),
}


class AlertsScreen(ModalScreen[str | None]):
    """The list; Enter goes to the run. Answers with its id, or None."""

    DEFAULT_CSS = """
    AlertsScreen { align: center middle; }
    AlertsScreen > Vertical {
        width: 110; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    AlertsScreen OptionList { height: auto; max-height: 100%; background: transparent; padding: 0; }
    AlertsScreen OptionList, AlertsScreen OptionList:focus { border: none; }
    """
    BINDINGS = [
        Binding("escape,q,exclamation_mark", "dismiss", "close", id="alerts.close"),
        Binding("j", "walk(1)", "next", show=False, id="alerts.next"),
        Binding("k", "walk(-1)", "previous", show=False, id="alerts.previous"),
    ]

    def __init__(self, alerts: Sequence[Alert], *, plain: bool = False) -> None:
        """Show alerts.

        Args:
            alerts: newest first.
            plain: use ASCII only.
        """
        super().__init__()
        self._alerts = list(alerts)
        self._plain = plain

    def compose(self) -> ComposeResult:
        hint = "What has happened, newest first. Enter goes to the run, Escape closes."
        none = "Nothing has happened yet: gates, evaluations, ends and crashes will stand here."
        with Vertical():
            yield Static(say(hint if self._alerts else none, "$foreground-muted", plain=self._plain))
            yield OptionList(*(Option(self._row(alert)) for alert in self._alerts))

    def on_mount(self) -> None:
        """The newest one first."""
        self.query_one(OptionList).focus()

    def action_walk(self, step: int) -> None:
        """The next one down, or up."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to its run."""
        self.dismiss(self._alerts[event.option_index].run)

    def _row(self, alert: Alert) -> Content:
        shape, fallback = _LOOKS[alert.severity]
        mark = fallback if self._plain else shape
        when = time.strftime("%d %b %H:%M", time.localtime(alert.t)) if alert.t else " " * 12
        return Content.assemble(
            say(f"{when} {mark} ", plain=self._plain),
            say(f"{alert.run}: {alert.title}", "bold", plain=self._plain),
            say(f"  {alert.text}" if alert.text else "", plain=self._plain),
        )
