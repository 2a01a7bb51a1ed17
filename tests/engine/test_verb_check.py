"""The `check` verb: an epoch's verdicts from a run or from a history file, also another program's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

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
    assert set(found["checks"]) == {"margin", "same_article_negatives", "pairwise_cosine", "projection_head"}
    record = run.read_history()[1]
    assert found["gates"]["val_cosine@2"]["value"] == record.val_cosine
    assert invoke("--run-dir", run.path, "--epoch", "1", "--json").stdout.startswith('{"epoch":1,')
    assert "has no gate" in invoke("--run-dir", run.path, "--epoch", "1").stdout
    passed = json.loads(invoke("--run-dir", run.path, "--gate", "-1", "--json").stdout)
    assert passed["gates"]["val_cosine@2"]["verdict"] == "passed"
