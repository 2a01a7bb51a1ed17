"""The comparison of models, on a corpus of seconds: what is trained, what the table says, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.comparison import KINDS, _run_quietly, variants
from engine.models.floors import FLOORS
from engine.run.directory import RunDirectory
from engine.verbs.compare_models import _read_setting
from tests.reference.small_corpus import make_corpus

RUNS = """
[data]
corpus = "corpus"
context = 3
val_share = 0.2
test_share = 0.2
[run.small]
epochs = 2
[run.small.model]
width = 16
layers = 1
state = 8
head_width = 8
[run.small.sampler]
batch_size = 16
accumulate = 1
[run.mamba_s]
[run.amn]
"""


@pytest.fixture
def runs_file(tmp_path: Path) -> Path:
    make_corpus(tmp_path / "corpus", [7, 9, 12, 8, 10, 7, 9, 11, 8, 12] * 2)
    (tmp_path / "runs.toml").write_text(RUNS)
    return tmp_path / "runs.toml"


def invoke(runs_file: Path, *arguments: str) -> Result:
    fixed = ["--config", str(runs_file), "--run", "small", "--index-dir", str(runs_file.parent / "index")]
    return CliRunner().invoke(main, ["compare-models", *fixed, *arguments])


def test_every_kind_is_trained_with_and_without_the_mean_and_amn_with_it_alone() -> None:
    planned = variants(KINDS)
    assert {kind for kind, _ in planned} == {"mamba_s", "amn", "gru", "transformer"}
    assert [residual for kind, residual in planned if kind == "amn"] == ["context_mean"]
    assert all((kind, residual) in planned for kind in ("gru", "mamba_s") for residual in ("none", "context_mean"))


@pytest.mark.slow
def test_models_are_trained_alike_and_tabled_beside_floors_and_ceiling(runs_file: Path) -> None:
    kept = runs_file.parent / "kept"
    arguments = ["--model-type", "gru", "--set", "checkpoint.patience=1", "--save-dir", str(kept), "--json"]
    result = invoke(runs_file, *arguments)
    assert result.exit_code == 0, result.stderr
    table: dict[str, Any] = json.loads(result.stdout)
    plain, with_mean = table["models"]
    assert (plain["residual"], with_mean["residual"]) == ("none", "context_mean")
    for model in table["models"]:
        run = RunDirectory(Path(model["run"]))
        history = run.read_history()
        assert model["ending"] == "finished"
        assert model["gate"] == "val_cosine@2"
        assert model["gate_value"] == history[1].val_cosine
        assert model["best_val_cosine"] == max(record.val_cosine or 0 for record in history)
        assert model["num_parameters"] > 1000
        assert model["peak_bytes"] > 50e6
        assert 0 < model["seconds"] < model["cpu_s"] + 60
        assert model["figures"] == json.loads((run.evals / "compared.json").read_text())["rows"]["model"]["exact"]
    assert table["floors"].keys() == set(FLOORS)
    assert table["floors"]["context_mean"]["val_cosine"] == pytest.approx(with_mean["best_val_cosine"], abs=0.15)
    assert table["ceiling"]["figures"]["r5"] == 1
    assert result.stderr.count("finished after 2 epochs") == 2


@pytest.mark.slow
def test_the_table_for_people_names_models_floors_and_ceiling_and_leaves_nothing_behind(runs_file: Path) -> None:
    before = set(runs_file.parent.iterdir())
    result = invoke(runs_file, "--model-type", "amn", "--epochs", "1", "--limit", "5")
    assert result.exit_code == 0, result.stderr
    assert [line.split("  ")[0] for line in result.stdout.splitlines()[3:]] == [
        "amn + mean",
        "floor copy_last",
        "floor context_mean",
        "floor ridge",
        "ceiling oracle",
    ]
    assert "not judged" in result.stdout  # the gate's epoch was never reached
    assert "5 queries over all" in result.stdout
    assert set(runs_file.parent.iterdir()) - before == {runs_file.parent / "index"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "model.kind=gru"], "the comparison sets this one itself"),
        (["--set", "optimizer.lr"], "not of the form KEY=VALUE"),
        (["--set", "optimizer.lrr=1"], 'Did you mean "optimizer.lr"'),
        (["--set", "model.width=12"], "head_width 8 must divide width = 12"),
        (["--corpus", "embedded:wikilead"], 'Did you mean "embedded:wikileads"'),
        (["--run", "smal"], 'Did you mean "small"'),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    runs_file: Path, arguments: list[str], message: str
) -> None:
    kept = runs_file.parent / "kept"
    result = invoke(runs_file, *arguments, "--save-dir", str(kept))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not kept.exists()


def test_a_training_that_cannot_be_done_is_told_with_its_own_words(runs_file: Path) -> None:
    result = invoke(runs_file, "--set", "device=cuda", "--model-type", "amn")
    assert result.exit_code == 2
    assert "the training ended with exit code 2" in result.stderr
    assert '"cuda" is not available' in result.stderr


def test_a_training_that_breaks_down_has_a_row_and_exit_code_1(runs_file: Path) -> None:
    explode = ["--set", "optimizer.lr=1e38", "--set", "optimizer.weight_decay=0", "--set", "schedule.warmup_steps=0"]
    result = invoke(runs_file, *explode, "--model-type", "amn", "--json")
    assert result.exit_code == 1, result.stderr
    model = json.loads(result.stdout)["models"][0]
    assert model["ending"] == "failed"
    assert model["gate_verdict"] == ""


def test_an_interrupted_comparison_leaves_no_training_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def interrupt(pid: int, _options: int) -> None:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _run_quietly([sys.executable, "-c", "import signal; signal.pause()"], tmp_path / "log")
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("4", 4), ("true", True), ("target", "target"), ("", ""), ("a=b", "a=b")]
)
def test_a_setting_is_a_number_a_truth_value_or_text(text: str, value: object) -> None:
    key, found = _read_setting(f"loss.x={text}")
    assert key == "loss.x"
    assert found == value
    assert type(found) is type(value)
