"""Training with a queue of past targets: it tells what it did, and resumes bit for bit or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    WarningRaised,
)
from engine.run.settings import PatchValue
from engine.run.state import fold
from engine.training.trainer import Trainer
from tests.reference.small_training import make_run, rows_without_time, train_run, weights_digest

QUEUE: dict[str, PatchValue] = {"queue__size": 25, "sampler__batch_size": 4}
SPACES = ["projected", "target"]


def make_queued(folder: Path, **patch: PatchValue) -> RunDirectory:
    return make_run(folder, **(QUEUE | patch))


@pytest.fixture(scope="module", params=SPACES)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that nothing interrupted."""
    run = make_queued(tmp_path_factory.mktemp("straight") / "small-0001", loss__contrast_space=request.param)
    assert train_run(run) == "finished"
    return run


def make_like(straight: RunDirectory, folder: Path) -> RunDirectory:
    """A fresh run of the same settings."""
    return make_queued(folder, loss__contrast_space=straight.read_spec().config.loss.contrast_space)


def warnings_of(run: RunDirectory) -> list[str]:
    return [event.message for event in read_events(run.events_file) if isinstance(event, WarningRaised)]


def test_every_epoch_tells_what_the_queue_gave(straight: RunDirectory) -> None:
    rows = straight.read_history()
    for row in rows:
        assert row.queue_negatives_per_query is not None
        assert row.negatives_per_query is not None
        assert 0 < row.queue_negatives_per_query < row.negatives_per_query
        assert row.queue_same_topic_share is not None
        assert row.queue_same_topic_share >= 0.3
        assert row.same_article_negatives == 0
    is_projected = straight.read_spec().config.loss.contrast_space == "projected"
    assert all((row.queue_drift or 0.0) > 0 if is_projected else row.queue_drift == 0 for row in rows)


@pytest.mark.slow
def test_the_queue_changes_what_is_learned(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_like(straight, tmp_path / "small-0001")
    without = make_run(
        tmp_path / "small-0002",
        sampler__batch_size=4,
        loss__contrast_space=straight.read_spec().config.loss.contrast_space,
    )
    assert train_run(run) == train_run(without) == "finished"
    assert weights_digest(run) == weights_digest(straight)
    assert weights_digest(without) != weights_digest(straight)
    assert without.read_history()[0].queue_negatives_per_query is None


@pytest.mark.parametrize("stops", [(1,), (2, 9), (5,), (0, 13)], ids=str)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, straight: RunDirectory, stops: tuple[int, ...]
) -> None:
    run = make_like(straight, tmp_path / "small-0001")
    for number, stop in enumerate(stops):
        assert train_run(run, stop_at=stop, resume=number > 0) == "stopped"
    assert train_run(run, resume=True) == "finished"
    assert weights_digest(run) == weights_digest(straight)
    assert weights_digest(run, "best") == weights_digest(straight, "best")
    assert rows_without_time(run) == rows_without_time(straight)


def forget(trainer: Trainer, part: str) -> None:
    """Lose one part of what a resume restored."""
    queue = trainer.learner.queue
    assert queue is not None
    match part:
        case "queue":
            queue.fill = queue._position = 0
        case "queue position":
            queue._position = (queue._position + 3) % queue.capacity
        case "queue vectors":
            queue._vectors.copy_(torch.flip(queue._vectors, dims=[0]))
        case "optimizer":
            trainer.learner.optimizer.state.clear()
        case "sampler position":
            trainer.progress.step_in_epoch -= 1
        case "schedule and corruption":
            trainer.progress.step -= 1


@pytest.mark.parametrize(
    "part", ["queue", "queue position", "queue vectors", "optimizer", "sampler position", "schedule and corruption"]
)
def test_a_resume_that_forgets_any_part_learns_something_else(
    tmp_path: Path, straight: RunDirectory, part: str
) -> None:
    run = make_like(straight, tmp_path / "small-0001")
    train_run(run, stop_at=5)
    train_run(run, resume=True, prepare=lambda trainer: forget(trainer, part))
    assert weights_digest(run) != weights_digest(straight)


def test_a_checkpoint_without_a_queue_is_not_resumed_with_one(tmp_path: Path) -> None:
    run = make_queued(tmp_path / "small-0001")
    state: dict[str, Any] = {}

    def keep(trainer: Trainer) -> None:
        state.update(trainer.learner.state())
        del state["queue"]
        with pytest.raises(ConfigError, match="holds no queue"):
            trainer.learner.load_state(state)

    train_run(run, stop_at=1, prepare=keep)


def test_a_queue_larger_than_the_data_is_cut_and_says_so(tmp_path: Path) -> None:
    run = make_queued(tmp_path / "small-0001", queue__size=65_536)
    train_run(run, stop_at=1)
    (warning,) = warnings_of(run)
    started = fold(read_events(run.events_file)).started
    assert started is not None
    assert f"queue.size = 65,536 was cut to {started.num_train - 8}" in warning
    assert "hold windows twice" in warning


def test_a_share_that_no_queue_can_reach_is_told_once(tmp_path: Path) -> None:
    run = make_queued(tmp_path / "small-0001", queue__same_topic_share=0.9)

    def make_every_window_a_topic(trainer: Trainer) -> None:
        queue = trainer.learner.queue
        assert queue is not None
        queue._topics = np.arange(trainer.source.num_windows, dtype=np.int32)
        queue._num_topics = trainer.source.num_windows
        queue._pairs, queue._num_pairs = queue._topics, queue._num_topics

    train_run(run, prepare=make_every_window_a_topic)
    (warning,) = warnings_of(run)
    assert "queue.same_topic_share = 0.9 was not reached" in warning
    assert [row.queue_same_topic_share for row in run.read_history()] == [0.0] * 3


def test_a_share_that_is_met_but_for_rounding_is_no_warning(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_like(straight, tmp_path / "small-0001")
    (record, *_) = straight.read_history()

    def tell(trainer: Trainer) -> None:
        trainer._warn_of_low_share(msgspec.structs.replace(record, queue_same_topic_share=float(np.nextafter(0.3, 0))))
        assert warnings_of(run) == []
        trainer._warn_of_low_share(msgspec.structs.replace(record, queue_same_topic_share=0.299))

    train_run(run, stop_at=0, prepare=tell)
    (warning,) = warnings_of(run)
    assert "0.3 was not reached" in warning


def test_same_article_entries_that_reach_the_loss_fail_the_check(tmp_path: Path) -> None:
    run = make_queued(tmp_path / "small-0001", sampler__max_per_article=1)

    def unmask(trainer: Trainer) -> None:
        queue = trainer.learner.queue
        assert queue is not None
        queue._hidden = np.arange(trainer.source.num_windows)

    train_run(run, prepare=unmask)
    assert all((row.same_article_negatives or 0) > 0 for row in run.read_history())
