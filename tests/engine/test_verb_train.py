"""The `train` verb: run directories, the playbook's flags, the lock, the stop file and signals."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.run.directory import RunDirectory, is_locked, take_lock
from engine.run.event_file import read_events
from engine.run.events import (
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    WarningRaised,
)
from engine.run.state import fold
from engine.run.wrapper import LOCK_FD_VARIABLE
from engine.verbs.train import StopRequest
from tests.reference.small_corpus import walk
from tests.reference.small_training import make_run, weights_digest

FLAGS = shlex.split("--epochs 2 --batch-size 8 --grad-accum-steps 2 --d-model 32 --n-layers 1 --device cpu --seed 3")

ALL_THE_SAME = ["--override-preflight", "overlapping windows on both sides, to see what is said of them"]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def start_and_stop(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Start as a wrapper does, which holds the lock already, with the stop asked for before the first step."""
    lock = take_lock(run.lock_file)
    assert lock is not None
    with monkeypatch.context() as patch:
        patch.setenv(LOCK_FD_VARIABLE, str(lock))  # the verb closes it
        run.stop_file.touch()
        return invoke("--run-dir", run.path)


def write_npz(path: Path, *, articles: bool) -> Path:
    vectors = walk([9] * 8)
    starts = [article * 9 + offset for article in range(8) for offset in range(5)]
    arrays = {
        "context_sequences": np.stack([vectors[start : start + 4] for start in starts]),
        "target_vectors": np.stack([vectors[start + 4] for start in starts]),
    }
    if articles:
        arrays["article_ids"] = np.repeat(np.arange(8), 5)
    np.savez(path, **arrays)
    return path


def test_the_playbooks_command_trains(tmp_path: Path) -> None:
    npz = write_npz(tmp_path / "train.npz", articles=True)
    playbook = shlex.split("--model-type mamba_s --val-split 0.25 --temperature 0.05 --lambda-con 0.7 --lambda-ar 0.3")
    result = invoke("--train-npz", npz, "--save-dir", tmp_path / "run", *playbook, *FLAGS)
    assert result.exit_code == 0, result.output
    assert "[GATE] val_cosine@2" in result.stdout
    assert "epoch 2/2 step" in result.stdout
    run = RunDirectory(tmp_path / "run")
    spec = run.read_spec()
    assert (spec.config.loss.temperature, spec.config.sampler.batch_size, spec.config.seed) == (0.05, 8, 3)
    assert (spec.data.context, spec.data.val_share, spec.data.test_share) == (4, 0.25, 0.0)
    assert isinstance(read_events(run.events_file)[-1], RunFinished)
    assert len(run.read_history()) == 2
    assert not is_locked(run.lock_file)


def test_data_without_articles_say_loudly_that_the_split_may_leak(tmp_path: Path) -> None:
    npz = write_npz(tmp_path / "train.npz", articles=False)
    flags = ["--model-type", "amn", *FLAGS, *ALL_THE_SAME]
    result = invoke("--train-npz", npz, "--save-dir", tmp_path / "run", *flags)
    assert result.exit_code == 0, result.output
    assert "WARNING THE SPLIT CANNOT BE ARTICLE-DISJOINT" in result.stdout
    events = read_events(tmp_path / "run" / "events.jsonl")
    assert any(isinstance(event, RunStarted) and not event.article_disjoint for event in events)
    assert any(isinstance(event, WarningRaised) and "ARTICLE-DISJOINT" in event.message for event in events)


def test_without_articles_nobody_can_say_that_no_negative_was_of_the_same_one(tmp_path: Path) -> None:
    for articles, verdict in ((True, "passed"), (False, "undecidable")):
        npz, folder = write_npz(tmp_path / f"{articles}.npz", articles=articles), tmp_path / f"run-{articles}"
        flags = ["--model-type", "amn", *FLAGS, *ALL_THE_SAME]
        assert invoke("--train-npz", npz, "--save-dir", folder, *flags).exit_code == 0
        judged = fold(read_events(folder / "events.jsonl")).checks[2]["same_article_negatives"]
        assert judged.verdict == verdict


@pytest.mark.parametrize("flags", [["--val-split", "0.95"], ["--device", "mps"]])
def test_flags_that_cannot_be_trained_with_leave_no_folder(tmp_path: Path, flags: list[str]) -> None:
    npz = write_npz(tmp_path / "train.npz", articles=True)
    result = invoke("--train-npz", npz, "--save-dir", tmp_path / "run", *FLAGS, *flags)
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", ["0", "1.5", "nan"])
def test_a_share_that_is_none_is_named_by_its_flag(tmp_path: Path, share: str) -> None:
    npz = write_npz(tmp_path / "train.npz", articles=True)
    result = invoke("--train-npz", npz, "--save-dir", tmp_path / "run", *FLAGS, "--val-split", share)
    assert result.exit_code == 2
    assert "error: --val-split" in result.stderr
    assert "Take a share such as 0.1." in result.stderr


def test_a_run_directory_trains_and_is_finished_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    assert invoke("--run-dir", run.path).exit_code == 0
    again = invoke("--run-dir", run.path, "--resume")
    assert again.exit_code == 0
    assert "is finished" in again.stdout
    assert sum(isinstance(event, RunFinished) for event in read_events(run.events_file)) == 1


def test_the_stop_file_ends_a_run_and_a_resume_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, run = make_run(tmp_path / "a" / "small-0001"), make_run(tmp_path / "b" / "small-0001")
    assert invoke("--run-dir", straight.path).exit_code == 0
    assert start_and_stop(run, monkeypatch).exit_code == 0
    assert isinstance(read_events(run.events_file)[-1], RunStopped)
    assert invoke("--run-dir", run.path, "--resume").exit_code == 0
    assert not run.stop_file.exists()
    assert weights_digest(run) == weights_digest(straight)


def test_a_term_signal_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=100_000, checkpoint__patience=0)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "train", "--run-dir", run.path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1/" in line:
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0
    assert "stopped as asked" in rest
    assert isinstance(read_events(run.events_file)[-1], RunStopped)
    assert (run.checkpoints / "last" / "meta.json").exists()


def test_a_signal_is_a_request_and_the_old_handler_comes_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest(tmp_path / "stop")
    with stop.listening():
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_whose_lock_is_held_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    lock = take_lock(run.lock_file)
    assert lock is not None
    result = invoke("--run-dir", run.path)
    os.close(lock)
    assert result.exit_code == 2
    assert "its lock is held" in result.stderr
    assert not run.events_file.exists()


def test_the_wrappers_descriptor_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "small-0001", epochs=1)
    lock = take_lock(run.lock_file)
    monkeypatch.setenv("LVM_LOCK_FD", str(lock))
    assert invoke("--run-dir", run.path).exit_code == 0


def test_another_files_descriptor_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "small-0001")
    lock = take_lock(run.lock_file)
    assert lock is not None
    monkeypatch.setenv("LVM_LOCK_FD", "0")
    assert invoke("--run-dir", run.path).exit_code == 2
    os.close(lock)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "needs either --run-dir DIR or --save-dir"),
        (["--run-dir", "r", "--save-dir", "s"], "needs either"),
        (["--run-dir", "r", "--lr", "1"], "--lr: a run directory's settings are in its spec.json"),
        (["--save-dir", "s", "--resume"], "--run-dir s --resume"),
        (["--run-dir", "nowhere"], "no such run directory"),
        (["--save-dir", "s", "--train-npz", "nowhere.npz"], "nowhere.npz does not exist"),
        (["--save-dir", "s", "--train-npz", "a", "--corpus", "b"], "name one of them"),
        (["--save-dir", "s", "--temperature", "-1"], "--temperature -1.0: "),
        (["--save-dir", "s", "--val-split", "2"], "val_share"),
        (["--save-dir", "s", "--corpus", "embedded:wikilead"], 'Did you mean "embedded:wikileads"'),
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_started_run_is_not_started_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "small-0001")
    start_and_stop(run, monkeypatch)
    result = invoke("--run-dir", run.path)
    assert result.exit_code == 2
    assert "--resume" in result.stderr
    assert "already holds a run" in invoke("--save-dir", run.path).stderr


def test_what_ends_a_run_is_recorded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001")
    (tmp_path / "corpus" / "manifest.json").write_text("{}")
    assert invoke("--run-dir", run.path).exit_code == 2
    last = read_events(run.events_file)[-1]
    assert isinstance(last, RunFailed)
    assert "manifest.json" in last.message
