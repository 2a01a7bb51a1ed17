"""The whole product once: real keys on a real terminal, real training on the embedded corpus."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pty_room import TOP, PtyRoom, wait_for

from engine.run.runs_file import load_runs
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.launcher import kill, wait_until_ended
from tui.control.views import RunView
from tui.control.watcher import Watcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Folder:
    """A runs folder and what a bystander sees in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watcher = Watcher(path, 120)

    def views(self) -> list[RunView]:
        self.watcher.catch_up()
        return list(self.watcher.views.values())

    def view(self, run_id: str) -> RunView:
        return next(view for view in self.views() if view.id == run_id)

    def epoch(self, run_id: str) -> int:
        latest = self.view(run_id).latest
        return latest.epoch if latest else 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "runs")
    yield folder
    for view in folder.views():
        if view.life.lock_held:
            kill(view.directory)
            assert wait_until_ended(view.directory, 30)


def test_a_person_trains_triages_undoes_and_evaluates_and_nothing_depends_on_the_room(folder: Folder) -> None:
    room = PtyRoom(folder.path)
    try:
        room.wait_drawn("No run yet")
        room.press("T")
        room.wait_while_drawing(lambda: len(folder.views()) == 1, 20, "Mamba-S started")
        room.press("B")
        room.wait_while_drawing(lambda: len(folder.views()) == 2, 20, "AMN started")
        model, baseline = (view.id for view in folder.views())
        assert (model, baseline) == ("mamba_s-0001", "amn-0002")
        room.wait_while_drawing(lambda: folder.view(model).state.started, 60, "the first step")
    finally:
        room.kill()
        room.close()

    # the room is dead; both trainings go on and judge their gates
    wait_for(lambda: min(folder.epoch(model), folder.epoch(baseline)) >= 2, 180, "both past epoch 2")
    verdicts = {view.id: view.gate_judgement(view.gate).verdict for view in folder.views()}
    # a model that learns from scratch misses on this corpus; the baseline starts at the context mean and passes
    assert verdicts == {model: "missed", baseline: "passed"}
    assert folder.view(model).status is Status.RUNNING
    checks = folder.view(model).state.checks[2]
    assert checks["same_article_negatives"].value == 0
    assert folder.view(model).state.floors["context_mean"] == pytest.approx(0.58, abs=0.02)

    room = PtyRoom(folder.path)
    try:
        room.wait_drawn(model)
        room.press("R")
        room.wait_while_drawing(lambda: len(folder.views()) == 3, 30, "the child started")
        child = folder.views()[-1]
        assert child.spec.parent == model
        assert child.spec.patch == load_runs(TOP / "runs.toml").fix[0].tries[0]
        room.wait_drawn("u undoes")
        room.press("u")
        room.wait_while_drawing(lambda: folder.view(child.id).status is Status.STOPPED, 60, "the child stopped")
        room.wait_while_drawing(lambda: folder.view(model).status is Status.RUNNING, 60, "the parent resumed")
        processes = folder.view(model).life.processes
        assert processes is not None
        assert processes.attempt == 2

        room.press("E")
        room.wait_while_drawing(lambda: folder.view(model).evals, 60, "the evaluation's report")
        (report,) = folder.view(model).evals.values()
        assert report.num_queries > 500
        assert {gate.name: gate.verdict for gate in report.gates}["r5"] == "missed", "1 to 4 % through the head"
        assert report.rows["oracle"].exact.r5 > 0.99
        assert report.rows["context_mean"].exact.r5 == pytest.approx(0.39, abs=0.06)

        room.press("q")
        room.wait_while_drawing(room.has_ended, 10, "the room left")
        assert room.exit_code == 0
        assert folder.view(model).life.lock_held, "leaving the room ends nothing"
    finally:
        room.close()

    journal = Actions(load_runs(TOP / "runs.toml"), folder.path, "cli").journal.read()
    done = [(entry.action, entry.phase) for entry in journal if entry.phase == "done"]
    assert done == [(action, "done") for action in ("start", "start", "restart", "undo", "evaluate")]


def test_hanging_up_the_terminal_ends_the_room_and_not_the_training(folder: Folder) -> None:
    room = PtyRoom(folder.path)
    try:
        room.wait_drawn("No run yet")
        room.press("B")
        room.wait_while_drawing(lambda: folder.views() and folder.views()[0].state.started, 60, "AMN trains")
        room.hang_up()
        wait_for(room.has_ended, 3, "the room noticed")
        assert folder.views()[0].life.lock_held
    finally:
        room.close()


def test_a_terminated_room_restores_the_terminal(folder: Folder) -> None:
    room = PtyRoom(folder.path)
    try:
        room.wait_drawn("No run yet")
        room.kill(signal.SIGTERM)
        wait_for(room.has_ended, 3, "the room ended")
        assert room.exit_code == 143
        assert b"\x1b[?1049l" in room.output
    finally:
        room.close()
