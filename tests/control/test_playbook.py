"""The playbook as data: it holds together, and what would not is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from recorded import MAMBA_HISTORY, make_spec, make_view, run_events

from engine.run.convert import ConfigError
from engine.run.runs_file import RunsFile, load_runs
from tui.control.actions import Actions
from tui.control.foreign_eval import read_record
from tui.control.plans import RefusedError
from tui.control.playbook import ACTIONS, BRANCHES, MAX_NODES, MAX_ROWS, load_playbook, parse_playbook, playbook_of
from tui.control.predicates import PREDICATES

SMALL = """
start = "a"
[node.a]
question = "Q?"
asks = "gate_passed"
answers = { yes = "b", no = "c", undecidable = "c" }
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
    assert PREDICATES.keys() == BRANCHES.keys()
    asked = {node.asks: set(node.answers) for node in load_playbook().node.values() if node.asks}
    assert asked == BRANCHES


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
        ('no = "c", undecidable = "c"', 'no = "b", undecidable = "b"', ["no branch leads to c"]),
        (', undecidable = "c"', "", ["[node.a]", "no branch for undecidable, which gate_passed may answer"]),
        ("undecidable =", "undecided =", ["[node.a]", 'never answers "undecided"', 'Did you mean "undecidable"?']),
        ('say = "do b"', 'say = "after {gate_epok}"', ["[node.b]", '"{gate_epok}"', 'Did you mean "gate_epoch"?']),
        ('no = "c"', 'no = "a"', ["goes round in circles at a"]),
        ('answers = { yes = "b", no = "c", undecidable = "c" }', "", ["[node.a]", "needs answers"]),
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


def chain(length: int) -> str:
    """A playbook of questions whose answers all lead to the next one: twice as many ways to it at each."""
    asks = "asks = 'full_done'\nanswers = { yes = 'n%d', no = 'n%d' }\nquestion = 'Q?'"
    nodes = [f"[node.n{at}]\n{asks % (at + 1, at + 1)}" for at in range(length)]
    return "\n".join(["start = 'n0'", *nodes, f"[node.n{length}]\ntitle = 'T'\nsay = 'S'"])


def test_a_tree_that_nobody_could_walk_is_refused_at_once() -> None:
    assert len(parse_playbook(chain(9), "here").node) == 10
    with pytest.raises(ConfigError, match=f"rows, and {MAX_ROWS:,} at most"):
        parse_playbook(chain(150), "here")
    with pytest.raises(ConfigError, match=f"{MAX_NODES}"):
        parse_playbook(chain(MAX_NODES + 1), "here")


# ── a person's own ───────────────────────────────────────────────────────────────────────────────────────────────────

OWN = """
start = "healthy"
[node.healthy]
question = "Anything broken?"
asks = "sanity_clean"
answers = { yes = "gate", no = "broken", undecidable = "broken" }
[node.broken]
title = "Look"
say = "{faults}"
[node.gate]
question = "Good enough?"
asks = "gate_passed"
answers = { yes = "go_on", no = "turn", undecidable = "broken" }
[node.go_on]
title = "Go on"
say = "It passed."
[node.turn]
title = "Turn a knob"
say = "{fix}"
actions = ["restart"]
"""


def with_own(runs_file: RunsFile, text: str, name: str = "my-playbook.toml") -> RunsFile:
    """The same room with a playbook of its own beside its runs.toml."""
    path = Path(runs_file.path)
    (path.parent / name).write_text(text)
    path.write_text(path.read_text().replace("[room]", f'[room]\nplaybook = "{name}"'))
    return load_runs(path)


def test_a_room_without_one_walks_the_packaged_playbook(runs_file: RunsFile) -> None:
    assert playbook_of(runs_file) is load_playbook()


def test_a_persons_own_playbook_replaces_the_packaged_one(runs_file: RunsFile) -> None:
    actions = Actions(with_own(runs_file, OWN), runs_file.runs_dir, "person")
    spec = make_spec()
    run = make_view(spec, run_events(spec, MAMBA_HISTORY))
    position = actions.position(run, [run])
    assert [step.question for step in position.path] == ["Anything broken?", "Good enough?"]
    assert position.title == "Turn a knob"
    assert position.say == "Fix 1, Temperature: loss.temperature = 0.05"
    assert actions.plan_restart(run, [run]).rung.patch == {"loss.temperature": 0.05}


def test_another_programs_record_walks_it_past_the_checks_that_nobody_made(runs_file: RunsFile, tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    history.write_text(json.dumps([{"val_cosine": value} for value in MAMBA_HISTORY]))
    _, position = read_record(with_own(runs_file, OWN), history, None)
    assert [(step.node, step.branch) for step in position.path] == [("gate", "no")]


def test_a_failed_check_forbids_fixes_whatever_its_node_is_called(runs_file: RunsFile) -> None:
    actions = Actions(with_own(runs_file, OWN), runs_file.runs_dir, "person")
    spec = make_spec()
    run = make_view(spec, run_events(spec, MAMBA_HISTORY, pairwise_cosine=0.9))
    assert "pairwise" in actions.position(run, [run]).say
    with pytest.raises(RefusedError, match="no fix mends that"):
        actions.plan_restart(run, [run])


def test_a_mistake_in_ones_own_is_named_with_file_and_node(runs_file: RunsFile) -> None:
    file = with_own(runs_file, OWN.replace('no = "turn"', 'no = "trun"'))
    with pytest.raises(ConfigError) as caught:
        Actions(file, runs_file.runs_dir, "person")
    said = str(caught.value)
    assert said.startswith(str(Path(runs_file.path).parent / "my-playbook.toml"))
    assert '[node.gate]: branch "no" leads to no node: "trun". Did you mean "turn"?' in said


def test_a_playbook_that_is_not_there_is_named_with_the_key(runs_file: RunsFile) -> None:
    file = with_own(runs_file, OWN)
    (Path(file.path).parent / "my-playbook.toml").unlink()
    with pytest.raises(ConfigError, match=r"\[room\] playbook: .*my-playbook.toml cannot be read"):
        playbook_of(file)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"start = \x00", b"a = " + b"[" * 5000, b""])
def test_bytes_that_are_no_playbook_are_one_clear_error(runs_file: RunsFile, raw: bytes) -> None:
    file = with_own(runs_file, OWN)
    (Path(file.path).parent / "my-playbook.toml").write_bytes(raw)
    with pytest.raises(ConfigError, match=r"my-playbook\.toml"):
        playbook_of(file)


def test_the_page_about_it_names_every_predicate_answer_and_action() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-playbook.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and "asks" not in line]
    told = {
        asks: set(re.findall(r"`(\w+)`", row.split("|")[2]))
        for row in rows
        for asks in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert told == BRANCHES
    assert [action for action in ACTIONS if f"`{action}`" not in page] == []
    example = page.split("```toml")[2].split("```")[0]
    assert set(parse_playbook(example, "page").node) == {"gate", "go_on", "turn"}
