"""Pictures of the chart: a run at its gate beside its baseline, its projection, and all metrics as small charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from recorded import PLAYBOOK_HISTORY, make_spec, passed_amn, run_events, write_run
from textual.pilot import Pilot

from engine.run.runs_file import RunsFile
from engine.run.settings import EvalConfig
from tui.app import RoomApp

SnapCompare = Callable[..., bool]
SIZES = [(80, 24), (120, 35), (200, 60)]


@pytest.fixture(autouse=True)
def a_run_at_its_gate(runs_file: RunsFile) -> None:
    """Two epochs and a few steps old; what comes next is its smoke evaluation."""
    spec = msgspec.structs.replace(make_spec(), evals={"smoke": EvalConfig(at_epoch=4)})
    write_run(runs_file.runs_dir, spec, run_events(spec, PLAYBOOK_HISTORY[:2], steps_of_next=6))
    passed_amn(runs_file.runs_dir)


def alone(*keys: str) -> Callable[[Pilot[None]], Any]:
    """The chart pane alone, after some keys."""

    async def press(pilot: Pilot[None]) -> None:
        await pilot.pause()
        await pilot.press("m", *keys)
        await pilot.pause()
        await pilot.pause()

    return press


def app_for(file: RunsFile, **options: Any) -> RoomApp:
    return RoomApp(file, file.runs_dir, **options)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_projection_beside_what_is_measured(
    snap_compare: SnapCompare, runs_file: RunsFile, size: tuple[int, int]
) -> None:
    """A shade with hollow points goes on from the last epoch to the smoke evaluation; the best points have stars."""
    assert snap_compare(app_for(runs_file), terminal_size=size, run_before=alone())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_all_metrics_as_small_charts(snap_compare: SnapCompare, runs_file: RunsFile, size: tuple[int, int]) -> None:
    """Each named, with its values; the chosen one marked; a page of them where not all fit."""
    assert snap_compare(app_for(runs_file), terminal_size=size, run_before=alone("g", "right"))


def test_a_smoothed_loss_over_time_with_the_cursor(snap_compare: SnapCompare, runs_file: RunsFile) -> None:
    """What was measured stays behind the smoothed line; the legend reads every line at the cursor."""
    keys = ("right_square_bracket", "s", "a", "a", "left", "left", "left")
    assert snap_compare(app_for(runs_file), terminal_size=(120, 35), run_before=alone(*keys))


def test_a_projection_without_colour(
    snap_compare: SnapCompare, runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR: the shade and the hollow points are enough."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_for(runs_file), terminal_size=(80, 24), run_before=alone())


def test_a_projection_in_ascii(snap_compare: SnapCompare, runs_file: RunsFile) -> None:
    """Question marks among commas: nothing that was measured looks like that."""
    assert snap_compare(app_for(runs_file, plain=True), terminal_size=(80, 24), run_before=alone())
