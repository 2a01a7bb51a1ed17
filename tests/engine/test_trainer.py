"""Training: it learns, records, judges once, stops, resumes bit for bit, and refuses numbers that are not finite."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from engine.data.corpus import IndexArray
from engine.data.windows import open_windows
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    CheckJudged,
    EpochEnded,
    FloorsMeasured,
    GateJudged,
    NonFiniteFound,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepLogged,
    WarningRaised,
)
from engine.run.settings import Gate
from engine.run.state import fold
from engine.training.learner import Learner
from engine.training.trainer import Trainer
from tests.reference.small_corpus import rewrite_manifest
from tests.reference.small_training import make_run, make_spec, rows_without_time, train_run, weights_digest

STEPS_PER_EPOCH = 3
NUM_STEPS = 9


def events_of(run: RunDirectory, kind: type) -> list[Any]:
    return [event for event in read_events(run.events_file) if isinstance(event, kind)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that nothing interrupted."""
    run = make_run(tmp_path_factory.mktemp("straight") / "small-0001")
    assert train_run(run) == "finished"
    return run


def test_a_run_tells_its_story_in_order(straight: RunDirectory) -> None:
    events = read_events(straight.events_file)
    assert isinstance(events[0], RunStarted)
    assert events[0].steps_per_epoch == STEPS_PER_EPOCH
    assert events[0].article_disjoint
    kinds = [type(event) for event in events]
    assert kinds.index(FloorsMeasured) < kinds.index(StepLogged)
    assert kinds.count(EpochEnded) == 3
    assert kinds[-1] is RunFinished
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    logged = {event.step for event in events_of(straight, StepLogged)}
    assert {1, 3, 6, 9} <= logged  # the first step, and the last of every epoch


def test_history_has_every_number_of_every_epoch(straight: RunDirectory) -> None:
    rows = json.loads(straight.history_file.read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    without = {name for row in rows for name, value in row.items() if value is None}
    # there is no queue, and too few articles to compare lifts
    assert without == {
        *("queue_negatives_per_query", "queue_same_topic_share", "queue_drift"),
        *("unseen_lift", "unseen_windows", "lift_gap_error"),
    }
    assert {"train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "lr", "time"} <= rows[0].keys()
    assert rows[0]["val_loss"] == pytest.approx(1 - rows[0]["val_cosine"])
    assert rows[0]["same_article_negatives"] == 0
    assert rows[0]["masked_candidates"] > 0
    assert [event.record for event in events_of(straight, EpochEnded)] == straight.read_history()


def test_gates_and_checks_are_judged_at_their_epoch(straight: RunDirectory) -> None:
    (gate,) = events_of(straight, GateJudged)
    assert (gate.name, gate.epoch) == ("val_cosine@2", 2)
    assert gate.value == straight.read_history()[1].val_cosine
    names = Counter(event.name for event in events_of(straight, CheckJudged))
    assert names == dict.fromkeys(
        ("margin", "same_article_negatives", "pairwise_cosine", "effective_rank", "projection_head"), 3
    )
    assert {event.verdict for event in events_of(straight, CheckJudged) if event.name == "projection_head"} == {
        "passed"
    }


def test_checkpoints_are_kept_as_asked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", checkpoint__every_epochs=2)
    train_run(run)
    assert {path.name for path in run.checkpoints.iterdir()} == {"best", "last", "epoch_0002"}
    best = fold(read_events(run.events_file)).best
    assert best is not None
    assert json.loads((run.checkpoints / "best" / "meta.json").read_text())["epoch"] == best.epoch


@pytest.mark.parametrize("stops", [(1,), (2, 4), (3,), (6, 7), (0, 8), (9,)], ids=str)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, straight: RunDirectory, stops: tuple[int, ...]
) -> None:
    run = make_run(tmp_path / "small-0001")
    for number, stop in enumerate(stops):
        assert train_run(run, stop_at=stop, resume=number > 0) == "stopped"
        assert events_of(run, RunStopped)[-1].step == stop
    assert train_run(run, resume=True) == "finished"
    for label in ("last", "best"):
        assert weights_digest(run, label) == weights_digest(straight, label)
    assert rows_without_time(run) == rows_without_time(straight)
    assert len(events_of(run, GateJudged)) == 1
    assert len(events_of(run, FloorsMeasured)) == 1
    assert len(events_of(run, RunFinished)) == 1


@pytest.mark.parametrize("forgotten", ["optimizer", "step", "sums"])
def test_a_resume_that_forgets_a_part_of_the_state_is_told_apart(
    tmp_path: Path, straight: RunDirectory, forgotten: str
) -> None:
    def forget(trainer: Trainer) -> None:
        if forgotten == "optimizer":
            trainer.learner.optimizer.state.clear()
        elif forgotten == "step":
            trainer.progress.step -= 1
        else:
            trainer.progress.sums = {"windows": 1, "steps": 1, **dict.fromkeys(_SUMS, 0.0)}

    run = make_run(tmp_path / "small-0001")
    train_run(run, stop_at=4)
    train_run(run, resume=True, prepare=forget)
    same = weights_digest(run) == weights_digest(straight), rows_without_time(run) == rows_without_time(straight)
    assert same == (forgotten == "sums", False)


_SUMS = ("loss", "infonce", "ar_cosine", "negatives", "masked", "same_article", "grad_norm", "update_ratio")


def test_a_crash_between_checkpoints_repeats_the_epoch_and_judges_nothing_twice(
    tmp_path: Path, straight: RunDirectory
) -> None:
    class CrashError(Exception):
        pass

    def crash_before_last(trainer: Trainer) -> None:
        save = trainer._save

        def save_or_crash(label: str) -> None:
            if label == "last" and len(trainer.progress.rows) == 2:
                raise CrashError
            save(label)

        trainer._save = save_or_crash  # type: ignore[method-assign]

    run = make_run(tmp_path / "small-0001")
    with pytest.raises(CrashError):
        train_run(run, prepare=crash_before_last)
    assert train_run(run, resume=True) == "finished"
    assert rows_without_time(run) == rows_without_time(straight)
    assert weights_digest(run) == weights_digest(straight)
    assert len(events_of(run, GateJudged)) == 1
    assert [record.epoch for record in fold(read_events(run.events_file)).epochs] == [1, 2, 3]


def damage(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")


def test_a_damaged_last_checkpoint_gives_way_to_best_and_says_so(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_run(tmp_path / "small-0001")
    train_run(run, stop_at=7)
    damage(run.checkpoints / "last")
    assert train_run(run, resume=True) == "finished"
    assert any("best" in event.message and "damaged" in event.message for event in events_of(run, WarningRaised))
    assert weights_digest(run) == weights_digest(straight)
    assert [record.epoch for record in run.read_history()] == [1, 2, 3]


def test_without_a_good_checkpoint_a_resume_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    train_run(run, stop_at=7)
    for label in ("last", "best"):
        damage(run.checkpoints / label)
    with pytest.raises(ConfigError, match="no checkpoint can be resumed from"):
        train_run(run, resume=True)


def test_a_resume_before_the_first_checkpoint_starts_afresh(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_run(tmp_path / "small-0001")
    assert train_run(run, resume=True) == "finished"
    assert weights_digest(run) == weights_digest(straight)


def test_floors_keep_nobody_waiting_who_asked_for_the_end(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_run(tmp_path / "small-0001")
    assert train_run(run, stop_at=0) == "stopped"
    assert not events_of(run, FloorsMeasured)
    assert train_run(run, resume=True) == "finished"
    assert len(events_of(run, FloorsMeasured)) == 1
    assert weights_digest(run) == weights_digest(straight)


@pytest.mark.parametrize("space", ["projected", "target"])
def test_a_weight_that_is_not_finite_stops_before_the_optimizer_moves(tmp_path: Path, space: str) -> None:
    learner: list[Learner] = []

    def poison(trainer: Trainer) -> None:
        learner.append(trainer.learner)
        trainer.learner.parameters[0].data[0] = torch.nan

    run = make_run(tmp_path / "small-0001", loss__contrast_space=space)
    assert train_run(run, prepare=poison) == "failed"
    (found,) = events_of(run, NonFiniteFound)
    assert (found.what, found.step) == ("loss", 1)
    assert "optimizer.lr" in events_of(run, RunFailed)[0].message
    assert learner[0].optimizer.state_dict()["state"] == {}
    assert not events_of(run, RunFinished)


def test_a_loss_of_infinity_is_told_from_a_healthy_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", optimizer__lr=1e30)
    assert train_run(run) == "failed"
    (found,) = events_of(run, NonFiniteFound)
    assert (found.what, found.step) == ("weight update", 1)
    assert not run.checkpoints.exists()


def test_predictions_that_are_not_finite_fail_the_run_and_spare_the_last_checkpoint(tmp_path: Path) -> None:
    def poison_second_validation(trainer: Trainer) -> None:
        predict = trainer.learner.predict

        def poisoned(windows: IndexArray) -> tuple[torch.Tensor, torch.Tensor]:
            predictions, targets = predict(windows)
            return predictions * (torch.nan if trainer.progress.epoch == 2 else 1.0), targets

        trainer.learner.predict = poisoned  # type: ignore[method-assign]

    run = make_run(tmp_path / "small-0001", checkpoint__every_epochs=1)
    assert train_run(run, prepare=poison_second_validation) == "failed"
    (found,) = events_of(run, NonFiniteFound)
    assert (found.what, found.epoch, found.step) == ("val_cosine", 2, 2 * STEPS_PER_EPOCH)
    assert events_of(run, GateJudged)[0].verdict == "undecidable"
    assert not events_of(run, RunFinished)
    assert {folder.name for folder in run.checkpoints.iterdir()} == {"best", "last", "epoch_0001"}
    assert weights_digest(run) == weights_digest(run, "epoch_0001")


def test_a_resume_on_a_corpus_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    train_run(run, stop_at=4)
    rewrite_manifest(tmp_path / "corpus", source="another")
    with pytest.raises(ConfigError, match="corpus was changed since the run began"):
        train_run(run, resume=True)


def test_a_resume_on_a_file_of_windows_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", queue__size=20, loss__contrast_space="target")
    source = open_windows(run.read_spec().data, tmp_path)
    contexts, targets = source.gather(np.arange(source.num_windows))
    npz = tmp_path / "windows.npz"

    def write(count: int) -> None:
        articles = source.articles[:count]
        np.savez(npz, sequences=contexts[:count], targets=targets[:count], article_ids=articles)

    write(source.num_windows)
    spec = run.read_spec()
    data = msgspec.structs.replace(spec.data, train_npz=str(npz))
    run.spec_file.write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, data=data)))
    train_run(run, stop_at=2)
    assert train_run(run, stop_at=4, resume=True) == "stopped"
    write(source.num_windows - 12)
    with pytest.raises(ConfigError, match=r"windows\.npz: the file was changed since the run began"):
        train_run(run, resume=True)


def test_the_pace_after_a_resume_is_that_of_the_process(tmp_path: Path, straight: RunDirectory) -> None:
    run = make_run(tmp_path / "small-0001")
    train_run(run, stop_at=4)

    def long_ago(trainer: Trainer) -> None:
        trainer.progress.elapsed_s = 3600.0

    train_run(run, resume=True, prepare=long_ago)
    resumed = next(event for event in events_of(run, StepLogged) if event.step > 4)
    assert resumed.windows_per_s > 1  # an hour's rest would leave a few thousandths


def test_a_run_without_progress_ends_early(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "small-0001", epochs=20, optimizer__lr=1e-12, checkpoint__patience=2, checkpoint__min_delta=0.01
    )
    assert train_run(run) == "finished"
    (finished,) = events_of(run, RunFinished)
    assert (finished.reason, finished.epoch) == ("early_stopping", 3)


def test_a_warm_up_that_was_cut_is_a_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", schedule__warmup_steps=1000)
    train_run(run, stop_at=1)
    (warning,) = events_of(run, WarningRaised)
    assert "schedule.warmup_steps = 1000 was cut to 0" in warning.message
    train_run(run, stop_at=2, resume=True)
    assert len(events_of(run, WarningRaised)) == 1


def test_a_gate_of_another_epoch_waits(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", gates=[Gate(epoch=1, at_least=-1.0), Gate(epoch=9), Gate(epoch=3)])
    train_run(run)
    judged = events_of(run, GateJudged)
    assert [gate.epoch for gate in judged] == [1, 3]
    assert judged[0].verdict == "passed"


@pytest.mark.parametrize("kind", ["mamba_s", "amn"])
@pytest.mark.parametrize("space", [pytest.param("projected", marks=pytest.mark.slow), "target"])
def test_eight_windows_can_be_learned_by_heart(tmp_path: Path, kind: str, space: str) -> None:
    from engine.data.windows import open_windows

    spec = make_spec(
        tmp_path / "small-0001",
        model__kind=kind,
        loss__contrast_space=space,
        sampler__article_dropout=0.0,
        sampler__span_corruption=0.0,
    )
    learner = Learner(spec.config, open_windows(spec.data, tmp_path), torch.device("cpu"))
    windows = np.arange(8) * 5
    steps = [learner.take_step([windows], step=step, lr=1e-2) for step in range(80)]
    assert steps[0].ar_cosine < 0.7
    assert steps[-1].ar_cosine > 0.95
    assert all(after.loss < before.loss for before, after in itertools.pairwise(steps[::20]))
