"""A person's settings: which word counts, what is refused, and what writing leaves alone."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.run.convert import ConfigError
from engine.run.preferences import Preferences
from engine.run.runs_file import RunsFile, load_runs
from tui.control.preferences import NAMES, Personal, load_personal, personal_file, resolve, save

TEXT = """# mine
[room]   # how I like it
theme = "lvm-light"  # the window is bright
confirm = true

[keys]
"act.restart" = "ctrl+r" # far from T
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A person's file, with comments."""
    file = tmp_path / "lvm-tui" / "config.toml"
    file.parent.mkdir()
    file.write_text(TEXT)
    return file


def test_the_file_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert personal_file() == tmp_path / "lvm-tui" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert personal_file() == tmp_path / ".config" / "lvm-tui" / "config.toml"


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert load_personal(tmp_path / "config.toml") == Personal(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[rooms]", 'unknown table "rooms". Did you mean "room"?'),
        ("room = 3", '"room" must be written as [room]'),
        ("[room]\nthem = 'x'", 'unknown key "them". Did you mean "theme"?'),
        ("[room]\nconfirm = 'yes'", '"confirm" expected `bool`'),
        ("[room]\nruns_dir = 'x'", 'unknown key "runs_dir"'),
        ("[keys]\n'act.start' = 3", '"act.start" must be a key such as'),
        ("[keys", "not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_key(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_personal(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("mine", "theirs", "given", "value", "source"),
    [
        ({}, "", {}, False, "default"),
        ({"confirm": True}, "", {}, True, "your config.toml"),
        ({"confirm": True}, "confirm = false", {}, False, "runs.toml"),
        ({"confirm": False}, "confirm = false", {"confirm": True}, True, "command line"),
    ],
)
def test_the_nearer_word_counts(
    runs_file: RunsFile, mine: dict[str, Any], theirs: str, given: dict[str, Any], value: bool, source: str
) -> None:
    file = Path(runs_file.path)
    file.write_text(file.read_text().replace("[room]", f"[room]\n{theirs}"))
    resolved = resolve(load_runs(file), Personal(None, mine), given)
    assert (resolved.values.confirm, resolved.sources["confirm"]) == (value, source)
    assert resolved.values.theme == Preferences().theme, "the others are as ever"
    assert set(resolved.sources) == set(NAMES)


def test_saving_keeps_comments_keys_and_everything_else(path: Path) -> None:
    said = save(path, "theme", "lvm-contrast")
    assert said.room == {"theme": "lvm-contrast", "confirm": True}
    assert path.read_text() == TEXT.replace('"lvm-light"', '"lvm-contrast"')
    save(path, "bell", False)
    assert path.read_text() == TEXT.replace('"lvm-light"', '"lvm-contrast"').replace(
        "confirm = true\n", "confirm = true\nbell = false\n"
    )
    save(path, "bell", None)
    save(path, "theme", "lvm-light")
    assert path.read_text() == TEXT


def test_saving_makes_the_file_for_this_person_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lvm-tui" / "config.toml"
    assert save(path, "bell", False).room == {"bell": False}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(("name", "value"), [("confirm", "perhaps"), ("thme", "lvm-dark"), ("theme", 3)])
def test_what_is_no_value_is_not_written(path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError):
        save(path, name, value)
    assert path.read_text() == TEXT


def test_a_broken_file_is_not_replaced(path: Path) -> None:
    path.write_text("[room\n# half a thought")
    with pytest.raises(ConfigError, match="not valid TOML"):
        save(path, "bell", False)
    assert path.read_text() == "[room\n# half a thought"


def test_a_link_into_a_collection_of_such_files_stays_one(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    path.rename(kept)
    path.symlink_to(kept)
    save(path, "bell", False)
    assert path.is_symlink()
    assert "bell = false" in kept.read_text()


def test_rooms_that_save_at_once_lose_nothing(path: Path) -> None:
    names = ("bell", "notices", "ascii", "follow")
    savers = [threading.Thread(target=save, args=(path, name, False)) for name in names for _ in range(3)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
    assert load_personal(path).room == {"theme": "lvm-light", "confirm": True} | dict.fromkeys(names, False)
