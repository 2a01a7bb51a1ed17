"""Telling a person in the room what has happened: a notice, the bell, the terminal's notice, and a list that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.control.alerts import history
from tui.control.news import News
from tui.control.noticed import Alert
from tui.screens.alerts import AlertsScreen
from tui.text import clean, shorten

if TYPE_CHECKING:
    from tui.app import RoomApp

NOTICE_CHARS = 240
"""A notice is read in passing; panes, log and command line have the whole text."""
NOTICE_S = 10.0


class Announcer:
    """Says each piece of news once, and counts what nobody has looked at in the list since.

    Args:
        app: the room.
        news: of its folder.
    """

    def __init__(self, app: RoomApp, news: News) -> None:
        self._app = app
        self._news = news
        self.unread = 0
        """News since the list was last opened, or the room."""

    def announce(self) -> None:
        """Tell what is new."""
        for alert in self._news.alerts():
            self.unread += 1
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        """Tell one thing, as loudly as the person wants it."""
        wanted = self._app.tastes.values
        title, text = clean(f"{alert.run}: {alert.title}"), shorten(clean(alert.text), NOTICE_CHARS)
        if wanted.notices:
            self._app.notify(text, title=title, severity=alert.severity, markup=False, timeout=NOTICE_S)
        if wanted.bell:
            self._app.bell()
            self._tell_terminal(title)

    def open_list(self) -> None:
        """Show all that has happened, whether it was told here or not."""
        app, self.unread = self._app, 0
        alerts = history(app.watcher.views.values(), app.actions.journal.read())

        def chosen(run_id: str | None) -> None:
            if run_id in app.watcher.views:
                app.choose(run_id)

        app.clear_notifications()
        app.push_screen(AlertsScreen(alerts, plain=app.plain), chosen)

    def _tell_terminal(self, title: str) -> None:
        """The terminal's own notice (OSC 9), which reaches a person who looks at another window."""
        driver = self._app._driver  # as Textual's own bell does
        if driver is not None and not self._app.is_headless:
            driver.write(f"\x1b]9;{title}\x1b\\")
