"""What a person prefers of the control room; said in `[room]` of runs.toml, or in the person's own file."""

from __future__ import annotations

from engine.run.settings import Section


class Preferences(Section, frozen=True, kw_only=True):
    """Looks and manners of the room; nothing here decides what a training does."""

    theme: str = "lvm-dark"
    """`lvm-dark`, `lvm-light`, `lvm-contrast`, or a theme of the terminal toolkit."""
    confirm: bool = False
    """Ask before every action that changes something, with the focus on Cancel."""
    bell: bool = True
    """Ring the terminal's bell at an alert."""
    notices: bool = True
    """Show an alert in the room's corner for ten seconds; panes and journal have it either way."""
    ascii: bool = False
    """Draw with ASCII only."""
    follow: bool = True
    """Begin at the end of a log and follow it."""
