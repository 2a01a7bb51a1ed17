"""The settings screen: what holds and why, changed with keys, written down, and in force at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded import make_spec, run_events, write_run
from textual.widgets import OptionList

from engine.run.runs_file import RunsFile, load_runs
from tui.app import RoomApp
from tui.cli import main
from tui.control.noticed import Alert
from tui.control.preferences import load_personal
from tui.keymap import ACTION_KEYS, ROOM_BINDINGS
from tui.screens.settings import SettingsScreen
from tui.themes import THEMES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A person's file that is not there yet."""
    return tmp_path / "person" / "config.toml"


def open_app(file: RunsFile, path: Path, **options: bool) -> RoomApp:
    return RoomApp(file, file.runs_dir, personal=load_personal(path), **options)


def rows(app: RoomApp) -> dict[str, list[str]]:
    """Name, value and source of every setting, as shown."""
    options = app.screen.query_one(OptionList).options
    lines = [str(option.prompt).split() for option in options]
    return {line[0]: line for line in lines}


async def test_a_setting_is_changed_written_and_used_at_once(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma")
        assert isinstance(app.screen, SettingsScreen)
        assert rows(app)["theme"][-2:] == ["lvm-dark", "default"]
        await pilot.press("right")
        await pilot.pause()
        assert app.theme == "lvm-light"
        assert rows(app)["theme"][-3:] == ["lvm-light", "your", "config.toml"]
        await pilot.press("down", "enter")
        await pilot.pause()
        assert load_personal(path).room == {"theme": "lvm-light", "confirm": True}
        await pilot.press("delete")
        await pilot.pause()
        assert load_personal(path).room == {"theme": "lvm-light"}
        assert rows(app)["confirm"][-2:] == ["no", "default"]
        await pilot.press("escape")
        assert not isinstance(app.screen, SettingsScreen)
    again = open_app(runs_file, path)
    async with again.run_test():
        assert again.theme == "lvm-light"


async def test_what_runs_toml_says_stays_and_that_is_told(runs_file: RunsFile, path: Path) -> None:
    file = Path(runs_file.path)
    file.write_text(file.read_text().replace("[room]", '[room]\ntheme = "lvm-contrast"'))
    app = open_app(load_runs(file), path)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma", "right")
        await pilot.pause()
        assert app.theme == "lvm-contrast"
        assert rows(app)["theme"][-1] == "runs.toml"
        assert any("said by the runs.toml" in notice.message for notice in app._notifications)


async def test_ascii_from_the_command_line_is_named_as_such(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path, plain=True)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma")
        assert rows(app)["ascii"][-3:] == ["yes", "command", "line"]


async def test_ascii_from_the_locale_is_named_as_such(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path, plain=True)
    app.tastes.given_by = "locale"
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma")
        assert rows(app)["ascii"][-2:] == ["yes", "locale"]
        await pilot.press("down", "down", "down", "down", "enter")
        await pilot.pause()
        assert any("said by the locale" in notice.message for notice in app._notifications)


@pytest.mark.parametrize(
    ("locale", "flags", "plain", "by"),
    [
        ("C", [], True, "locale"),
        ("C", ["--ascii"], True, "command line"),
        ("C.UTF-8", ["--ascii"], True, "command line"),
        ("C.UTF-8", [], False, "locale"),
    ],
)
def test_the_room_is_told_who_wants_ascii(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch, locale: str, flags: list[str], plain: bool, by: str
) -> None:
    opened: dict[str, object] = {}
    monkeypatch.setattr("tui.app.open_room", lambda *_, **told: opened.update(told))
    monkeypatch.setattr("tui.outside.is_served", lambda: True)
    CliRunner().invoke(main, ["--config", runs_file.path, *flags], env={"LC_ALL": locale})
    assert (opened["plain"], opened["plain_by"]) == (plain, by)


async def test_a_read_only_room_writes_no_settings_but_has_them(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path, readonly=True)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma", "right")
        await pilot.pause()
        assert app.theme == "lvm-light"
        assert not path.parent.exists()


async def test_a_file_that_cannot_be_written_is_named_and_nothing_changes(runs_file: RunsFile, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    app = open_app(runs_file, path)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("comma", "right")
        await pilot.pause()
        assert app.theme == "lvm-dark"
        assert any(str(path.parent) in notice.message for notice in app._notifications)


async def test_the_palette_chooses_a_theme_for_good(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path)
    async with app.run_test(size=(120, 35)) as pilot:
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        commands["theme lvm-contrast"]()
        await pilot.pause()
        assert app.theme == "lvm-contrast"
    assert load_personal(path).room == {"theme": "lvm-contrast"}


@pytest.mark.usefixtures("recorded_runs")
async def test_the_palette_lists_the_rooms_own_actions_and_why_one_does_not_apply(
    runs_file: RunsFile, path: Path
) -> None:
    app = open_app(runs_file, path)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.pause()
        commands = {command.title: command.help for command in app.get_system_commands(app.screen)}
        own = {binding.tooltip for binding in ROOM_BINDINGS} | {f"theme {theme.name}" for theme in THEMES}
        assert set(commands) == own, "the toolkit's quit, maximise and themes do other things than the room's"
        assert commands["kill (asks first)"] == "key K; not now: mamba_s-0001 is not running"
        assert commands["train Mamba-S"] == "key T"
        await pilot.press("colon", *"kill")
        await pilot.pause(0.5)
        assert "mamba_s-0001 is not running" in app.export_screenshot().replace("&#160;", " ")


@pytest.mark.usefixtures("recorded_runs")
async def test_the_palette_of_a_room_that_takes_no_action_offers_none(runs_file: RunsFile, path: Path) -> None:
    app = open_app(runs_file, path, readonly=True)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.pause()
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert not titles & {what for _, what in ACTION_KEYS.values()}
        assert "search the log" in titles


@pytest.mark.parametrize(("bell", "notices"), [(True, True), (False, True), (True, False)])
async def test_an_alert_is_as_loud_as_the_person_wants_it(
    runs_file: RunsFile, path: Path, monkeypatch: pytest.MonkeyPatch, bell: bool, notices: bool
) -> None:
    path.parent.mkdir()
    path.write_text(f"[room]\nbell = {str(bell).lower()}\nnotices = {str(notices).lower()}\n")
    app = open_app(runs_file, path)
    rung: list[bool] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(True))
    async with app.run_test() as pilot:
        app.announcer.tell(Alert("amn-0002", "GATE", "passed", "information"))
        await pilot.pause()
        assert (bool(rung), bool(len(app._notifications))) == (bell, notices)


async def test_ascii_is_switched_on_and_off_while_the_room_is_open(runs_file: RunsFile, path: Path) -> None:
    spec = make_spec()
    write_run(runs_file.runs_dir, spec, run_events(spec, [0.2, 0.3]), log_lines=[b"INFO epoch 1"])
    app = open_app(runs_file, path)
    async with app.run_test(size=(120, 35)) as pilot:

        def beyond_ascii() -> list[str]:
            strips = app.screen._compositor.render_strips()
            return [segment.text for strip in strips for segment in strip if not segment.text.isascii()]

        await pilot.pause()
        assert beyond_ascii()
        await pilot.press("comma", "down", "down", "down", "down", "space", "escape")
        await pilot.pause()
        assert app.plain
        assert beyond_ascii() == []
        await pilot.press("comma", "down", "down", "down", "down", "space", "escape")
        await pilot.pause()
        assert beyond_ascii()
