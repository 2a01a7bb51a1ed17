"""Replays: the recording's events again, in order and in time, for a watcher that knows nothing of it."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from recorded import MAMBA_HISTORY, make_spec, run_events, write_run

from engine.run.convert import ConfigError
from engine.run.directory import Exit, RunDirectory, list_runs
from engine.run.state import Status
from tui.control.replay import LONGEST_GAP_S, Replay, find_recordings, plan_cues
from tui.control.watcher import Watcher


def watch(folder: Path) -> Watcher:
    watcher = Watcher(folder, 60.0)
    watcher.catch_up()
    return watcher


def test_a_played_run_ends_as_the_recorded_one_did(recorded_runs: Path, tmp_path: Path) -> None:
    played = tmp_path / "played"
    Replay(find_recordings(recorded_runs), played, 10_000.0).play(threading.Event())
    before, after = watch(recorded_runs).views, watch(played).views
    assert after.keys() == before.keys()
    for run_id, view in after.items():
        assert view.status is before[run_id].status
        assert view.state.epochs == before[run_id].state.epochs
        assert view.state.gates.keys() == before[run_id].state.gates.keys()
        assert view.evals.keys() == before[run_id].evals.keys()
        assert view.preflight == before[run_id].preflight
        assert view.directory.log_file.read_bytes() == before[run_id].directory.log_file.read_bytes()


def test_half_way_a_played_run_is_running(recorded_runs: Path, tmp_path: Path) -> None:
    replay = Replay(find_recordings(recorded_runs / "mamba_s-0001"), tmp_path / "played", 10_000.0)
    for cue in replay.cues[:20]:
        replay._carry_out(cue)
    view = watch(tmp_path / "played").views["mamba_s-0001"]
    assert view.status is Status.RUNNING
    assert 0 < len(view.state.epochs) < len(MAMBA_HISTORY)
    replay._let_go("mamba_s-0001")


def test_leaving_lets_go_of_what_was_being_played(recorded_runs: Path, tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    replay = Replay(find_recordings(recorded_runs), tmp_path / "played", 1.0)
    replay._carry_out(replay.cues[0])
    replay.play(stopped)
    assert not any(run.read_life().lock_held for run in list_runs(tmp_path / "played"))


def test_time_runs_faster_and_long_silences_are_cut(tmp_path: Path) -> None:
    spec = make_spec()
    events = run_events(spec, [0.4, 0.5])
    night = 8 * 3600
    events[-1] = msgspec.structs.replace(events[-1], t=events[-1].t + night)
    run = write_run(tmp_path, spec, events, ended=Exit(code=0, kind="exited"))
    cues = plan_cues([run], 60.0)
    recorded_s = events[-2].t - events[0].t
    assert cues[-3].at_s == pytest.approx(recorded_s / 60)
    assert cues[-1].at_s == pytest.approx(recorded_s / 60 + LONGEST_GAP_S)
    assert [cue.event.seq for cue in cues if cue.event] == [event.seq for event in events]


def test_what_cannot_be_played_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run's folder"):
        find_recordings(tmp_path)
    run = write_run(tmp_path, make_spec(), [])
    with pytest.raises(ConfigError, match="nothing to play"):
        plan_cues([RunDirectory(run.path)], 60.0)
