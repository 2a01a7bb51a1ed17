"""Restarts with real processes: one child whoever asks, undone exactly, and refused where no knob helps."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from person import LONG, Person
from processes import FAKE_ENGINE

from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.launcher import LaunchError
from tui.control.plans import RefusedError, RestartPlan


def test_a_restart_stops_the_parent_and_starts_its_patched_child(room: Person) -> None:
    parent = room.start(*LONG)
    room.wait_epoch(parent, 2)
    plan = room.plan(parent)
    assert plan.change == [("loss.temperature", 0.07, 0.05)]
    assert "loss.temperature: 0.07 → 0.05" in plan.lines()
    assert f"stops {parent.id} at a step's end, with a checkpoint" in plan.lines()
    child = room.actions.restart(plan)
    view = room.view(child)
    assert (view.spec.parent, view.spec.patch, view.spec.fix) == (parent.id, {"loss.temperature": 0.05}, "Temperature")
    assert view.spec.config.loss.temperature == 0.05
    assert view.status.is_alive
    room.wait_status(parent, Status.STOPPED)
    intent, done = room.actions.journal.read()[2:]
    assert (intent.phase, done.phase, done.child, done.stopped) == ("intent", "done", child.id, True)
    assert any("0.472 < 0.500, missed by 0.028" in line for line in done.evidence)


def test_an_undo_stops_the_child_and_the_parent_goes_on_where_it_was(room: Person) -> None:
    parent = room.start(*LONG)
    room.wait_epoch(parent, 2)
    child = room.actions.restart(room.plan(parent))
    resumed, goes_on = room.actions.undo(room.actions.check_undo())
    assert (resumed.id, goes_on) == (parent.id, True)
    assert room.wait_status(child, Status.STOPPED)
    view = room.wait_status(parent, Status.RUNNING)
    assert view.life.processes is not None
    assert view.life.processes.attempt == 2
    stopped_at = view.state.checkpoints["last"].step
    assert view.state.started is not None
    assert view.state.started.resumed_step == stopped_at > 0
    room.wait_epoch(parent, -(-stopped_at // 10) + 1)
    with pytest.raises(RefusedError, match="no restart in the last 60 s"):
        room.actions.check_undo()
    assert room.plan(parent).rung.patch == {"loss.temperature": 0.05}, "what was undone is offered again"
    assert room.actions.journal.undone() == {child.id}


def test_a_parent_that_had_ended_is_not_resumed_by_an_undo(room: Person) -> None:
    parent = room.start("--epochs", "2")
    room.wait_status(parent, Status.FINISHED)
    room.engine[:] = LONG
    child = room.actions.restart(room.plan(parent))
    assert not room.actions.check_undo().stopped
    _, goes_on = room.actions.undo(room.actions.check_undo())
    assert not goes_on
    assert room.view(child).status is Status.STOPPED
    assert room.view(parent).status is Status.FINISHED


def test_knobs_are_locked_once_the_gate_has_passed_unless_a_reason_is_written(room: Person) -> None:
    run = room.start("--epochs", "2", "--values", "0.52,0.55")
    room.wait_status(run, Status.FINISHED)
    for blank in ("", "   "):
        with pytest.raises(RefusedError, match="knobs are locked"):
            room.plan(run, override=blank)
    child = room.actions.restart(room.plan(run, override="R@5 is what counts here"))
    decision = room.actions.journal.read()[-1]
    assert (decision.child, decision.detail) == (child.id, "R@5 is what counts here")


def test_before_its_gate_a_run_is_not_restarted(room: Person) -> None:
    run = room.start("--epochs", "1")
    room.wait_status(run, Status.FINISHED)
    with pytest.raises(RefusedError, match="ended before epoch 2"):
        room.plan(run)
    running = room.start("--epochs", "10000", "--epoch-s", "60")
    with pytest.raises(RefusedError, match="judged after epoch 2"):
        room.plan(running)


def test_a_fix_can_be_chosen_by_its_number(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    assert room.plan(run, fix=3).rung.patch == {"sampler.batch_size": 512}
    for number, said in ((0, "there is no fix 0"), (9, "the ladder has 5"), (4, "only verifies")):
        with pytest.raises(RefusedError, match=said):
            room.plan(run, fix=number)


def test_the_ladder_ends(room: Person) -> None:
    run = room.start("--epochs", "2", "--epoch-s", "0.01")
    room.wait_status(run, Status.FINISHED)
    tried = []
    for _ in range(5):
        plan = room.plan(run)
        tried.append(plan.rung.patch)
        room.wait_status(room.actions.restart(plan), Status.FINISHED)
    assert len({str(patch) for patch in tried}) == 5
    with pytest.raises(RefusedError, match="exhausted"):
        room.plan(run)
    with pytest.raises(RefusedError, match=r"fix 1: tried mamba_s-0002; tried mamba_s-0003"):
        room.plan(run, fix=1)


def test_eight_terminals_that_restart_at_one_instant_start_one_child(room: Person) -> None:
    parent = room.start(*LONG)
    room.wait_epoch(parent, 2)
    plans = [room.plan(parent) for _ in range(8)]
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def restart(plan: RestartPlan) -> None:
        barrier.wait()
        try:
            outcomes.append(Actions(room.file, room.file.runs_dir, "person").restart(plan).id)
        except RefusedError as refused:
            outcomes.append(str(refused))

    terminals = [threading.Thread(target=restart, args=(plan,)) for plan in plans]
    for terminal in terminals:
        terminal.start()
    for terminal in terminals:
        terminal.join()
    assert sorted(outcomes) == ["mamba_s-0002"] + ["mamba_s-0002 already tries this fix"] * 7
    assert [view.id for view in room.views()] == [parent.id, "mamba_s-0002"]


TERMINAL = """
import sys
from pathlib import Path
from engine.run.runs_file import load_runs
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.plans import RefusedError
from tui.control.watcher import Watcher
file = load_runs(Path(sys.argv[1]))
launcher.engine_argv = lambda verb, *rest: [sys.executable, sys.argv[2], verb, *rest, "--epochs", "10000"]
actions = Actions(file, file.runs_dir, "cli")
watcher = Watcher(file.runs_dir, 60.0)
watcher.catch_up()
views = list(watcher.views.values())
plan = actions.plan_restart(views[0], views)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(actions.restart(plan).id)
except RefusedError as refused:
    print(refused)
"""


def test_four_processes_that_restart_at_one_instant_start_one_child(room: Person) -> None:
    parent = room.start("--epochs", "2")
    room.wait_status(parent, Status.FINISHED)
    command = [sys.executable, "-c", TERMINAL, room.file.path, str(FAKE_ENGINE)]
    terminals = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for terminal in terminals:
        assert terminal.stdout is not None
        assert terminal.stdout.readline() == "ready\n"
    for terminal in terminals:
        assert terminal.stdin is not None
        terminal.stdin.write("\n")
        terminal.stdin.flush()
    outcomes = [terminal.communicate()[0].strip() for terminal in terminals]
    assert sorted(outcomes) == ["mamba_s-0002"] + ["mamba_s-0002 already tries this fix"] * 3


def test_a_plan_is_refused_once_its_fix_was_tried_even_if_that_has_ended(room: Person) -> None:
    parent = room.start("--epochs", "2")
    room.wait_status(parent, Status.FINISHED)
    plan, same_plan = room.plan(parent), room.plan(parent)
    room.wait_status(room.actions.restart(plan), Status.FINISHED)
    with pytest.raises(RefusedError, match="mamba_s-0002 already tries this fix"):
        room.actions.restart(same_plan)


def test_a_fix_whose_child_could_not_be_started_can_be_tried_again(
    room: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = room.start("--epochs", "2")
    room.wait_status(parent, Status.FINISHED)
    with monkeypatch.context() as patched:
        patched.setattr(launcher, "engine_argv", lambda *_: ["/no/such/engine"])
        with pytest.raises(LaunchError):
            room.actions.restart(room.plan(parent))
    child = room.actions.restart(room.plan(parent))
    assert room.view(child).spec.patch == {"loss.temperature": 0.05}


def test_a_damaged_neighbour_stands_in_nobodys_way(room: Person) -> None:
    broken = room.file.runs_dir / "broken-0001" / "spec.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    assert room.actions.start("amn", only_one=True).id == "amn-0003"
    assert room.actions.restart(room.plan(run)).id == "mamba_s-0004"


def test_a_stopped_run_goes_on_from_its_checkpoint(room: Person) -> None:
    run = room.start(*LONG)
    room.wait_epoch(run, 2)
    room.actions.stop(run)
    view = room.wait_status(run, Status.STOPPED)
    room.actions.check_resume(view)
    room.actions.resume(run)
    again = room.wait_status(run, Status.RUNNING)
    assert again.state.starts == 2
    assert again.state.started is not None
    assert again.state.started.resumed_step == view.state.checkpoints["last"].step
    assert room.journal()[-2:] == [("resume", "intent"), ("resume", "done")]


def test_a_run_that_is_alive_or_finished_cannot_be_resumed(room: Person) -> None:
    run = room.start(*LONG)
    running = room.wait_epoch(run, 1)
    with pytest.raises(RefusedError, match="mamba_s-0001 is running"):
        room.actions.check_resume(running)
    with pytest.raises(RefusedError, match="mamba_s-0001 is running"):
        room.actions.resume(run)
    finished = room.start("--epochs", "1")
    with pytest.raises(RefusedError, match="is finished"):
        room.actions.check_resume(room.wait_status(finished, Status.FINISHED))


def test_a_refused_restart_names_the_command_that_overrides_it(room: Person) -> None:
    run = room.start("--epochs", "2", "--values", "0.52,0.55")
    room.wait_status(run, Status.FINISHED)
    with pytest.raises(RefusedError, match="lvm-tui triage mamba_s-0001 --override REASON"):
        room.plan(run)
