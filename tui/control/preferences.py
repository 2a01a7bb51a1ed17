"""A person's own settings: what they are, where each comes from, and how the file they are in is written.

Said on the command line or by the locale, a setting beats runs.toml, that beats the person's file, and that the
default. A project's runs.toml stands above a person's taste so that a room that must ask before it acts does ask,
whoever opens it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.files import write_atomically
from engine.run.preferences import Preferences
from engine.run.runs_file import RunsFile, parse_toml

Source = Literal["command line", "locale", "runs.toml", "your config.toml", "default"]
NAMES = Preferences.__struct_fields__
"""The settings, in the order in which they are offered."""
_TABLES = ("room", "keys")


@dataclass(frozen=True, slots=True)
class Personal:
    """What a person's file says."""

    path: Path | None = None
    """The file, there or not; None for nobody's: nothing is read or written."""
    room: Mapping[str, Any] = field(default_factory=dict)
    """Preferences it names, checked."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Binding ids and the keys it gives them, comma-separated; whether there are such is for the room to say."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What holds, and why."""

    values: Preferences = field(default_factory=Preferences)
    sources: Mapping[str, Source] = field(default_factory=lambda: dict.fromkeys(NAMES, "default"))


def personal_file() -> Path:
    """Where a person's settings are: `lvm-tui/config.toml` in the XDG configuration folder."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "lvm-tui" / "config.toml"


def load_personal(path: Path) -> Personal:
    """Read and check a person's file; one that is not there says nothing.

    Raises:
        ConfigError: with file, table, key and remedy.
    """
    if not path.exists():
        return Personal(path)
    tables = parse_toml(path, "Make it readable, or remove it.")
    for name, table in tables.items():
        if name not in _TABLES:
            raise ConfigError(f'{path}: unknown table "{name}".{suggestion(name, _TABLES)}')
        if not isinstance(table, dict):
            raise ConfigError(f'{path}: "{name}" must be written as [{name}].')
    room = tables.get("room", {})
    convert_section(room, Preferences, where=f"{path}, [room]")
    return Personal(path, room, dict(_flat(tables.get("keys", {}), f"{path}, [keys]")))


def resolve(
    file: RunsFile, personal: Personal, given: Mapping[str, Any], given_by: Source = "command line"
) -> Resolved:
    """What holds of every preference.

    Args:
        file: the runs.toml; of its `[room]`, what it says.
        personal: the person's file.
        given: what is said for this room alone.
        given_by: who says that.
    """
    said = {name: getattr(file.room, name) for name in NAMES if name in file.said}
    levels: list[tuple[Source, Mapping[str, Any]]] = [
        ("your config.toml", personal.room),
        ("runs.toml", said),
        (given_by, given),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, Source] = dict.fromkeys(NAMES, "default")
    for source, named in levels:
        values |= named
        sources |= dict.fromkeys(named, source)
    return Resolved(Preferences(**values), sources)


def save(path: Path, name: str, value: Any) -> Personal:
    """Write one preference into a person's file, beside whatever else stands there, comments included.

    Args:
        path: the file; made where it is not there.
        name: of the preference.
        value: what it shall be; None takes it out of the file.

    Returns:
        What the file says now.

    Raises:
        ConfigError: the value is none of its kind, or the file cannot be used as it is; it stays as it was.
        OSError: it cannot be written.
    """
    import tomlkit

    if value is not None:
        convert_section({name: value}, Preferences, where=f"{path}, [room]")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(path.parent):
        load_personal(path)  # a broken file is the person's to mend, not this program's to replace
        document = tomlkit.parse(path.read_bytes().decode("utf-8-sig")) if path.exists() else tomlkit.document()
        table = document.setdefault("room", tomlkit.table())
        if value is None:
            table.pop(name, None)
        else:
            table[name] = value
        # a file that is a link into somebody's collection of such files stays one
        write_atomically(path.resolve(), tomlkit.dumps(document).encode())
        return load_personal(path)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Between reading and replacing nobody else does; two rooms saving at once save one after the other."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _flat(table: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """`room.help = "h"` without quotes is a table in TOML; here it is the id it looks like."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, where, f"{prefix}{name}.")
        elif isinstance(value, str) and value.strip():
            yield f"{prefix}{name}", value
        else:
            raise ConfigError(f'{where}: "{prefix}{name}" must be a key such as "ctrl+t", got {value!r}.')
