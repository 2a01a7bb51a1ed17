"""The decision tree as data: the playbook's nodes, checked on load, and what a place in it is. `walk` finds a run's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated

import tomli
from msgspec import Meta, Struct
from msgspec import field as struct_field

from engine.run.convert import ConfigError, convert_section, suggestion
from engine.run.files import read_regular
from engine.run.runs_file import RunsFile
from engine.run.settings import Gate
from tui.control.ladder import Rung

ACTIONS = (
    *("start", "start_baseline", "restart", "override", "stop", "resume", "kill", "undo"),
    *("preflight", "evaluate", "evaluate_full", "evaluate_tuned", "align", "rerank", "evaluate_fitted"),
)
BRANCHES: dict[str, frozenset[str]] = {
    "data_fit": frozenset({"yes", "no"}),
    "gate_epoch_done": frozenset({"yes", "no", "ended"}),
    "sanity_clean": frozenset({"yes", "no", "undecidable"}),
    "gate_passed": frozenset({"yes", "no", "undecidable"}),
    "eval_epoch_done": frozenset({"yes", "no"}),
    "smoke_done": frozenset({"yes", "no"}),
    "smoke_passed": frozenset({"yes", "near", "no", "undecidable"}),
    "signature": frozenset({"far_below", "retrieval", "ranking", "slow"}),
    "fitted": frozenset({"lifts", "open", "no"}),
    "fitted_passed": frozenset({"yes", "no", "open"}),
    "training_done": frozenset({"yes", "no"}),
    "full_done": frozenset({"yes", "no"}),
    "narrow_miss": frozenset({"yes", "no"}),
    "baseline_passed": frozenset({"yes", "no", "unknown"}),
    "fix_left": frozenset({"yes", "head", "no"}),
}
"""Every answer that a predicate can give; a playbook needs a branch for each."""

MAX_BYTES = 1_000_000
"""A playbook larger than this is not a playbook; refused before it is parsed."""
MAX_NODES = 200
"""Five times the packaged one's; a walk never goes deeper than there are nodes."""
MAX_ROWS = 2000
"""Rows of the tree that is walked by hand, where a node stands once for every way to it: the packaged one has 60."""


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
    node: Annotated[dict[str, Node], Meta(min_length=1, max_length=MAX_NODES)]


@dataclass(frozen=True, slots=True)
class Step:
    """A question, the branch taken, and why."""

    node: str
    question: str
    branch: str
    evidence: str
    asked: str
    """The predicate that answered."""


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

    @property
    def forbids_fixes(self) -> bool:
        """Whether a check or the gate failed in a way that no knob mends, whatever the nodes are called."""
        answered = {step.asked: step.branch for step in self.path}
        return (
            answered.get("sanity_clean", "yes") != "yes"
            or answered.get("gate_passed") == "undecidable"
            or answered.get("fix_left") == "head"
        )


@cache
def load_playbook() -> Playbook:
    """The playbook that ships with the room.

    Raises:
        ConfigError: it does not hold together.
    """
    return parse_playbook((files("tui.control") / "playbook.toml").read_text(), "playbook.toml")


def playbook_of(file: RunsFile) -> Playbook:
    """The playbook of a room: its own (`[room] playbook`), else the packaged one.

    Raises:
        ConfigError: it cannot be read or does not hold together; names file, node and mistake.
    """
    path = file.playbook_path
    if path is None:
        return load_playbook()
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        where = f"{file.path}, [room] playbook: {path}"
        raise ConfigError(f"{where} cannot be read ({error.strerror}). Name another file, or remove the key.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    return parse_playbook(text, str(path))


def parse_playbook(text: str, where: str) -> Playbook:
    """Check a playbook: every node can be reached, every answer has a branch, every walk ends.

    Args:
        text: TOML.
        where: its file, for messages.

    Raises:
        ConfigError: names the node and the mistake.
    """
    try:
        tables = tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{where}: not valid TOML: {reason}.") from None
    playbook = convert_section(tables, Playbook, where=where)
    if playbook.start not in playbook.node:
        raise ConfigError(
            f'{where}: start names no node: "{playbook.start}".{suggestion(playbook.start, playbook.node)}'
        )
    for name, node in playbook.node.items():
        _check_node(playbook, name, node, f"{where}, [node.{name}]")
    rows: dict[str, int] = {}
    total = _count_rows(playbook, playbook.start, (), rows, where)
    unreached = sorted(playbook.node.keys() - rows)
    if unreached:
        raise ConfigError(f"{where}: no branch leads to {', '.join(unreached)}.")
    if total > MAX_ROWS:
        raise ConfigError(f"{where}: its tree has {total:,} rows, and {MAX_ROWS:,} at most can be walked by hand.")
    return playbook


def describe_rung(rung: Rung) -> str:
    """`Fix 1, Temperature: loss.temperature = 0.05`; a remedy has no number."""
    patch = rung.words or rung.fix.verify
    number = f"Fix {rung.number}, " if rung.number else ""
    return f"{number}{rung.fix.title}: {patch}"


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


WORDS = tuple(usual_words(Gate(), 0))
"""Words in braces that a playbook may use."""


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
    if node.asks and node.asks not in BRANCHES:
        raise ConfigError(f'{where}: unknown predicate "{node.asks}".{suggestion(node.asks, BRANCHES)}')
    known = BRANCHES.get(node.asks, frozenset())
    for branch, target in node.answers.items():
        if branch not in known:
            raise ConfigError(f'{where}: {node.asks} never answers "{branch}".{suggestion(branch, known)}')
        if target not in playbook.node:
            raise ConfigError(
                f'{where}: branch "{branch}" leads to no node: "{target}".{suggestion(target, playbook.node)}'
            )
    missing = sorted(known - node.answers.keys())
    if missing:
        raise ConfigError(f"{where}: no branch for {', '.join(missing)}, which {node.asks} may answer.")
    for word in re.findall(r"\{([^{}]*)\}", f"{node.question} {node.title} {node.say}"):
        if word not in WORDS:
            raise ConfigError(f'{where}: nothing stands for "{{{word}}}".{suggestion(word, WORDS)}')
    for action in (*node.actions, *node.auto):
        if action not in ACTIONS:
            raise ConfigError(f'{where}: unknown action "{action}".{suggestion(action, ACTIONS)}')


def _count_rows(playbook: Playbook, name: str, above: tuple[str, ...], known: dict[str, int], where: str) -> int:
    """Rows of the tree below and with a node; `known` takes in every node that is met."""
    if name in above:
        raise ConfigError(f"{where}: the walk goes round in circles at {name}.")
    if name not in known:
        targets = playbook.node[name].answers.values()
        known[name] = 1 + sum(_count_rows(playbook, target, (*above, name), known, where) for target in targets)
    return known[name]
