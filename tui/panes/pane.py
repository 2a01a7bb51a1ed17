"""The base of every pane: one reactive scene, bound from above, and one method that shows it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
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
    _in_border: Mapping[str, tuple[str, bool]] = MappingProxyType({})
    """What was set last, and whether in ASCII; the toolkit gives it back in its own spelling."""
    _is_behind = False
    """The scene has changed while the pane had no place on the screen."""

    def on_mount(self) -> None:
        """Give the box its title."""
        self.set_title("")

    def set_title(self, text: str, *, name: str = "") -> None:
        """The pane's number and name, or another one, and what more there is to say."""
        self._show_in_border("border_title", f"{self.NUMBER} {name or self.NAME}{'  ' + text if text else ''}")

    def set_subtitle(self, text: str) -> None:
        """A word in the lower border."""
        self._show_in_border("border_subtitle", text)

    def _show_in_border(self, where: str, text: str) -> None:
        if (text, self.plain) != self._in_border.get(where):  # setting it paints the whole pane
            self._in_border = {**self._in_border, where: (text, self.plain)}
            # not foreign, but a run's id in it is: content is never parsed as markup
            setattr(self, where, say(text, plain=self.plain).markup)

    def watch_plain(self, plain: bool) -> None:
        """ASCII borders for ASCII terminals."""
        self.set_class(plain, "-plain")
        for where, (text, _) in self._in_border.items():
            self._show_in_border(where, text)
        if self.is_mounted:
            self.watch_scene(self.scene)

    def watch_scene(self, scene: Scene | None) -> None:
        """Draw if this pane's part of the scene has changed; out of sight, once it is in sight again."""
        self._is_behind = not self.display
        if scene is not None and self.display:
            self._draw(scene)

    def bring_up_to_date(self) -> None:
        """Draw the moment now, in sight or not: a key that works everywhere asks something of this pane."""
        if self.scene is not None:
            self._draw(self.scene)

    def _draw(self, scene: Scene) -> None:
        key = self.plain, self.depends_on(scene)
        if key != self._shown:
            self._shown = key
            self.show(scene)
            self._begin_at_the_top(scene.selected.id if scene.selected else "")

    def notify_style_update(self) -> None:
        """Textual's notice of new styles, which come before the layout: with a place comes what belongs there."""
        super().notify_style_update()
        if self._is_behind and self.display:
            self.watch_scene(self.scene)

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
