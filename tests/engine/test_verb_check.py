"""The `check` verb: an epoch's verdicts from a run or from a history file, also another program's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from torch import nn

from engine.cli import main
from tests.reference.small_training import make_run, train_run

RECORDED = [0.4123, 0.4719, 0.4944, 0.5071, 0.5122, 0.5133, 0.5149]
"""A monitored run's val_cosine over its epochs."""


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


def history(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "history.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def row(epoch: int, val_cosine: Any, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "val_cosine": val_cosine, **more}


def test_the_recorded_run_missed_its_gate_by_what_it_missed_it(tmp_path: Path) -> None:
    path = history(tmp_path, [row(epoch, value) for epoch, value in enumerate(RECORDED, start=1)])
    result = invoke("--history", path, "--epoch", "2")
    assert result.exit_code == 1
    assert "[GATE] val_cosine@2 MISSED: 0.472 < 0.500, missed by 0.028" in result.stdout
    assert invoke("--history", path, "--epoch", "4").exit_code == 0
    assert invoke("--history", path, "--epoch", "2", "--gate", "0.47").exit_code == 0


def test_json_has_the_numbers(tmp_path: Path) -> None:
    path = history(tmp_path, [row(2, 0.52, margin=0.05, same_article_negatives=0)])
    result = invoke("--history", path, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (1, "missed")
    assert found["gates"]["val_cosine@2"]["verdict"] == "passed"
    assert found["checks"]["margin"]["value"] == 0.05
    assert "pairwise_cosine" not in found["checks"]  # the file has no such number


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '[{"epoch": 1, "val_cosine": 0.6}]',
        '[{"epoch": 2, "val_cosine": NaN}]',
        '[{"epoch": 2, "val_cosine": Infinity}]',
        '[{"epoch": 2, "val_cosine": 1e999}]',
        '[{"epoch": 2, "val_cosine": null}]',
        '[{"epoch": 2}]',
        '[{"epoch": 2, "val_cosine": "0.6"}]',
        '[{"epoch": 2, "val_cosine": 0.6}, {"epoch": 2, "val_cosine": 0.4}]',
        '{"epoch": 2, "val_cosine": 0.6}',
        '[{"epoch": "2", "val_cosine": 0.6}]',
        '[{"epoch": 2, "val_cosine": 0.6}',
        "[" * 100_000,
        "",
    ],
)
def test_what_cannot_be_decided_never_passes(tmp_path: Path, content: str) -> None:
    assert invoke("--history", history(tmp_path, content)).exit_code == 2


@pytest.mark.parametrize("name", ["margin", "pairwise_cosine", "same_article_negatives"])
def test_a_check_whose_number_is_not_finite_never_passes(tmp_path: Path, name: str) -> None:
    healthy = row(2, 0.6, margin=0.3, pairwise_cosine=0.1, same_article_negatives=0)
    assert invoke("--history", history(tmp_path, [healthy])).exit_code == 0
    result = invoke("--history", history(tmp_path, [healthy | {name: float("nan")}]))
    assert result.exit_code == 2
    assert f"[CHECK] {name} UNDECIDABLE" in result.stdout


def test_an_epoch_may_be_written_as_a_float(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    file.write_text('[{"epoch": 2.0, "val_cosine": 0.6}]')
    assert invoke("--history", file).exit_code == 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = invoke("--history", tmp_path / "nowhere.json")
    assert result.exit_code == 2
    assert "nowhere.json: cannot be read" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--run-dir", "a", "--history", "b"], ["--history", "b", "--gate", "nan"]])
def test_a_call_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_run_is_judged_by_its_own_gates_and_checks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=2)
    assert invoke("--run-dir", run.path).exit_code == 2
    train_run(run)
    found = json.loads(invoke("--run-dir", run.path, "--json").stdout)
    assert set(found["gates"]) == {"val_cosine@2"}
    assert set(found["checks"]) == {
        *("margin", "same_article_negatives", "pairwise_cosine", "effective_rank"),
        "projection_head",
    }
    record = run.read_history()[1]
    assert found["gates"]["val_cosine@2"]["value"] == record.val_cosine
    assert invoke("--run-dir", run.path, "--epoch", "1", "--json").stdout.startswith('{"epoch":1,')
    assert "has no gate" in invoke("--run-dir", run.path, "--epoch", "1").stdout
    passed = json.loads(invoke("--run-dir", run.path, "--gate", "-1", "--json").stdout)
    assert passed["gates"]["val_cosine@2"]["verdict"] == "passed"
    saved = run.checkpoints / "best"
    assert invoke("--checkpoint", saved).stdout.startswith("[CHECK] projection_head PASSED: unit length")


def save_foreign(path: Path, *layers: nn.Module, part: str = "head.mlp") -> Path:
    """A safetensors file of another program."""
    weights = {f"{part}.{name}": tensor for name, tensor in nn.Sequential(*layers).state_dict().items()}
    save_file({"model.weight": torch.zeros(3, 3), **weights}, path)
    return path


def test_a_foreign_head_is_verified_from_its_weights(tmp_path: Path) -> None:
    layers = [nn.Linear(24, 16), nn.GELU(), nn.LayerNorm(16)]
    good = save_foreign(tmp_path / "good.safetensors", *layers, nn.Linear(16, 8, bias=False))
    bad = save_foreign(tmp_path / "bad.safetensors", *layers, nn.Linear(16, 8), part="net.projection_head")
    assert invoke("--checkpoint", good).exit_code == 0
    result = invoke("--checkpoint", bad)
    assert result.exit_code == 1
    assert result.stdout == "[CHECK] projection_head MISSED: the last layer has a bias (bad.safetensors)\n"
    found = json.loads(invoke("--checkpoint", bad, "--json").stdout)
    assert found["checks"]["projection_head"]["verdict"] == "missed"


def test_a_checkpoint_that_cannot_be_verified_is_refused(tmp_path: Path) -> None:
    headless = save_foreign(tmp_path / "none.safetensors", nn.Linear(4, 4), part="decoder")
    (tmp_path / "torn.safetensors").write_bytes(headless.read_bytes()[:50])
    for place, said in ((headless, "holds no projection head"), (tmp_path / "torn.safetensors", "cannot be read")):
        result = invoke("--checkpoint", place)
        assert result.exit_code == 2
        assert said in result.stderr
    run = make_run(tmp_path / "small-0001", epochs=1, loss__contrast_space="target")
    assert "not a checkpoint: it holds no meta.json" in invoke("--checkpoint", run.path).stderr
    train_run(run)
    assert invoke("--checkpoint", run.checkpoints / "best").exit_code == 2


def test_a_run_is_judged_by_the_head_it_saved(tmp_path: Path) -> None:
    run = make_run(tmp_path / "small-0001", epochs=2)
    train_run(run)
    meta = json.loads((run.checkpoints / "best" / "meta.json").read_text())
    file = run.checkpoints / "best" / "model.safetensors"
    save_file({**load_file(file), "head.mlp.3.bias": torch.zeros(8)}, file)
    meta["sha256"]["model.safetensors"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (run.checkpoints / "best" / "meta.json").write_text(json.dumps(meta))
    found = json.loads(invoke("--run-dir", run.path, "--json").stdout)["checks"]["projection_head"]
    assert found["verdict"] == "missed"
    assert "the last layer has a bias" in found["detail"]


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"val_lift": 0.05, "unseen_lift": 0.04}, "passed"),
        ({"val_lift": 0.05, "unseen_lift": 0.0}, "missed"),
        ({"val_lift": 0.05, "unseen_lift": 0.0, "lift_gap_error": 0.02}, "passed"),
        ({"val_lift": 0.05, "unseen_lift": float("nan")}, "undecidable"),
        ({"val_lift": 0.05, "unseen_lift": None, "unseen_windows": 100}, "undecidable"),
        ({"val_lift": 0.05, "unseen_lift": None}, None),
        ({"val_lift": 0.05}, None),
    ],
)
def test_lifts_are_compared_where_unseen_articles_were_measured(
    tmp_path: Path, numbers: dict[str, float | None], verdict: str | None
) -> None:
    result = invoke("--history", history(tmp_path, [row(2, 0.6, margin=0.3) | numbers]), "--json")
    judged = json.loads(result.stdout)["checks"].get("lift_gap")
    assert (judged and judged["verdict"]) == verdict
    assert result.exit_code == {"passed": 0, "missed": 1, "undecidable": 2, None: 0}[verdict]
