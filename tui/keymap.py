"""Every key of the room in one table: bindings, help, hints and the decision tree's suggestions are made from it.

Lower case looks, UPPER CASE changes the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.binding import Binding
from textual.keys import key_to_character

ACTION_KEYS: dict[str, tuple[str, str]] = {
    # the playbook's action: key, what it does
    "start": ("T", "train Mamba-S"),
    "start_baseline": ("B", "train the AMN baseline"),
    "restart": ("R", "restart with the recommended fix"),
    "mend": ("M", "mend: apply the remedy of what the diagnosis names first"),
    "probe": ("P", "probe the ladder: short runs of every fix, and which one helps"),
    "evaluate": ("E", "smoke evaluation"),
    "evaluate_tuned": ("I", "smoke evaluation on an index of its own, tuned by measurement"),
    "evaluate_full": ("F", "full evaluation"),
    "override": ("O", "go on all the same, with a written reason"),
    "preflight": ("D", "look at the data again (preflight)"),
    "align": ("A", "fit an alignment head, judge it on other articles"),
    "rerank": ("L", "fit a reranker, judge it on other articles"),
    "evaluate_fitted": ("H", "full evaluation behind the reranker that lifts, else the head"),
    "stop": ("S", "stop after this step, with a checkpoint"),
    "resume": ("C", "continue a stopped run from its checkpoint"),
    "kill": ("K", "kill (asks first)"),
    "undo": ("u", "undo the last restart"),
    "autopilot": ("W", "autopilot: walk the playbook alone for this family, or stop doing so"),
}
PANE_NAMES = ("runs", "chart", "gates", "tree", "log", "versus", "system", "preflight")


def _act(action: str, short: str) -> Binding:
    key, tooltip = ACTION_KEYS[action]
    return Binding(key, f"act('{action}')", short, tooltip=tooltip, id=f"act.{action}")


def _look(key: str, action: str, short: str, tooltip: str, binding_id: str, *, display: str = "") -> Binding:
    """A key that is not hinted at in the last line, but is in the help."""
    return Binding(key, action, short, show=False, key_display=display or None, tooltip=tooltip, id=binding_id)


ROOM_BINDINGS: list[Binding] = [
    # in the order of the hints: what a narrow terminal cuts off comes last
    Binding("question_mark", "help", "help", key_display="?", tooltip="every key that works here", id="room.help"),
    _act("start", "train"),
    _act("start_baseline", "baseline"),
    _act("restart", "restart"),
    _act("evaluate", "eval"),
    _act("stop", "stop"),
    _act("undo", "undo"),
    Binding("q", "leave", "quit", tooltip="leave the room; training goes on", id="room.leave"),
    _act("mend", "mend"),
    Binding("slash", "find", "find", key_display="/", tooltip="search the log", id="log.find"),
    _act("evaluate_full", "full eval"),
    _act("resume", "continue"),
    _act("kill", "kill"),
    _act("override", "override"),
    _act("probe", "probe"),
    _act("autopilot", "autopilot"),
    _act("preflight", "preflight"),
    _act("align", "align"),
    _act("rerank", "rerank"),
    _act("evaluate_fitted", "fitted eval"),
    _act("evaluate_tuned", "tuned eval"),
    *(
        _look(str(number), f"pane({number})", name, f"go to pane {number}, {name}", f"pane.{number}")
        for number, name in enumerate(PANE_NAMES, start=1)
    ),
    _look("i", "plan", "plan", "what R, M and P would do now, before they do it", "room.plan"),
    _look("exclamation_mark", "alerts", "alerts", "what has happened, newest first", "room.alerts", display="!"),
    _look("colon", "command_palette", "palette", "every action by name (also ctrl+p)", "room.palette", display=":"),
    _look("comma", "settings", "settings", "settings: theme, confirm, bell, ...", "room.settings", display=","),
    _look("m", "maximize_pane", "maximise", "this pane alone, and back", "pane.maximize"),
    _look("escape", "out", "back", "one layer out", "room.out"),
    _look("ampersand", "filter", "filter", "show only the log lines that hold a text", "log.filter", display="&"),
    _look("f", "follow", "follow", "follow the log's end, or stay", "log.follow"),
    _look("left_square_bracket", "metric(-1)", "metric", "previous metric", "chart.previous", display="["),
    _look("right_square_bracket", "metric(1)", "metric", "next metric", "chart.next", display="]"),
    _look("j", "select(1)", "next", "select the next run", "runs.next"),
    _look("k", "select(-1)", "previous", "select the previous run", "runs.previous"),
]
_DEFAULTS = {binding.id: binding for binding in ROOM_BINDINGS}


def shown_key(key: str) -> str:
    """`question_mark` as people write it: `?`."""
    return " or ".join(_character(name) for name in key.split(","))


def key_of(binding_id: str, keys: Mapping[str, str]) -> str:
    """The key of a binding of the room, as it is shown.

    Args:
        binding_id: such as `act.restart`.
        keys: what a person has bound otherwise, as `Scene.keys` has it.
    """
    return shown_key(keys.get(binding_id) or _DEFAULTS[binding_id].key)


def rebound(bindings: Iterable[Binding], keys: Mapping[str, str]) -> list[Binding]:
    """The bindings with the keys that a person has given them."""
    return [
        binding.with_key(key=keys[binding.id or ""], key_display=None) if (binding.id or "") in keys else binding
        for binding in bindings
    ]


_CHARACTERS = {"slash": "/", "backslash": "\\", "at": "@", "minus": "-", "plus": "+", "underscore": "_"}
"""Whose names are not Unicode's."""


def _character(name: str) -> str:
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    character = key_to_character(name)
    return character if character and character.isprintable() and not character.isspace() else name
