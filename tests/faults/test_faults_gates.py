"""Rows 31 to 34: what is frozen, missing, lost or broken never passes for something else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from corpora import BAD_NUMBERS, crc_line
from fault_runs import Figure, Folder, Open, kill_engine, processes_of, state_of, status_of
from processes import patience, wait_until
from recorded import MAMBA_HISTORY, RUNS_TOML, make_spec, run_events, write_run

from engine.run.directory import is_locked
from engine.run.events import EpochEnded, GateJudged, encode_event
from engine.run.process import is_alive
from engine.run.runs_file import AutopilotConfig, RunsFile
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot
from tui.control.views import RunView
from tui.control.watcher import Watcher


@pytest.mark.faults(31)
def test_a_frozen_engine_is_stalled_not_killed_and_its_thaw_is_seen(folder: Folder, figure: Figure) -> None:
    run = folder.launch("--epochs", "1000")
    watcher = Watcher(folder.path, stall_s=1.0)

    def status() -> Status:
        watcher.poll()
        return watcher.views[run.id].status

    wait_until(lambda: status() is Status.RUNNING and len(watcher.views[run.id].state.epochs) >= 2)
    kill_engine(run, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: status() is Status.STALLED)
    after = time.monotonic() - began
    assert 0.5 < after < patience(2.5)
    engine = processes_of(run).engine
    assert is_alive(engine), "nobody asked for its end"
    kill_engine(run, signal.SIGCONT)
    began = time.monotonic()
    wait_until(lambda: status() is Status.RUNNING)
    figure(f"stalled after {after:.1f} s of 1 s, not killed, running {time.monotonic() - began:.1f} s after SIGCONT")


def view_of(runs_dir: Path) -> RunView:
    """The only run of a folder, read to its end."""
    watcher = Watcher(runs_dir, 60.0)
    watcher.catch_up()
    return next(iter(watcher.views.values()))


@pytest.mark.faults(32)
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_number_that_is_none_at_the_gates_epoch_never_passes(tmp_path: Path, number: str) -> None:
    events = run_events(make_spec(), MAMBA_HISTORY[:1])
    run = write_run(tmp_path, make_spec(), events)
    for epoch in ("2", "2.0", '"2"'):
        record = f'{{"kind":"epoch_ended","seq":99,"t":1.0,"record":{{"epoch":{epoch},"val_cosine":{number}}}}}'
        with run.events_file.open("ab") as file:
            file.write(crc_line(record.encode()))
    verdict = view_of(tmp_path).gate_judgement(make_spec().gates[0]).verdict
    assert verdict in {"pending", "undecidable"}


@pytest.mark.faults(32)
def test_a_verdict_without_a_number_is_none_and_the_last_word_of_an_epoch_counts(
    tmp_path: Path, figure: Figure
) -> None:
    gate = make_spec().gates[0]
    for name, verdict in (("told", "passed"), ("missed", "missed")):
        place = tmp_path / name
        told = GateJudged(seq=90, t=1.0, name=gate.name, epoch=2, value=None, bar=0.5, verdict=verdict)
        run = write_run(place, make_spec(), run_events(make_spec(), MAMBA_HISTORY[:1]))
        with run.events_file.open("ab") as file:
            file.write(encode_event(told))
        assert view_of(place).gate_judgement(gate).verdict == "undecidable"
    for values, verdict in (((0.9, 0.1), "missed"), ((0.1, 0.9), "passed")):
        place = tmp_path / f"twice{values[1]}"
        run = write_run(place, make_spec(), run_events(make_spec(), MAMBA_HISTORY[:1]))
        with run.events_file.open("ab") as file:
            for value in values:  # a resume trains an epoch again
                again = run_events(make_spec(gates=()), [0.1, value])
                ended = [event for event in again if isinstance(event, EpochEnded) and event.record.epoch == 2]
                file.write(b"".join(encode_event(event) for event in ended))
        assert view_of(place).gate_judgement(gate).verdict == verdict
    figure(f"{len(BAD_NUMBERS)} of {len(BAD_NUMBERS)} numbers that are none: never passed")


@pytest.mark.faults(33)
def test_a_gate_whose_event_was_lost_is_judged_from_the_record_and_acted_on_once(
    runs_file: RunsFile, fake_engine: list[str], figure: Figure
) -> None:
    spec = make_spec()
    events = [event for event in run_events(spec, MAMBA_HISTORY[:5]) if not isinstance(event, GateJudged)]
    write_run(runs_file.runs_dir, spec, events)
    fake_engine[:] = ["--epochs", "10000", "--epoch-s", "60"]
    judged = view_of(runs_file.runs_dir).gate_judgement(spec.gates[0])
    assert (judged.verdict, judged.value) == ("missed", MAMBA_HISTORY[1])
    turns = []
    for _ in range(4):  # each a new autopilot, as after a crash
        watcher = Watcher(runs_file.runs_dir, 60.0)
        watcher.catch_up()
        actions = Actions(runs_file, runs_file.runs_dir, "autopilot")
        pilot = Autopilot(actions, spec.id, AutopilotConfig(allow=["restart"]), time.time())
        turns.append(pilot.look(list(watcher.views.values()), time.time()).acted)
    restarts = [entry for entry in actions.journal.read() if entry.action == "restart" and entry.phase == "done"]
    assert len(restarts) == 1, turns
    figure("judged from the record; of 4 autopilots one acted")


@pytest.mark.faults(34)
def test_settings_that_break_in_a_run_leave_the_old_ones_and_the_runs(
    folder: Folder, config: Path, open_room: Open, figure: Figure
) -> None:
    run = folder.launch("--epochs", "10000")
    room = open_room()
    room.wait_drawn(run.id)
    breaks = {"broken": b"[room", "binary": os.urandom(2000), "unknown": b"[rooom]\n", "empty": b""}
    for content in breaks.values():
        config.write_bytes(content)
        known = len(room.output)
        room.wait_while_drawing(
            lambda known=known: b"stay in force" in room.output[known:] or b"runs.toml" in room.output[known:],
            10,
            "why",
        )
        assert is_locked(run.lock_file)
        assert not room.has_ended()
        config.write_text(RUNS_TOML)
        room.read(0.7)
    config.unlink()
    room.wait_drawn("cannot be read")
    epochs = len(state_of(run).epochs)
    wait_until(lambda: len(state_of(run).epochs) > epochs)
    assert status_of(run)[0] is Status.RUNNING
    config.write_text(RUNS_TOML)
    room.press("q")
    room.wait_while_drawing(room.has_ended, 5, "the room answers")
    assert room.exit_code == 0
    figure(f"{len(breaks) + 1} ways to break it: told, old settings stay, the run goes on")
