"""The autopilot: takes the playbook's steps, each once, and stops where it must."""

from __future__ import annotations

import time

import msgspec
import pytest
from person import LONG, Person
from processes import wait_until

from engine.run.directory import RunDirectory, is_locked
from engine.run.runs_file import AutopilotConfig
from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot, Turn, is_quiet

NO_BASELINE = AutopilotConfig(allow=["restart", "evaluate", "evaluate_full", "align", "rerank", "evaluate_fitted"])


def pilot_of(room: Person, run: RunDirectory, config: AutopilotConfig = NO_BASELINE) -> Autopilot:
    return Autopilot(Actions(room.file, room.file.runs_dir, "autopilot"), run.id, config, time.time())


def look(room: Person, pilot: Autopilot) -> Turn:
    return pilot.look(room.views(), time.time())


def test_it_waits_for_the_gate_then_restarts_once_and_says_why(room: Person) -> None:
    run = room.start(*LONG)
    room.wait_epoch(run, 2)
    pilot = pilot_of(room, run)
    turn = look(room, pilot)
    assert turn.acted
    assert "loss.temperature = 0.05" in turn.words
    assert not look(room, pilot).acted, "the child has not met its gate yet"
    assert [view.spec.patch for view in room.views()] == [{}, {"loss.temperature": 0.05}]
    steps = [entry for entry in room.actions.journal.read() if entry.who == "autopilot"]
    assert [(entry.action, entry.phase) for entry in steps] == [("restart", "intent"), ("restart", "done")]
    assert "missed by" in " ".join(steps[-1].evidence)


def test_one_that_is_started_again_after_a_crash_does_not_act_twice(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--epochs", "10000", "--epoch-s", "60"]
    assert look(room, pilot_of(room, run)).acted
    for _ in range(3):
        assert not look(room, pilot_of(room, run)).acted
    assert len(room.views()) == 2


def test_on_a_passed_gate_it_evaluates_to_the_end_and_tries_each_step_once(room: Person) -> None:
    run = room.start("--epochs", "4", "--values", "0.52,0.55,0.56,0.57")
    room.wait_status(run, Status.FINISHED)
    room.engine.clear()
    pilot, actions = pilot_of(room, run), []
    for _ in range(40):
        turn = look(room, pilot)
        if turn.is_over:
            break
        if turn.acted:
            actions.append(room.actions.journal.read()[-1].action)
            wait_until(lambda: not any(is_locked(RunDirectory(job).lock_file) for job in run.evals.glob("*.job")))
    else:
        pytest.fail(f"no end: {turn.words}")
    assert actions[0] == "evaluate"
    assert len(actions) == len({entry.detail for entry in room.actions.journal.read() if entry.who == "autopilot"})
    assert all(entry.action != "restart" for entry in room.actions.journal.read()), "knobs are locked"


def test_an_evaluation_that_gives_no_report_is_not_tried_for_ever(
    room: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = room.start("--epochs", "4", "--values", "0.52,0.55,0.56,0.57")
    room.wait_status(run, Status.FINISHED)
    real = launcher.engine_argv
    monkeypatch.setattr(launcher, "engine_argv", lambda verb, *rest: [*real(verb)[:1], "-c", "raise SystemExit(2)"])
    pilot = pilot_of(room, run)
    assert look(room, pilot).acted
    wait_until(lambda: not any(is_locked(RunDirectory(job).lock_file) for job in run.evals.glob("*.job")))
    turn = look(room, pilot)
    assert turn.is_over
    assert "a person has to look" in turn.words


def test_a_persons_step_ends_it(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = LONG
    pilot = pilot_of(room, run)
    assert look(room, pilot).acted
    room.actions.undo(room.actions.check_undo())
    turn = look(room, pilot)
    assert turn.is_over
    assert turn.words.startswith("a person took over: undo")
    assert not look(room, pilot).acted


def test_limits_end_it(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    room.engine[:] = ["--exit-code", "3", "--epochs", "1"]
    config = msgspec.structs.replace(NO_BASELINE, max_crashes=0)
    assert look(room, pilot_of(room, run, config)).acted
    child = RunDirectory(room.file.runs_dir / "mamba_s-0002")
    room.wait_status(child, Status.FAILED)
    turn = look(room, pilot_of(room, run, config))
    assert turn.is_over
    assert "max_crashes = 0" in turn.words
    assert "max_runs = 1" in look(room, pilot_of(room, run, msgspec.structs.replace(NO_BASELINE, max_runs=1))).words
    late = pilot_of(room, run).look(room.views(), time.time() + 13 * 3600)
    assert late.is_over
    assert "max_hours" in late.words


def test_what_it_may_not_do_ends_it_and_a_reader_may_not_act_at_all(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    turn = look(room, pilot_of(room, run, AutopilotConfig(allow=["evaluate"])))
    assert turn.is_over
    assert "restart is not among [autopilot] allow" in turn.words
    readonly = Actions(room.file, room.file.runs_dir, "autopilot", readonly=True)
    pilot = Autopilot(readonly, run.id, NO_BASELINE, time.time())
    assert "read-only" in look(room, pilot).words
    assert len(room.views()) == 1


def test_in_quiet_hours_it_only_watches(room: Person) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    config = msgspec.structs.replace(NO_BASELINE, quiet="00:00-23:59")
    noon = time.mktime((2026, 1, 5, 12, 0, 0, 0, 0, -1))
    assert pilot_of(room, run, config).look(room.views(), noon).words.startswith("quiet hours")
    assert len(room.views()) == 1


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        ("", 3, False),
        ("22:00-07:00", 3, True),
        ("22:00-07:00", 12, False),
        ("22:00-07:00", 22, True),
        ("09:00-17:00", 17, False),
    ],
)
def test_quiet_hours_may_span_midnight(hours: str, clock: int, expected: bool) -> None:
    assert is_quiet(hours, time.mktime((2026, 1, 5, clock, 0, 0, 0, 0, -1))) is expected


def test_what_ails_is_mended_before_the_gate_where_waiting_would_prove_nothing(room: Person) -> None:
    run = room.start(*LONG, "--values", "0.55", "--update-per-lr", "3000")
    room.wait_epoch(run, 1)
    pilot = pilot_of(room, run, AutopilotConfig(allow=["mend", "evaluate"]))
    turn = look(room, pilot)
    assert turn.acted
    assert "optimizer.lr = 1.7e-06 (remedy of exploding)" in turn.words, "3.0 of the weights a step become 0.005"
    child = room.views()[-1]
    assert not look(room, pilot).acted, "the child has ended no epoch yet"
    room.wait_epoch(child.directory, 1)
    assert not look(room, pilot).acted, "healthy now, and the gate is not there yet"
    assert [entry.action for entry in room.actions.journal.read() if entry.phase == "done"][1:] == ["restart"]


def test_without_leave_to_mend_it_walks_the_playbook(room: Person) -> None:
    run = room.start(*LONG, "--update-per-lr", "300")
    room.wait_epoch(run, 2)
    turn = look(room, pilot_of(room, run))
    assert "loss.temperature = 0.05" in turn.words


def test_a_crash_is_resumed_after_a_pause_and_only_so_often(room: Person) -> None:
    run = room.start("--epochs", "1", "--values", "0.4", "--exit-code", "3")
    room.wait_status(run, Status.FAILED)
    (run.checkpoints / "last").mkdir(parents=True)
    pilot = pilot_of(room, run, AutopilotConfig(allow=["resume"], max_crashes=1))
    views = room.views()
    views[0].state.checkpoints["last"] = views[0].state.checkpoints["best"]
    assert "resumed in" in pilot.look(views, time.time()).words
    turn = pilot.look(views, time.time() + 60)
    assert turn.acted
    assert turn.words.startswith(f"{run.id}: resumed")
    room.wait_status(run, Status.FAILED)
    turn = pilot.look(room.views(), time.time() + 600)
    assert turn.is_over
    assert "2 crashes" in turn.words


def test_where_it_may_probe_the_ladder_is_measured_before_it_is_climbed(
    room: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = room.start("--epochs", "2")
    room.wait_status(run, Status.FINISHED)
    pilot = pilot_of(room, run, AutopilotConfig(allow=["restart", "probe"]))
    monkeypatch.setattr(
        "tui.control.actions.driver_argv", lambda run: launcher.engine_argv("evaluate", "--out", f"{run.id}.json")
    )
    turn = look(room, pilot)
    assert turn.acted
    assert "its ladder is being probed" in turn.words
    wait_until(lambda: not is_locked(RunDirectory(run.evals / "probe.job").lock_file))
    turn = look(room, pilot)
    assert "restarted as" in turn.words, "the probe came to no end, so the playbook's order serves"
