"""`lvm-tui diagnose`: a run or another program's record in, the likeliest cause first out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from recorded import PLAYBOOK_HISTORY, make_spec, run_events, write_run

from engine.run.directory import Exit
from engine.run.events import NonFiniteFound, RunFailed
from engine.run.runs_file import RunsFile
from tui.cli import main

SHOWN = (*PLAYBOOK_HISTORY, 0.5146, 0.5146, 0.5146)
"""The recorded training whose evaluation found nothing."""
FOUND_NOTHING = {"cosine": 0.2557, "R@5": 0, "Contain@50": 0, "P95": 1.10}

Invoke = Callable[..., Result]


@pytest.fixture
def lvm(runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs `lvm-tui --config <the test's file> diagnose ARGUMENTS`."""
    monkeypatch.chdir(Path(runs_file.path).parent)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config", runs_file.path, "diagnose", *arguments])

    return invoke


@pytest.fixture
def history(tmp_path: Path) -> str:
    """The record's file."""
    path = tmp_path / "history.json"
    path.write_text(json.dumps([{"epoch": epoch, "val_cosine": value} for epoch, value in enumerate(SHOWN, 1)]))
    return str(path)


@pytest.fixture
def evaluation(tmp_path: Path) -> str:
    """The evaluation's file."""
    path = tmp_path / "eval.json"
    path.write_text(json.dumps({"metrics": FOUND_NOTHING}))
    return str(path)


def record_of(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert result.stderr == ""
    record: dict[str, Any] = msgspec.json.decode(result.stdout)
    return record


def test_the_recorded_failure_is_a_leak_or_another_distribution_and_then_a_retrieval_gap(
    lvm: Invoke, history: str, evaluation: str
) -> None:
    result = lvm("--history", history, "--eval", evaluation, "--json")
    record = record_of(result)
    assert result.exit_code == 1
    first, second = record["diagnoses"][:2]
    assert first["signature"] == "eval_far_below_val"
    assert first["cause"] == "Eval cosine far below val cosine: leak or another distribution."
    assert "eval cosine 0.256, val_cosine 0.515 at epoch 7: 0.259 below" in first["evidence"][0]
    assert (second["signature"], second["explained_by"]) == ("retrieval_gap", "eval_far_below_val")
    assert "Contain@50 0.000 < 0.600" in second["evidence"][0]


def test_without_the_evaluation_it_missed_its_gate_narrowly_rose_and_is_no_alarm(lvm: Invoke, history: str) -> None:
    result = lvm("--history", history, "--json")
    record = record_of(result)
    assert (result.exit_code, record["diagnoses"]) == (0, [])
    assert record["gate"]["verdict"] == "missed"
    assert record["gate"]["detail"] == "0.472 < 0.500, missed by 0.028; rising, and at the bar by epoch 4"
    assert record["position"] == "fix"
    assert "loss.temperature = 0.05" in record["next"]["title"]


def test_the_json_has_what_it_promises(lvm: Invoke, history: str, evaluation: str) -> None:
    record = record_of(lvm("--history", history, "--eval", evaluation, "--json"))
    assert record["schema"] == 1
    assert {"position", "diagnoses", "next"} <= record.keys()
    for diagnosis in record["diagnoses"]:
        assert {"signature", "cause", "evidence", "confidence", "remedy", "action"} <= diagnosis.keys()
        assert 0.5 <= diagnosis["confidence"] <= 1
    assert record["next"]["evidence"]


def test_the_text_fits_80_columns_and_says_the_same(lvm: Invoke, history: str, evaluation: str) -> None:
    result = lvm("--history", history, "--eval", evaluation)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) < 80
    assert any(line.startswith("1. eval_far_below_val (95% sure)") for line in lines)
    assert any(line.startswith("2. retrieval_gap (95% sure, a symptom of eval_far_below_val)") for line in lines)
    assert "rising" in lines[1]


def test_a_run_of_ours_is_diagnosed_by_number(lvm: Invoke, recorded_runs: Path) -> None:
    result = lvm("2")
    assert result.exit_code == 0
    assert "No failure signature fires" in result.stdout
    assert lvm("amn-0002", "--json").exit_code == 0


def test_a_run_that_diverged_is_named_and_exits_with_1(lvm: Invoke, runs_file: RunsFile) -> None:
    spec = make_spec()
    nan = NonFiniteFound(what="loss", value="nan", epoch=3, step=44)
    events = [*run_events(spec, (0.40, 0.44)), nan, RunFailed(message="loss was nan")]
    write_run(runs_file.runs_dir, spec, events, ended=Exit(code=1, kind="exited", wall_s=9.0))
    result = lvm("1", "--json")
    record = record_of(result)
    assert result.exit_code == 1
    assert [one["signature"] for one in record["diagnoses"]] == ["non_finite"]


def test_a_remedy_that_is_a_fix_of_the_ladder_says_its_number_until_it_is_tried(
    lvm: Invoke, runs_file: RunsFile
) -> None:
    def remedy(run_id: str) -> str:
        (found,) = (each for each in record_of(lvm(run_id, "--json"))["diagnoses"] if "space" in each["signature"])
        return str(found["remedy"])

    spec = make_spec("mamba_s", 1)
    events = run_events(spec, [0.3, 0.31], top1_projected=0.194, top1_target=0.106)
    write_run(runs_file.runs_dir, spec, events)
    assert remedy("1").endswith('loss.contrast_space = "target".'), "no fix of this ladder does that"
    path = Path(runs_file.path)
    fix = '\n[[fix]]\ntitle = "Space"\nreason = "Searched."\ntries = [{ "loss.contrast_space" = "target" }]\n'
    path.write_text(path.read_text() + fix)
    assert remedy("1").endswith("It is fix 6 of the ladder: `lvm-tui triage ID --fix 6`.")
    child = make_spec("mamba_s", 2, parent=spec, patch={"loss.contrast_space": "target"})
    write_run(runs_file.runs_dir, child, run_events(child, [0.3, 0.31]))
    assert "fix 6" not in remedy("1"), "it was tried"


def test_foreign_text_cannot_reach_the_terminal(lvm: Invoke, runs_file: RunsFile) -> None:
    spec = make_spec()
    nan = NonFiniteFound(what="loss\x1b]0;owned\x07\x1b[2J", value="nan", epoch=3, step=44)
    write_run(runs_file.runs_dir, spec, [*run_events(spec, (0.40, 0.44)), nan])
    assert "\x1b" not in lvm("1").stdout
    assert "loss" in lvm("1").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name either a run"),
        (["1", "--history", "h.json"], "name either a run"),
        (["1", "--eval", "e.json"], "--eval belongs to --history"),
        (["7"], "7"),
        (["--history", "missing.json"], "missing.json: cannot be read"),
        (["--history", "runs.toml"], "not valid JSON"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_line_and_exit_code_2(
    lvm: Invoke, recorded_runs: Path, arguments: list[str], told: str
) -> None:
    result = lvm(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert told in result.stderr
