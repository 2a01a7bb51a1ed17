"""The scene: what is selected, which two stand side by side, and what does not apply and why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from recorded import make_spec, run_events, write_run

from engine.run.directory import Exit
from engine.run.runs_file import RunsFile
from tui.control.actions import Actions
from tui.control.scene import Scene, build_scene
from tui.control.usage import UsageMeter
from tui.control.watcher import Watcher
from tui.keymap import ACTION_KEYS


def scene_of(file: RunsFile, watcher: Watcher, selected: str = "", *, readonly: bool = False) -> Scene:
    actions = Actions(file, file.runs_dir, "person", readonly=readonly)
    return build_scene(actions, watcher, selected, now=time.time(), tick=1)


def test_without_runs_only_starting_applies(runs_file: RunsFile) -> None:
    scene = scene_of(runs_file, Watcher(runs_file.runs_dir, 120.0))
    assert scene.selected is None
    assert set(scene.reasons) == set(ACTION_KEYS) - {"start", "start_baseline"}


def test_the_model_is_selected_first_and_stands_beside_its_baseline(runs_file: RunsFile, watcher: Watcher) -> None:
    scene = scene_of(runs_file, watcher)
    assert scene.selected is not None
    assert scene.selected.id == "mamba_s-0001"
    assert [view.id for view in scene.pair if view] == ["mamba_s-0001", "amn-0002"]


def test_selecting_the_baseline_keeps_the_pair_in_order(runs_file: RunsFile, watcher: Watcher) -> None:
    scene = scene_of(runs_file, watcher, "amn-0002")
    assert [view.id for view in scene.pair if view] == ["mamba_s-0001", "amn-0002"]


def test_a_run_stands_beside_one_that_has_numbers_and_not_beside_a_newer_one_that_never_got_any(
    runs_file: RunsFile, recorded_runs: Path
) -> None:
    undone = make_spec("mamba_s", 3)
    write_run(recorded_runs, undone, run_events(undone, []), ended=Exit(code=0, kind="exited"))
    watcher = Watcher(recorded_runs, 120.0)
    watcher.catch_up()
    pair = scene_of(runs_file, watcher, "amn-0002").pair
    assert [view and view.id for view in pair] == ["mamba_s-0001", "amn-0002"]


def test_a_missed_gate_brings_a_plan_and_a_passed_one_a_reason(runs_file: RunsFile, watcher: Watcher) -> None:
    missed = scene_of(runs_file, watcher, "mamba_s-0001")
    assert missed.plan is not None
    assert missed.plan.change == [("loss.temperature", 0.07, 0.05)]
    passed = scene_of(runs_file, watcher, "amn-0002")
    assert passed.plan is None
    assert "knobs are locked" in passed.reasons["restart"]


def test_read_only_gives_every_action_the_same_reason(runs_file: RunsFile, watcher: Watcher) -> None:
    scene = scene_of(runs_file, watcher, readonly=True)
    assert set(scene.reasons.values()) == {"read-only: no action can be taken"}
    assert {"start", "start_baseline", "restart", "evaluate", "stop", "kill", "undo"} <= set(scene.reasons)


def test_a_run_folder_that_cannot_be_read_is_the_problem_shown(runs_file: RunsFile, recorded_runs: Path) -> None:
    spec = make_spec("broken", 9)
    write_run(recorded_runs, spec, run_events(spec, [0.1])).spec_file.write_text("{")
    watcher = Watcher(recorded_runs, 120.0)
    watcher.catch_up()
    assert scene_of(runs_file, watcher).problem.startswith("broken-0009:")


def test_usage_is_measured_where_the_runs_folder_does_not_exist_yet(tmp_path: Path) -> None:
    usage = UsageMeter(tmp_path / "not" / "yet").read([])
    assert usage.disk_free_bytes > 0
    assert usage.memory_total_bytes > usage.memory_used_bytes > 0
    assert usage.processes == {}


@pytest.mark.usefixtures("recorded_runs")
def test_a_recorded_process_of_another_boot_costs_nothing(watcher: Watcher, tmp_path: Path) -> None:
    assert UsageMeter(tmp_path).read(list(watcher.views.values())).processes == {}
