"""A training goes on in another number of ranks than it began with, and comes to the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.run.directory import RunDirectory
from engine.run.event_file import read_events
from engine.run.events import RanksMeasured, RunFinished, RunStarted
from engine.run.state import fold
from engine.training.ranks import OneProcess
from tests.reference.rank_programs import run_ranks
from tests.reference.rank_trainings import train_legs
from tests.reference.small_training import make_run, rows_without_time, weights_digest

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
STOP = 4
"""Steps: within the second of three epochs of three steps."""
SAME = ("train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "negatives_per_query", "grad_norm")
ALONE = OneProcess(torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs by how many ranks began them and went on: `2to1`; `2` and `1` ran straight."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("1", "2", "2to1", "1to2", "2to2", "2to3", "3to2"):
        make_run(folder / name, queue__size=12, sampler__batch_size=6)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    train_legs(folder, ["1", f"1to2@{STOP}"], ALONE)
    legs = ["2", f"2to1@{STOP}", "+1to2", f"2to2@{STOP}", "+2to2", f"2to3@{STOP}"]
    run_ranks("tests.reference.rank_trainings", 2, str(folder), *legs)
    train_legs(folder, ["+2to1"], ALONE)
    torch.set_num_threads(before)
    return folder


def assert_like(run: RunDirectory, straight: RunDirectory) -> None:
    rows, others = run.read_history(), straight.read_history()
    assert len(rows) == len(others) == 3
    for row, other in zip(rows, others, strict=True):
        assert row.step == other.step
        for name in SAME:
            assert getattr(row, name) == pytest.approx(getattr(other, name), rel=TOLERANCE), (row.epoch, name)


@pytest.mark.parametrize("name", ["2", "2to1", "1to2", "2to2"])
def test_every_epoch_is_that_of_one_process_that_nothing_interrupted(folder: Path, name: str) -> None:
    assert_like(RunDirectory(folder / name), RunDirectory(folder / "1"))


def test_it_goes_on_in_more_ranks_and_in_fewer(folder: Path) -> None:
    run_ranks("tests.reference.rank_trainings", 3, str(folder), "+2to3", f"3to2@{STOP}")
    run_ranks("tests.reference.rank_trainings", 2, str(folder), "+3to2")
    for name in ("2to3", "3to2"):
        assert_like(RunDirectory(folder / name), RunDirectory(folder / "1"))


def test_two_ranks_that_resume_equal_two_that_went_straight_on_bit_for_bit(folder: Path) -> None:
    run, straight = RunDirectory(folder / "2to2"), RunDirectory(folder / "2")
    assert weights_digest(run) == weights_digest(straight)
    assert rows_without_time(run) == rows_without_time(straight)


def test_the_first_rank_speaks_for_all_and_tells_what_each_costs(folder: Path) -> None:
    events = read_events(folder / "2" / "events.jsonl")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.ranks for event in events if isinstance(event, RunStarted)] == [2]
    assert sum(isinstance(event, RunFinished) for event in events) == 1
    measured = [event for event in events if isinstance(event, RanksMeasured)]
    assert [figures.rank for figures in measured[0].ranks] == [0, 1]
    for figures in fold(events).ranks:
        assert figures.memory_bytes > 50e6, "a process that has loaded PyTorch"
        assert figures.cpu_s > 0
        assert (figures.device, figures.device_percent) == ("cpu", None)


def test_one_process_is_rank_0_of_1(folder: Path) -> None:
    state = fold(read_events(folder / "1" / "events.jsonl"))
    assert state.started is not None
    assert state.started.ranks == 1
    assert [figures.rank for figures in state.ranks] == [0]
