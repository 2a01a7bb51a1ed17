"""The census: no run is missed, whatever is not looked at; and of many runs each has its turn."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import make_spec, run_events, write_run

from engine.run.directory import RunDirectory, take_lock
from engine.run.event_file import EventWriter
from engine.run.events import WarningRaised
from tui.control import census as census_module
from tui.control import watcher as watcher_module
from tui.control.census import COUNTED_EVERY, Census
from tui.control.shelf import Shelf
from tui.control.watcher import Watcher

LIVING = 7


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of tests are younger than what is taken for settled."""
    monkeypatch.setattr("tui.control.marks.SETTLED_NS", 0)


def let_tick() -> None:
    """Let the disk's clock go on, so that the next change of a folder changes its mark."""
    time.sleep(0.02)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Runs that have not ended; nobody holds their locks yet."""
    for number in range(1, LIVING + 1):
        spec = make_spec(number=number)
        write_run(tmp_path / "runs", spec, run_events(spec, (0.3,)))
    return tmp_path / "runs"


@given(st.integers(0, 40), st.integers(1, 12))
def test_each_has_its_turn_in_as_few_passes_as_there_can_be(how_many: int, count: int) -> None:
    census = Census(Path("/nonexistent"))
    run_ids = [f"run-{number:04d}" for number in range(how_many)]
    passes = -(-how_many // count)
    seen: list[str] = []
    for _ in range(passes):
        census.take((), is_doubtful=False)
        turn = census.in_turn(run_ids, count)
        assert len(turn) <= count
        seen += turn
    assert sorted(seen) == run_ids


def test_a_folder_that_has_not_changed_is_listed_only_now_and_then(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    names = census_module.run_names
    monkeypatch.setattr(census_module, "run_names", lambda *given: listed.append(1) or names(*given))
    let_tick()
    census = Census(runs_dir)
    found = [census.take((), is_doubtful=False) for _ in range(COUNTED_EVERY)]
    assert len(listed) == 2, "at first, and after some passes"
    assert {len(names) for names in found} == {LIVING}
    shutil.rmtree(runs_dir / "mamba_s-0003")
    assert len(census.take((), is_doubtful=False)) == LIVING - 1
    assert len(listed) == 3
    census.take((), is_doubtful=True)
    assert len(listed) == 4


def test_a_folder_that_becomes_a_run_later_is_found(runs_dir: Path) -> None:
    spec = make_spec(number=9)
    complete = write_run(runs_dir.parent / "elsewhere", spec, run_events(spec, (0.3,)))
    late = runs_dir / spec.id
    late.mkdir(mode=0o700)
    let_tick()
    census = Census(runs_dir)
    assert spec.id not in census.take((), is_doubtful=False)
    shutil.copy(complete.spec_file, late)  # which does not change the folder of the runs
    assert any(spec.id in census.take((), is_doubtful=False) for _ in range(COUNTED_EVERY))


def test_an_ended_run_in_sight_is_looked_at_file_by_file_in_every_pass(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(watcher_module, "LOOKS", 1)
    monkeypatch.setattr(watcher_module, "FULL_LOOKS", 1)
    Watcher(runs_dir, 60.0, Shelf(runs_dir)).catch_up()
    watcher = Watcher(runs_dir, 60.0, Shelf(runs_dir))
    watcher.poll()
    run_ids = [*watcher.views]
    for run_id in run_ids:
        watcher.in_sight = frozenset({run_id})
        writer = EventWriter(watcher.views[run_id].directory.events_file)
        writer.write(WarningRaised(message="said afterwards"))
        writer.close()
        watcher.poll()
        assert "said afterwards" in watcher.views[run_id].state.warnings


def test_of_many_living_runs_those_in_sight_are_looked_at_in_every_pass_and_the_others_in_turn(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "LIVING_LOOKS", 2)
    runs = [RunDirectory(path) for path in sorted(runs_dir.iterdir())]
    locks = [take_lock(run.lock_file) for run in runs]
    watcher = Watcher(runs_dir, 60.0)
    while not watcher.views or any(view.catching_up for view in watcher.views.values()):
        watcher.poll()
    writers = {run.id: EventWriter(run.events_file) for run in runs}
    watcher.in_sight = frozenset({"mamba_s-0004"})

    def speak() -> None:
        for run_id, writer in writers.items():
            writer.write(WarningRaised(message=f"{run_id} {time.monotonic_ns()}"))

    def heard() -> set[str]:
        before = {run_id: view.version for run_id, view in watcher.views.items()}
        watcher.poll()
        return {run_id for run_id, view in watcher.views.items() if view.version != before[run_id]}

    speak()
    passes = []
    for _ in range(3):
        passes.append(heard())
        writers["mamba_s-0004"].write(WarningRaised(message=str(time.monotonic_ns())))
    assert all("mamba_s-0004" in told and len(told) == 3 for told in passes)
    assert set.union(*passes) == writers.keys()
    speak()
    watcher.catch_up()
    assert heard() == set(), "who asks once is told of all"
    speak()
    assert len(heard()) == 3, "and goes on in turns"
    for lock in locks:
        assert lock is not None
        os.close(lock)
