"""Checking a table against a type: one place where a user's mistake gets its file, table, key and nearest name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting that cannot be used. The message says what is wrong, where, and how to mend it."""


def convert_section(table: Any, kind: type[T], *, where: str) -> T:
    """Check a table against a section's type; errors name `where`, the key, and the nearest known key.

    Args:
        table: nested dicts, as TOML or JSON gives them.
        kind: what it must be.
        where: the file and the table, such as `runs.toml, [run.amn]`; inner tables are named within the brackets.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range.
    """
    _refuse_unknown_keys(table, kind, where)
    _refuse_non_finite(table, where)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        keys = [key for key in re.split(r"[.`]", path) if key and not key.startswith("[")]
        for key in keys[:-1]:
            where = _inner(where, key)
        shown = f' "{keys[-1]}"' if keys else ""
        value = _value_at(table, keys)
        got = f", got {value!r}" if isinstance(value, int | float) and "got" not in problem else ""
        problem = f"{problem[:1].lower()}{problem[1:]}{got}"
        raise ConfigError(f"{where}:{shown} {problem}.{_choices(kind, keys, table)}") from None


def _value_at(table: Any, keys: Iterable[str]) -> Any:
    """What stands at a path of keys; None where the path leaves the tables."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def suggestion(name: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?`, or the list of what is known where nothing is near."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f' Did you mean "{nearest[0]}"?' if nearest else f" Known: {', '.join(sorted(names)) or 'none'}."


def _refuse_unknown_keys(table: Any, kind: Any, where: str) -> None:
    """Walk a table beside its type. msgspec names the unknown key but not the nearest known one."""
    if not (isinstance(kind, type) and issubclass(kind, Struct) and isinstance(table, Mapping)):
        return
    hints = _hints(kind)
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(f'{where}: unknown key "{key}".{suggestion(key, hints)}')
        _refuse_unknown_keys(value, hints[key], _inner(where, key))


@cache
def _hints(kind: type[Struct]) -> dict[str, Any]:
    """The types of a section's keys; evaluating the annotations anew costs more than all the rest."""
    return get_type_hints(kind)


def _refuse_non_finite(table: Any, where: str) -> None:
    """TOML can say `inf` and `nan`; no setting means either, and JSON could not keep them in `spec.json`."""
    for key, value in table.items() if isinstance(table, Mapping) else ():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f'{where}: "{key}" is {value}; it must be a finite number.')
        for inner in value if isinstance(value, list) else [value]:
            _refuse_non_finite(inner, _inner(where, key))


def _inner(where: str, key: str) -> str:
    """`runs.toml, [run.amn]` and `loss` make `runs.toml, [run.amn.loss]`."""
    return f"{where[:-1]}.{key}]" if where.endswith("]") else f"{where}, {key}"


def _choices(kind: Any, keys: list[str], table: Any) -> str:
    """What a key of few values may be, nearest first."""
    value = table
    for key in keys:
        if not (isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, Mapping)):
            return ""
        kind, value = _hints(kind).get(key), value.get(key)
    return suggestion(str(value), map(str, get_args(kind))) if get_origin(kind) is Literal else ""
