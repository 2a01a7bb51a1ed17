"""Walking the decision tree: where a run stands in the playbook.

Walking is pure: the same record always gives the same path, one branch at each node, with the evidence for it.
"""

from __future__ import annotations

from tui.control.answers import Situation
from tui.control.playbook import Playbook, Position, Step, describe_rung, fill, load_playbook, usual_words
from tui.control.predicates import PREDICATES


def locate(situation: Situation, playbook: Playbook | None = None) -> Position:
    """Walk the tree for a run."""
    playbook = playbook or load_playbook()
    path: list[Step] = []
    name = playbook.start
    words = _words(situation)
    while (node := playbook.node[name]).asks:
        answer = PREDICATES[node.asks](situation)
        path.append(Step(name, fill(node.question, words), answer.branch, answer.evidence, node.asks))
        name = node.answers[answer.branch]
    rungs = tuple(situation.rungs)
    faults = [step.evidence for step in path if step.asked == "sanity_clean"]
    words |= {"faults": faults[0]} if faults else {}
    title, say = fill(node.title, words), fill(node.say, words)
    return Position(tuple(path), name, title, say, tuple(node.actions), tuple(node.auto), rungs, words)


def _words(situation: Situation) -> dict[str, str]:
    upcoming = next((rung for rung in situation.rungs if rung.standing == "next"), None)
    words = usual_words(situation.run.gate, situation.smoke_epoch)
    return words | ({"fix": describe_rung(upcoming)} if upcoming else {})
