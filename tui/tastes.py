"""A person's settings in the room: which hold, how they take effect, and what becomes of a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import App, SystemCommand
from textual.screen import Screen

from engine.run.convert import ConfigError
from engine.run.preferences import Preferences
from tui.control.preferences import Personal, Resolved, Source, resolve, save
from tui.keymap import ROOM_BINDINGS, key_of
from tui.panes.words import say
from tui.rebinding import checked_keys
from tui.screens.settings import SettingsScreen
from tui.text import clean
from tui.themes import THEMES, offer_themes, use_theme

if TYPE_CHECKING:
    from textual.reactive import reactive

    from engine.run.runs_file import RunsFile
    from tui.control.scene import Scene
    from tui.screens.room import RoomScreen


class Tastes:
    """What a person prefers, over what runs.toml says and what the program does by itself."""

    def __init__(self, personal: Personal, given: Mapping[str, Any], *, readonly: bool) -> None:
        """A person's settings.

        Args:
            personal: their file.
            given: what is said for this room alone, on the command line unless `given_by` says otherwise.
            readonly: whether changes last as long as the room does, since it writes nothing.

        Raises:
            ConfigError: `[keys]` cannot be used.
        """
        self._personal = personal
        self._given = given
        self.given_by: Source = "command line"
        self._readonly = readonly
        self.keys = checked_keys(personal.keys, f"{personal.path}, [keys]")
        self.resolved = Resolved()

    @property
    def values(self) -> Preferences:
        """What holds."""
        return self.resolved.values

    def take_up(self, app: App[None], room: RoomScreen, file: RunsFile) -> str:
        """Have the room look and behave as it should; returns what is wrong, empty if nothing is."""
        self.resolved = resolve(file, self._personal, self._given, self.given_by)
        offer_themes(app)
        app.set_keymap(self.keys)
        room.plain = self.values.ascii
        app.set_class(self.values.ascii, "-plain")
        source = self.resolved.sources["theme"]
        where = str(self._personal.path) if source == "your config.toml" else file.path
        return use_theme(app, self.values.theme, f"{where}, [room]")

    def screen(self, app: App[None]) -> SettingsScreen:
        """The settings, to be shown."""
        own = [theme.name for theme in THEMES]
        themes = [*own, *sorted(name for name in app.available_themes if name not in own)]
        path = "" if self._readonly or self._personal.path is None else str(self._personal.path)
        return SettingsScreen(lambda: self.resolved, themes, path, plain=self.values.ascii)

    def change(self, name: str, value: Any) -> str:
        """Write a preference down; returns what to tell the person, empty if it simply holds now.

        Raises:
            ConfigError, OSError: it cannot be written; nothing has changed.
        """
        if self._personal.path is None or self._readonly:
            room = {key: old for key, old in self._personal.room.items() if key != name}
            self._personal = Personal(self._personal.path, room if value is None else room | {name: value})
        else:
            self._personal = save(self._personal.path, name, value)
        source = self.resolved.sources[name]
        if source in ("command line", "locale", "runs.toml"):
            return f"{name} is said by the {source}, which stands above your own file"
        return ""


class Settled(App[None]):
    """The part of the application that has settings."""

    file: RunsFile
    tastes: Tastes
    scene: reactive[Scene | None]
    readonly: bool

    def take_up_settings(self) -> None:
        """Use what holds now."""
        raise NotImplementedError

    @property
    def plain(self) -> bool:
        """Whether to draw with ASCII only."""
        return self.tastes.values.ascii

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key of the room by what it does, and why not where it does not apply; then our themes.

        The toolkit's own commands would quit and maximise in another way than the room's keys of that name. A room that
        takes no action offers none.
        """
        reasons = self.scene.reasons if self.scene is not None else {}
        for binding in ROOM_BINDINGS:
            place, _, action = (binding.id or "").partition(".")
            if place == "act" and self.readonly:
                continue
            key = f"key {key_of(binding.id or '', self.tastes.keys)}"
            why_not = reasons.get(action, "") if place == "act" else ""
            words = say(f"{key}; not now: {why_not}" if why_not else key, plain=self.plain)
            yield SystemCommand(binding.tooltip, words.markup, partial(self.run_action, binding.action))
        for theme in THEMES:
            wanted = SettingsScreen.Wanted("theme", theme.name)
            yield SystemCommand(f"theme {theme.name}", "from now on", partial(self.change_setting, wanted))

    def action_settings(self) -> None:
        """Show a person's settings."""
        self.clear_notifications()
        self.push_screen(self.tastes.screen(self))

    @on(SettingsScreen.Wanted)
    def change_setting(self, event: SettingsScreen.Wanted) -> None:
        """Write it, use it, and show it."""
        try:
            told = self.tastes.change(event.name, event.value)
        except (ConfigError, OSError) as error:
            self.notify(clean(str(error)), severity="error", markup=False, timeout=10)
            return
        if told:
            self.notify(clean(told), severity="warning", markup=False)
        self.take_up_settings()
        if isinstance(self.screen, SettingsScreen):
            self.screen.show()
