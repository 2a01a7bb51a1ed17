"""Three lines for whoever opens the room for the first time; put away once, they do not come back."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.reactive import reactive

from tui.control.scene import Scene
from tui.keymap import key_of
from tui.panes.words import lines, say
from tui.widgets.steady_text import SteadyText


class FirstHints(SteadyText):
    """What to press first."""

    DEFAULT_CSS = """
    FirstHints { height: 3; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: clip; display: none; }
    FirstHints.-open { display: block; }
    """

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)
    plain: reactive[bool] = reactive(False)

    class Read(Message):
        """They were put away."""

    def watch_scene(self, scene: Scene | None) -> None:
        """Name the keys as they are."""
        if scene is None or not self.has_class("-open"):
            return
        start, tree, large, every, settings, palette, out = (
            key_of(name, scene.keys)
            for name in (
                "act.start", "pane.4", "pane.maximize", "room.help", "room.settings", "room.palette", "room.out",
            )
        )  # fmt: skip
        rows = (
            f"Lower case looks, UPPER CASE acts: {start} trains. Leaving stops nothing.",
            f"{tree} says what to do next and why; {large} makes a pane large; {every} lists every key.",
            f"{settings} has your settings, {palette} every action. {out} puts these lines away for good.",
        )
        self.show(lines(*(say(row, plain=self.plain) for row in rows)))

    def open(self) -> None:
        """Show them."""
        self.add_class("-open")
        self.watch_scene(self.scene)

    def put_away(self) -> bool:
        """Close them; False if they were not open."""
        if not self.has_class("-open"):
            return False
        self.remove_class("-open")
        self.post_message(self.Read())
        return True

    def on_click(self, event: events.Click) -> None:
        """A click is enough."""
        event.stop()
        self.put_away()
