"""The playbook as data: it holds together, and what would not is refused by name."""

from __future__ import annotations

import pytest

from engine.run.convert import ConfigError
from tui.control.playbook import ACTIONS, load_playbook, parse_playbook
from tui.control.predicates import PREDICATES

ANSWERS = {
    "data_fit": {"yes", "no"},
    "gate_epoch_done": {"yes", "no", "ended"},
    "sanity_clean": {"yes", "no", "undecidable"},
    "gate_passed": {"yes", "no", "undecidable"},
    "eval_epoch_done": {"yes", "no"},
    "smoke_done": {"yes", "no"},
    "smoke_passed": {"yes", "near", "no", "undecidable"},
    "signature": {"far_below", "retrieval", "ranking", "slow"},
    "fitted": {"lifts", "open", "no"},
    "fitted_passed": {"yes", "no", "open"},
    "training_done": {"yes", "no"},
    "full_done": {"yes", "no"},
    "narrow_miss": {"yes", "no"},
    "baseline_passed": {"yes", "no", "unknown"},
    "fix_left": {"yes", "head", "no"},
}
"""Every answer a predicate can give; test_tree.py checks that no situation brings forth another."""

SMALL = """
start = "a"
[node.a]
question = "Q?"
asks = "gate_passed"
answers = { yes = "b", no = "c" }
[node.b]
title = "B"
say = "do b"
[node.c]
title = "C"
say = "do c"
actions = ["restart"]
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_playbook(text, "playbook.toml")
    return str(caught.value)


def test_every_answer_has_a_branch_and_every_branch_is_an_answer() -> None:
    assert PREDICATES.keys() == ANSWERS.keys()
    asked = {node.asks: set(node.answers) for node in load_playbook().node.values() if node.asks}
    assert asked == ANSWERS


def test_every_leaf_says_what_to_do() -> None:
    leaves = [node for node in load_playbook().node.values() if not node.asks]
    assert len(leaves) >= 10
    assert [leaf.title for leaf in leaves if not (leaf.title and leaf.say)] == []
    assert {action for leaf in leaves for action in leaf.actions} <= set(ACTIONS)


def test_no_fix_is_offered_where_the_data_or_a_number_is_at_fault() -> None:
    nodes = load_playbook().node
    for name in ("fault", "undecidable", "head_broken", "locked", "wait", "smoke_now", "continue"):
        assert "restart" not in nodes[name].actions, name
    assert nodes["fix"].actions[0] == "restart"


def test_a_small_playbook_is_right() -> None:
    assert set(parse_playbook(SMALL, "here").node) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('start = "a"', 'start = "d"', ["start names no node", '"d"']),
        ('start = "a"\n', "", ["start"]),
        ("gate_passed", "gate_pased", ["[node.a]", 'unknown predicate "gate_pased"', 'Did you mean "gate_passed"?']),
        ('"restart"', '"restrat"', ["[node.c]", 'unknown action "restrat"', 'Did you mean "restart"?']),
        ('no = "c"', 'no = "see"', ["[node.a]", 'branch "no" leads to no node', '"see"']),
        ('no = "c"', 'no = "b"', ["no branch leads to c"]),
        ('no = "c"', 'no = "a"', ["goes round in circles at a"]),
        ('answers = { yes = "b", no = "c" }', "", ["[node.a]", "needs answers"]),
        ('say = "do b"', "", ["[node.b]", "either asks", "or says"]),
        ('say = "do b"', 'say = "x"\nasks = "gate_passed"', ["[node.b]", "either asks"]),
        ('say = "do b"', 'say = "x"\nanswers = { yes = "c" }', ["[node.b]", "needs answers"]),
        ('say = "do b"', 'says = "x"', ["says"]),
        ('say = "do b"', "say = 3", ["say", "expected `str`"]),
        ("[node.b]", "[node.b", ["not valid TOML"]),
    ],
)
def test_a_playbook_that_does_not_hold_together_is_refused(old: str, new: str, parts: list[str]) -> None:
    assert old in SMALL
    said = refusal(SMALL.replace(old, new))
    assert said.startswith("playbook.toml")
    assert [part for part in parts if part not in said] == [], said
