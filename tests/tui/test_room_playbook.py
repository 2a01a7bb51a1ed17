"""A person's own playbook in the room: shown, taken up as it is edited, and kept where the edit is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets.tree import TreeNode

from engine.run.directory import list_runs
from engine.run.runs_file import RunsFile, load_runs
from tui.app import RoomApp
from tui.panes.playbook_tree import PlaybookTree
from tui.panes.status_strip import StatusStrip
from tui.screens.plan import PlanScreen

OWN = """
start = "gate"
[node.gate]
question = "Good enough?"
asks = "gate_passed"
answers = { yes = "go_on", no = "turn", undecidable = "turn" }
[node.go_on]
title = "Go on"
say = "It passed."
[node.turn]
title = "Turn a knob"
say = "{fix}"
actions = ["restart"]
"""


def labels(app: RoomApp) -> list[str]:
    """Every row of the tree, open or not."""

    def below(node: TreeNode[tuple[str, str]]) -> list[str]:
        return [str(node.label), *(label for child in node.children for label in below(child))]

    return below(app.screen.query_one(PlaybookTree).root)


def strip(app: RoomApp) -> str:
    return str(app.screen.query_one(StatusStrip).render())


@pytest.fixture
def own(runs_file: RunsFile) -> Path:
    path = Path(runs_file.path).with_name("my-playbook.toml")
    path.write_text(OWN)
    file = Path(runs_file.path)
    file.write_text(file.read_text().replace("[room]", '[room]\nplaybook = "my-playbook.toml"'))
    return path


async def test_the_tree_is_a_persons_own_before_there_is_a_run(runs_file: RunsFile, own: Path) -> None:
    app = RoomApp(load_runs(Path(runs_file.path)), runs_file.runs_dir)
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        assert labels(app) == ["Good enough?", "yes: Go on", "no: Turn a knob", "undecidable: Turn a knob"]


@pytest.mark.usefixtures("recorded_runs")
async def test_an_edited_playbook_is_taken_up_and_a_broken_one_is_not(runs_file: RunsFile, own: Path) -> None:
    app = RoomApp(load_runs(Path(runs_file.path)), runs_file.runs_dir)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        assert "* no: Turn a knob" in labels(app)
        own.write_text(OWN.replace("Turn a knob", "Think first"))
        app.poll()
        await pilot.pause()
        assert "* no: Think first" in labels(app)
        own.write_text(OWN.replace('yes = "go_on"', 'yes = "go_onn"'))
        app.poll()
        await pilot.pause()
        assert '[node.gate]: branch "yes" leads to no node' in strip(app)
        assert "* no: Think first" in labels(app)
        own.write_text(OWN)
        app.poll()
        await pilot.pause()
        assert "[node.gate]" not in strip(app)
        assert "* no: Turn a knob" in labels(app)


@pytest.mark.usefixtures("recorded_runs")
async def test_a_broken_playbook_named_while_the_room_is_open_is_watched_until_it_is_mended(
    runs_file: RunsFile, own: Path
) -> None:
    named = Path(runs_file.path).read_text()
    Path(runs_file.path).write_text(named.replace('playbook = "my-playbook.toml"', ""))
    app = RoomApp(load_runs(Path(runs_file.path)), runs_file.runs_dir)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        packaged = labels(app)
        assert len(packaged) > 30
        own.write_text("start = 3")
        Path(runs_file.path).write_text(named)
        app.poll()
        await pilot.pause()
        assert "my-playbook.toml" in strip(app)
        assert labels(app) == packaged
        own.write_text(OWN)
        app.poll()
        await pilot.pause()
        assert "* no: Turn a knob" in labels(app)


@pytest.mark.usefixtures("recorded_runs")
async def test_i_says_what_the_costly_keys_would_do_and_does_nothing(runs_file: RunsFile) -> None:
    app = RoomApp(runs_file, runs_file.runs_dir)
    async with app.run_test(size=(120, 35)) as pilot:
        before = {run.id for run in list_runs(runs_file.runs_dir)}
        await pilot.press("i")
        await pilot.pause()
        assert isinstance(app.screen, PlanScreen)
        rows = "\n".join(str(row) for row in app.screen._rows())
        assert "R  restart with the recommended fix" in rows
        assert "loss.temperature: 0.07 → 0.05" in rows
        assert "to its gate at mamba_s-0001's pace" in rows
        assert "M  mend" in rows, "and why it does not apply, where it does not"
        await pilot.press("escape")
        assert {run.id for run in list_runs(runs_file.runs_dir)} == before
        assert not app.actions.journal.read()
