"""Rebound keys: what they are called, what is refused and why, and that the room listens to them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.binding import Binding

from engine.run.convert import ConfigError
from engine.run.runs_file import RunsFile
from tui.app import RoomApp
from tui.cli import main
from tui.control.preferences import Personal, personal_file
from tui.keymap import key_of
from tui.panes.key_hints import KeyHints
from tui.panes.status_strip import StatusStrip
from tui.rebinding import checked_keys, usual_keys
from tui.screens.help import HelpScreen


def with_keys(file: RunsFile, **keys: str) -> RoomApp:
    """A room for a person with these keys; `__` stands for the dot of an id."""
    personal = Personal(None, {}, {name.replace("__", "."): key for name, key in keys.items()})
    return RoomApp(file, file.runs_dir, personal=personal)


def objection(**keys: str) -> str:
    """Why keys are refused."""
    with pytest.raises(ConfigError) as caught:
        checked_keys({name.replace("__", "."): key for name, key in keys.items()}, "config.toml, [keys]")
    return str(caught.value)


def test_every_key_of_the_program_has_an_id_of_its_own_and_says_what_it_does() -> None:
    bound = usual_keys()
    assert len({each.id for each in bound}) == len(bound) > 60
    assert all(each.id and each.what and each.key for each in bound)


def test_the_usual_keys_may_all_be_written_down_as_they_are() -> None:
    usual = {each.id: each.key for each in usual_keys()}
    assert checked_keys(usual | {"act.stop": "ctrl+s"}, "config.toml")["act.stop"] == "ctrl+s"


def test_signs_are_keys_by_their_names() -> None:
    wanted = {"room.help": "?", "log.find": "/,ctrl+f", "chart.fit": "+", "room.settings": ",", "room.out": "f1"}
    named = checked_keys(wanted | {"chart.zoom_in": "="}, "config.toml")
    assert named == {
        "room.help": "question_mark",
        "log.find": "slash,ctrl+f",
        "chart.fit": "plus",
        "room.settings": "comma",
        "room.out": "f1",
        "chart.zoom_in": "equals_sign",
    }


def test_an_unknown_id_is_refused_with_the_nearest() -> None:
    assert 'there is no "act.restrat". Did you mean "act.restart"?' in objection(act__restrat="r")


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    assert 'there is no key "contrl+t". Did you mean "ctrl"?' in objection(act__start="contrl+t")
    assert 'there is no key "escpae". Did you mean "escape"?' in objection(act__start="escpae")


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"act__start": "R"}, ("act.start", "act.restart")),
        ({"act__start": "ctrl+t", "act__stop": "ctrl+t"}, ("act.start", "act.stop")),
        ({"act__start": "y"}, ("act.start", "chart.log_y")),  # the chart would keep it from the room
        ({"log__next_match": "e"}, ("log.next_trouble", "log.next_match")),
    ],
)
def test_one_key_for_two_is_refused_with_both_named(keys: dict[str, str], names: tuple[str, str]) -> None:
    words = objection(**keys)
    assert all(f'"{name}"' in words for name in names)


def test_one_key_in_two_places_that_never_hear_it_together_is_fine() -> None:
    assert checked_keys({"log.next_match": "z", "confirm.yes": "j"}, "config.toml")
    assert checked_keys({"act.start": "R", "act.restart": "T"}, "config.toml"), "two may change places"


@pytest.mark.parametrize(("key", "words"), [("tab", "cannot be given away"), ("ctrl+m", "the same for ctrl+m as for")])
def test_keys_that_a_terminal_or_the_toolkit_needs_are_refused(key: str, words: str) -> None:
    assert words in objection(act__start=key)


async def test_the_room_listens_to_the_rebound_key_and_shows_it(
    runs_file: RunsFile, recorded_runs: Path, fake_engine: list[str]
) -> None:
    app = with_keys(runs_file, room__help="f1", act__restart="ctrl+r", pane__1="z")
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        hints = str(app.screen.query_one(KeyHints).render())
        assert "ctrl+r restart" in hints
        assert "f1 help" in hints
        assert app.scene
        assert key_of("act.restart", app.scene.keys) == "ctrl+r"
        tree = app.screen.query_one("#position").content.plain  # type: ignore[attr-defined]
        assert "ctrl+r  loss.temperature" in tree
        await pilot.press("question_mark")
        assert not isinstance(app.screen, HelpScreen), "the usual key is free now"
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        rows = "\n".join(str(row) for row in app.screen._rows())
        assert f"{'ctrl+r':>14}  restart with" in rows
        assert f"{'?':>14}" not in rows.replace("? close", "")
        helps = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert helps["restart with the recommended fix"] == "key ctrl+r"


async def test_an_empty_room_names_the_rebound_keys(runs_file: RunsFile) -> None:
    app = with_keys(runs_file, act__start="ctrl+t", act__start_baseline="ctrl+b")
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        words = "ctrl+t trains Mamba-S, ctrl+b the AMN baseline"
        assert words in str(app.screen.query_one(StatusStrip).render())


def test_the_list_of_keys_is_the_helps_and_shows_a_persons_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    usual = CliRunner().invoke(main, ["keys"])
    assert usual.exit_code == 0
    for binding in HelpScreen.BINDINGS:
        assert isinstance(binding, Binding)
        assert binding.id in usual.stdout
    personal_file().parent.mkdir()
    personal_file().write_text('[keys]\n"act.restart" = "ctrl+r"\nroom.help = "?,f1"\n')
    listed = json.loads(CliRunner().invoke(main, ["keys", "--json"]).stdout)["keys"]
    assert {row["id"]: row["key"] for row in listed if row["rebound"]} == {
        "act.restart": "ctrl+r",
        "room.help": "question_mark,f1",
    }
    personal_file().write_text('[keys]\n"act.restrat" = "ctrl+r"\n')
    refused = CliRunner().invoke(main, ["keys"])
    assert refused.exit_code == 2
    assert 'Did you mean "act.restart"?' in refused.stderr


def test_no_binding_of_the_program_is_left_out_of_the_list() -> None:
    tui = Path(__file__).resolve().parents[2] / "tui"
    declared = {
        name
        for path in tui.rglob("*.py")
        for name in re.findall(r'\bid="([a-z_]+\.[a-z_]+)"', path.read_text())
        if "Binding" in path.read_text()
    }
    assert declared - {bound.id for bound in usual_keys()} == set()
