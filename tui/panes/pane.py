"""The base of every pane: one reactive scene, bound from above, and one method that shows it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from tui.control.scene import Scene
from tui.panes.words import say


class Pane(Vertical):
    """A numbered box of the room. It reads the scene, draws only when its part of it changed, and does no I/O."""

    DEFAULT_CSS = """
    Pane {
        border: round $foreground 25%;
        border-title-color: $foreground-muted;
        border-subtitle-color: $foreground-muted;
        height: 1fr;
        padding: 0 1;
        &:focus-within { border: round $border; border-title-color: $text; border-title-style: bold; }
        &.-plain { border: ascii $foreground 25%; }
        &.-plain:focus-within { border: ascii $border; }
    }
    """

    NUMBER: ClassVar[int] = 0
    """The key that goes to it."""
    NAME: ClassVar[str] = ""

    scene: reactive[Scene | None] = reactive(None, init=False, repaint=False)
    """The moment to show; set by data binding, never by the pane."""
    plain: reactive[bool] = reactive(False)
    """Draw with ASCII only."""

    _shown: Hashable = None
    _run_id: str = ""

    def on_mount(self) -> None:
        """Give the box its title."""
        self.set_title("")

    def set_title(self, text: str) -> None:
        """The pane's number and name, and what more there is to say."""
        # not foreign, but a run's id in it is: content is never parsed as markup
        title = say(f"{self.NUMBER} {self.NAME}{'  ' + text if text else ''}", plain=self.plain).markup
        if title != self.border_title:
            self.border_title = title

    def set_subtitle(self, text: str) -> None:
        """A word in the lower border."""
        subtitle = say(text, plain=self.plain).markup
        if subtitle != self.border_subtitle:
            self.border_subtitle = subtitle

    def watch_plain(self, plain: bool) -> None:
        """ASCII borders for ASCII terminals."""
        self.set_class(plain, "-plain")
        self.set_title("")
        self._shown = None
        if self.is_mounted:
            self.watch_scene(self.scene)

    def watch_scene(self, scene: Scene | None) -> None:
        """Draw if this pane's part of the scene has changed."""
        if scene is None:
            return
        key = self.depends_on(scene)
        if key != self._shown:
            self._shown = key
            self.show(scene)
            self._begin_at_the_top(scene.selected.id if scene.selected else "")

    def _begin_at_the_top(self, run_id: str) -> None:
        """Another run is read from its first line, not from where the one before was left."""
        if run_id != self._run_id:
            self._run_id = run_id
            for scroll in self.query(VerticalScroll):
                scroll.scroll_home(animate=False)

    def depends_on(self, scene: Scene) -> Hashable:
        """What of the scene this pane shows; it is drawn again only when this changes."""
        selected = scene.selected
        return scene.turn, selected and (selected.id, selected.version)

    def show(self, scene: Scene) -> None:
        """Draw the scene."""

    def say(self, text: str, style: str = "") -> Content:
        """Text made safe, in the characters this terminal knows."""
        return say(text, style, plain=self.plain)

    def focus_inside(self) -> None:
        """Give the focus to what the pane's keys act on."""
        for widget in self.query("*"):
            if widget.can_focus and widget.display:
                widget.focus()
                return
