"""Exports: every number once, none that was not finite, and the same in the tracker as in the run's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import make_record, missed_mamba
from recorded_report import eval_report

from engine.cli import main
from engine.export.readings import Reader
from engine.run.directory import RunDirectory
from engine.run.event_file import read_events
from engine.run.events import (
    EpochEnded,
    GateJudged,
    StepLogged,
)


def export(run: RunDirectory, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", str(run.path), *arguments])


def test_every_event_is_read_once_however_often_it_is_seen(tmp_path: Path) -> None:
    events = read_events(missed_mamba(tmp_path).events_file)
    reader = Reader()
    half = [*reader.of_events(events[: len(events) // 2])]
    rest = [*reader.of_events(events)]
    assert half
    assert rest
    assert not [*reader.of_events(events)]
    assert [*half, *rest] == [*Reader().of_events(events)]


def test_readings_are_what_the_run_recorded(tmp_path: Path) -> None:
    events = read_events(missed_mamba(tmp_path).events_file)
    all_of_them = [*Reader().of_events(events)]
    readings = {(one.name, one.step): one.value for one in all_of_them}
    named = {one.name: one.value for one in all_of_them}
    for event in events:
        if isinstance(event, EpochEnded):
            assert readings["epoch/val_cosine", event.record.step] == event.record.val_cosine
        elif isinstance(event, StepLogged):
            assert readings["train/loss", event.step] == event.loss
        elif isinstance(event, GateJudged):
            assert named[f"gate/{event.name}/passed"] == (event.verdict == "passed")


def test_a_number_that_was_not_finite_is_no_reading() -> None:
    ended = EpochEnded(seq=1, record=make_record(1, 0.5, grad_norm=None))
    names = {one.name for one in Reader().of_events([ended])}
    assert "epoch/val_cosine" in names
    assert "epoch/grad_norm" not in names


def test_an_evaluation_stands_at_the_last_step_of_its_epoch_and_again_when_it_is_done_again() -> None:
    reader, report = Reader(), eval_report(epoch=2)
    [*reader.of_events([EpochEnded(seq=1, record=make_record(2, 0.5, step=70))])]
    readings = {one.name: one for one in reader.of_evals({"smoke": report})}
    assert readings["eval/smoke/model/r5"].value == report.rows["model"].exact.r5
    assert readings["eval/smoke/model/r5"].step == 70
    assert not [*reader.of_evals({"smoke": report})]


def test_tensorboard_reads_back_what_was_exported_and_a_second_export_replaces_it(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = missed_mamba(tmp_path / "runs")
    for _ in range(2):
        done = export(run, "--tensorboard", str(tmp_path / "tb"))
        assert done.exit_code == 0, done.output
    read = EventAccumulator(str(tmp_path / "tb" / run.id))
    read.Reload()
    ended = [event for event in read_events(run.events_file) if isinstance(event, EpochEnded)]
    scalars = read.Scalars("epoch/val_cosine")
    assert [one.step for one in scalars] == [event.record.step for event in ended]
    assert [one.value for one in scalars] == pytest.approx([event.record.val_cosine for event in ended])
    assert [one.wall_time for one in scalars] == pytest.approx([event.t for event in ended])


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = missed_mamba(tmp_path / "runs")
    thesis = tmp_path / "tb" / run.id / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("all of it")
    done = export(run, "--tensorboard", str(tmp_path / "tb"))
    assert done.exit_code == 2
    assert "thesis.tex" in done.output
    assert thesis.read_text() == "all of it"


def test_without_a_tracker_it_says_which_there_are(tmp_path: Path) -> None:
    done = export(missed_mamba(tmp_path))
    assert done.exit_code == 2
    assert "--tensorboard DIR or --mlflow URI" in done.output


@pytest.mark.slow
def test_mlflow_is_sent_each_number_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    run = missed_mamba(tmp_path / "runs")
    uri = f"file:{tmp_path / 'mlruns'}"
    for _ in range(2):
        done = export(run, "--mlflow", uri, "--experiment", "lvm")
        assert done.exit_code == 0, done.output
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lvm")
    (found,) = client.search_runs([experiment.experiment_id])
    ended = [event for event in read_events(run.events_file) if isinstance(event, EpochEnded)]
    history = client.get_metric_history(found.info.run_id, "epoch/val_cosine")
    assert [metric.value for metric in history] == [event.record.val_cosine for event in ended]
    assert found.data.params["loss.temperature"] == str(run.read_spec().config.loss.temperature)
    assert found.data.metrics["gate/val_cosine_2/passed"] == 0.0


@pytest.mark.slow
def test_an_mlflow_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    done = export(missed_mamba(tmp_path), "--mlflow", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert done.output.startswith("error: MLflow at http://127.0.0.1:9")
