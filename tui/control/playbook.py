"""The decision tree: the playbook's nodes, checked on load, and where a run stands in it.

Walking is pure: the same record always gives the same path, one branch at each node, with the evidence for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated

import tomli
from msgspec import Meta, Struct
from msgspec import field as struct_field

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.settings import Gate
from tui.control.answers import Situation
from tui.control.ladder import Rung
from tui.control.predicates import PREDICATES

ACTIONS = (
    *("start", "start_baseline", "restart", "override", "stop", "resume", "kill", "undo"),
    *("preflight", "evaluate", "evaluate_full", "align", "rerank", "evaluate_fitted"),
)


class Node(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question with answers, or a leaf that says what to do."""

    question: str = ""
    asks: str = ""
    """Name of the predicate that answers."""
    answers: dict[str, str] = struct_field(default_factory=dict)
    """Branch to the next node's name."""
    title: str = ""
    say: str = ""
    actions: list[str] = struct_field(default_factory=list)
    """What a key does here, the recommended one first."""
    auto: list[str] = struct_field(default_factory=list)
    """Those that an autopilot takes here, one after another; none where it waits, or leaves it to a person."""


class Playbook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tree of nodes."""

    start: str
    node: Annotated[dict[str, Node], Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Step:
    """A question, the branch taken, and why."""

    node: str
    question: str
    branch: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: the path to a leaf, and what the leaf says."""

    path: tuple[Step, ...]
    node: str
    title: str
    say: str
    actions: tuple[str, ...]
    auto: tuple[str, ...] = ()
    """What an autopilot does here, one after another."""
    rungs: tuple[Rung, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    """What stands for the words in braces."""

    @property
    def evidence(self) -> list[str]:
        """The path in words, for the journal."""
        return [f"{step.question} {step.branch}: {step.evidence}" for step in self.path]


@cache
def load_playbook() -> Playbook:
    """The playbook that ships with the room.

    Raises:
        ConfigError: it does not hold together.
    """
    return parse_playbook((files("tui.control") / "playbook.toml").read_text(), "playbook.toml")


def parse_playbook(text: str, where: str) -> Playbook:
    """Check a playbook: every node can be reached, every branch leads somewhere, every walk ends.

    Raises:
        ConfigError: names the node and the mistake.
    """
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}.") from None
    playbook = convert_section(tables, Playbook, where=where)
    if playbook.start not in playbook.node:
        raise ConfigError(
            f'{where}: start names no node: "{playbook.start}".{suggestion(playbook.start, playbook.node)}'
        )
    for name, node in playbook.node.items():
        _check_node(playbook, name, node, f"{where}, [node.{name}]")
    unreached = set(playbook.node) - _reachable(playbook, playbook.start, (), where)
    if unreached:
        raise ConfigError(f"{where}: no branch leads to {', '.join(sorted(unreached))}.")
    return playbook


def locate(situation: Situation, playbook: Playbook | None = None) -> Position:
    """Walk the tree for a run."""
    playbook = playbook or load_playbook()
    path: list[Step] = []
    name = playbook.start
    words = _words(situation)
    while (node := playbook.node[name]).asks:
        answer = PREDICATES[node.asks](situation)
        path.append(Step(name, fill(node.question, words), answer.branch, answer.evidence))
        name = node.answers[answer.branch]
    rungs = tuple(situation.rungs)
    faults = [step.evidence for step in path if step.node == "clean"]
    words |= {"faults": faults[0]} if faults else {}
    title, say = fill(node.title, words), fill(node.say, words)
    return Position(tuple(path), name, title, say, tuple(node.actions), tuple(node.auto), rungs, words)


def describe_rung(rung: Rung) -> str:
    """`Fix 1, Temperature: loss.temperature = 0.05`."""
    patch = ", ".join(f"{key} = {value}" for key, value in rung.patch.items()) or rung.fix.verify
    return f"Fix {rung.number}, {rung.fix.title}: {patch}"


def usual_words(gate: Gate, eval_epoch: int) -> dict[str, str]:
    """The words in braces as they are without a run."""
    return {
        "gate": gate.metric,
        "bar": f"{gate.at_least:.2f}",
        "gate_epoch": str(gate.epoch),
        "eval_epoch": str(eval_epoch),
        "fix": "The next fix of the ladder",
        "faults": "a sanity check",
    }


def _words(situation: Situation) -> dict[str, str]:
    upcoming = next((rung for rung in situation.rungs if rung.standing == "next"), None)
    words = usual_words(situation.run.gate, situation.smoke_epoch)
    return words | ({"fix": describe_rung(upcoming)} if upcoming else {})


def fill(text: str, words: dict[str, str]) -> str:
    """A text of the playbook with its words in braces filled in."""
    for key, value in words.items():
        text = text.replace("{" + key + "}", value)
    return text


def _check_node(playbook: Playbook, name: str, node: Node, where: str) -> None:
    if bool(node.asks) == bool(node.say):
        raise ConfigError(f"{where}: a node either asks (asks, question, answers) or says (title, say).")
    if bool(node.asks) != bool(node.answers):
        raise ConfigError(f"{where}: a node that asks needs answers, and only such a node has them.")
    if node.asks and node.asks not in PREDICATES:
        raise ConfigError(f'{where}: unknown predicate "{node.asks}".{suggestion(node.asks, PREDICATES)}')
    for branch, target in node.answers.items():
        if target not in playbook.node:
            raise ConfigError(
                f'{where}: branch "{branch}" leads to no node: "{target}".{suggestion(target, playbook.node)}'
            )
    for action in (*node.actions, *node.auto):
        if action not in ACTIONS:
            raise ConfigError(f'{where}: unknown action "{action}".{suggestion(action, ACTIONS)}')


def _reachable(playbook: Playbook, name: str, above: tuple[str, ...], where: str) -> set[str]:
    if name in above:
        raise ConfigError(f"{where}: the walk goes round in circles at {name}.")
    found = {name}
    for target in playbook.node[name].answers.values():
        found |= _reachable(playbook, target, (*above, name), where)
    return found
