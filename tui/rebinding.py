"""Every key of the program in one list, and a person's own keys checked against it.

An id keeps its meaning, its key is the person's. Two ids may not share a key where both would hear it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final, NamedTuple

from textual.binding import Binding, BindingType
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

from engine.run.convert import ConfigError, suggestion
from tui.keymap import ROOM_BINDINGS
from tui.panes.chart import ChartPane
from tui.panes.log import SearchBar
from tui.panes.metric_grid import MetricGrid
from tui.panes.runs import RunsPane
from tui.panes.runs_bar import RunsBar
from tui.panes.runs_table import RunsTable
from tui.panes.versus import VersusPane
from tui.screens.alerts import AlertsScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.line_detail import LineDetailScreen
from tui.screens.plan import PlanScreen
from tui.screens.settings import SettingsScreen
from tui.widgets.chart_keys import CHART_KEYS
from tui.widgets.file_view import FileView
from tui.widgets.virtual_log import VirtualLog


class Bound(NamedTuple):
    """A binding and where it is heard."""

    id: str
    key: str
    """As Textual names it; several with commas between them."""
    what: str
    place: str
    """`room`, `room.log.search`: heard there and, where nothing is in the way, further in. Dialogs stand alone."""


_PLACES: Final[dict[str, tuple[str, list[list[BindingType]]]]] = {
    # place: what people call it, the binding tables that are heard there
    "room": ("everywhere", [list(ROOM_BINDINGS)]),
    "room.chart": ("chart", [list(ChartPane.BINDINGS)]),
    "room.chart.line": ("large chart", [list(CHART_KEYS)]),
    "room.chart.grid": ("small charts", [list(MetricGrid.BINDINGS)]),
    "room.runs": ("runs", [list(RunsPane.BINDINGS)]),
    "room.runs.list": ("list of runs", [list(RunsTable.BINDINGS)]),
    "room.runs.bar": ("line above the runs", [list(RunsBar.BINDINGS)]),
    "room.versus": ("comparison", [list(VersusPane.BINDINGS)]),
    "room.log": ("log", [list(FileView.BINDINGS), list(VirtualLog.BINDINGS)]),
    "room.log.search": ("search bar", [list(SearchBar.BINDINGS)]),
    "dialog": ("dialog", [list(ConfirmScreen.BINDINGS)]),
    "help": ("help", [list(HelpScreen.BINDINGS)]),
    "alerts": ("alerts", [list(AlertsScreen.BINDINGS)]),
    "plan": ("plans", [list(PlanScreen.BINDINGS)]),
    "line": ("whole line", [list(LineDetailScreen.BINDINGS)]),
    "settings": ("settings", [list(SettingsScreen.BINDINGS)]),
}
_TOOLKITS: Final = {
    "tab": "goes to the next part of the screen",
    "shift+tab": "goes to the part before",
    "ctrl+p": "opens the palette",
    "ctrl+q": "leaves",
    "ctrl+c": "copies",
}
_SAME_TO_A_TERMINAL: Final = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+j": "enter", "ctrl+h": "backspace"}
_MODIFIERS: Final = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
_NAMED: Final = {
    *(key.value for key in Keys if key.value.isalnum()),
    *KEY_NAME_REPLACEMENTS.values(),
}


def usual_keys() -> list[Bound]:
    """Every binding with its usual key."""
    return [
        Bound(binding.id or "", binding.key, binding.tooltip or binding.description, place)
        for place, (_, tables) in _PLACES.items()
        for table in tables
        for binding in table
        if isinstance(binding, Binding)
    ]


def place_name(bound: Bound) -> str:
    """What people call the place where a key is heard."""
    return _PLACES[bound.place][0]


def checked_keys(wanted: Mapping[str, str], where: str) -> dict[str, str]:
    """A person's keys as the toolkit names them.

    Args:
        wanted: binding ids and keys, several with commas between them.
        where: the file and table, for errors.

    Raises:
        ConfigError: there is no such id or key, the key is not to be had, or another binding would hear it too.
    """
    usual = usual_keys()
    ids = [bound.id for bound in usual]
    keys: dict[str, str] = {}
    for binding_id, key in wanted.items():
        if binding_id not in ids:
            raise ConfigError(f'{where}: there is no "{binding_id}".{suggestion(binding_id, ids)}')
        keys[binding_id] = ",".join(_checked(part, f'{where}: "{binding_id}"') for part in _split(key))
    as_ever = {bound.id: set(_split(bound.key)) for bound in usual}
    for one, other in combinations(with_keys(usual, keys), 2):
        shared = set(_split(one.key)) & set(_split(other.key)) - (as_ever[one.id] & as_ever[other.id])
        if shared and _both_hear(one.place, other.place):
            raise ConfigError(
                f'{where}: "{one.id}" ({one.what}) and "{other.id}" ({other.what}) would both be {sorted(shared)[0]}. '
                "Give one of them another key."
            )
    return keys


def with_keys(usual: Iterable[Bound], keys: Mapping[str, str]) -> list[Bound]:
    """The bindings with a person's keys."""
    return [bound._replace(key=keys.get(bound.id, bound.key)) for bound in usual]


def _both_hear(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _split(keys: str) -> Iterator[str]:
    """`a,b` is two keys, `,` is one."""
    for part in keys.split(",") if keys.strip() != "," else ["comma"]:
        if part.strip():
            yield part.strip()


def _checked(key: str, where: str) -> str:
    """A key as Textual names it."""
    *modifiers, base = [part or "plus" for part in key.split("+")] if key != "+" else ["plus"]
    unknown = next((name for name in modifiers if name not in _MODIFIERS), None)
    if unknown is not None:
        raise ConfigError(f'{where}: there is no key "{key}".{suggestion(unknown, _MODIFIERS)}')
    if len(base) == 1 and not base.isalnum():
        name = unicodedata.name(base, "").lower().replace("-", "_").replace(" ", "_")
        base = KEY_NAME_REPLACEMENTS.get(name, name)
    if not (base in _NAMED or key_to_character(base) is not None):
        raise ConfigError(f'{where}: there is no key "{key}".{suggestion(base, _NAMED)}')
    named = "+".join([*modifiers, base])
    if named in _TOOLKITS:
        raise ConfigError(f"{where}: {named} {_TOOLKITS[named]} and cannot be given away. Name another key.")
    if named in _SAME_TO_A_TERMINAL:
        same = _SAME_TO_A_TERMINAL[named]
        raise ConfigError(f"{where}: a terminal sends the same for {named} as for {same}. Name another key.")
    return named
