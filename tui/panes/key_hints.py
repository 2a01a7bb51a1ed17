"""The last line: the keys of the room. What cannot apply now is grey; pressing it says why."""

from __future__ import annotations

from collections.abc import Hashable

from textual.content import Content
from textual.reactive import reactive

from tui.control.scene import Scene
from tui.keymap import ACTION_KEYS, ROOM_BINDINGS, key_of
from tui.panes.words import say
from tui.widgets.steady_text import SteadyText


class KeyHints(SteadyText):
    """Hints made from the binding table."""

    DEFAULT_CSS = (
        "KeyHints { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"
    )

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)
    plain: reactive[bool] = reactive(False)

    _drawn: Hashable = None

    def watch_plain(self) -> None:
        """Draw with other characters."""
        self.watch_scene(self.scene)

    def watch_scene(self, scene: Scene | None) -> None:
        """Grey out what does not apply."""
        drawn = None if scene is None else (frozenset(scene.reasons), scene.readonly, self.plain)
        if scene is None or drawn == self._drawn:
            return
        self._drawn = drawn
        actions = {f"act.{action}": action for action in ACTION_KEYS}
        parts = []
        for binding in ROOM_BINDINGS:
            action = actions.get(binding.id or "", "")
            if not binding.show or (action and scene.readonly):
                continue
            is_grey = action in scene.reasons
            key = key_of(binding.id or "", scene.keys)
            label = Content.assemble(
                (key, "$foreground-disabled" if is_grey else "bold $text-accent"),
                say(f" {binding.description}", "$foreground-disabled" if is_grey else "", plain=self.plain),
            )
            parts.append(label)
        self.show(Content("  ").join([*parts, say("1-8 pane", plain=self.plain)]), layout=False)
