"""Judging a suite: named first is right, an alarm on a healthy run is wrong, and the exit code says so."""

from __future__ import annotations

import json
from dataclasses import replace as replace_data
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from recorded import PLAYBOOK_HISTORY, make_spec, run_events, write_run

from engine.run.convert import ConfigError
from engine.run.directory import Exit, is_locked
from engine.run.events import NonFiniteFound, RunFailed
from engine.scenarios.record import RUNS, PlantedRun, Suite, write_suite
from tui.cli import main
from tui.control.diagnosis.catalogue import load_catalogue
from tui.control.diagnosis.diagnose import Diagnosis
from tui.control.scenarios import Judged, judge_suite, score


def planted(run: str, expects: str, split: str = "tune", *, is_held: bool = False) -> PlantedRun:
    return PlantedRun(
        name=run.partition("-")[0],
        run=run,
        expects=expects,
        planted="something",
        split=split,  # type: ignore[arg-type]
        seed=0,
        seconds=1.0,
        is_held=is_held,
    )


def make_suite(folder: Path, *runs: PlantedRun) -> Path:
    """A suite of a run that ended in NaN and one without a fault."""
    (folder / RUNS).mkdir(parents=True)
    for name in ("broken", "fine"):
        spec = make_spec(name, 0)
        events = run_events(spec, PLAYBOOK_HISTORY)
        if name == "broken":
            events += [NonFiniteFound(what="loss", value="nan", epoch=3, step=9), RunFailed(message="not finite")]
        write_run(folder / RUNS, spec, events, ended=Exit(code=int(name == "broken"), kind="exited"))
    write_suite(folder, Suite(runs=list(runs)))
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["scenarios", *map(str, arguments)])


def test_a_suite_whose_causes_are_named_first_is_right(tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "s", planted("broken-0000", "non_finite"), planted("fine-0000", "", "held_out"))
    assert [one.is_right for one in judge_suite(suite)] == [True, True]
    result = invoke(suite)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "tune: cause named first in 1 of 1 failures, no alarm in 0 of 0 healthy runs" in result.stdout
    assert "held_out: cause named first in 0 of 0 failures, no alarm in 1 of 1 healthy runs" in result.stdout


def test_another_cause_and_a_missed_one_and_a_false_alarm_are_wrong(tmp_path: Path) -> None:
    suite = make_suite(
        tmp_path / "s", planted("broken-0000", "leak"), planted("broken-0000", ""), planted("fine-0000", "collapse")
    )
    assert [one.is_right for one in judge_suite(suite)] == [False, False, False]
    assert [(part.named_first, part.without_alarm) for part in score(judge_suite(suite))] == [(0, 0)]
    assert invoke(suite).exit_code == 1


def test_the_record_and_the_table_say_what_the_lines_say(tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "s", planted("broken-0000", "non_finite"), planted("fine-0000", ""))
    record = json.loads(invoke(suite, "--json", "--markdown", tmp_path / "table.md").stdout)
    assert [run["right"] for run in record["runs"]] == [True, True]
    assert record["scores"] == [{"split": "tune", "failures": 1, "named_first": 1, "healthy": 1, "without_alarm": 1}]
    table = (tmp_path / "table.md").read_text()
    assert "| broken | something | tune | non_finite | non_finite |" in table
    assert "| fine | something | tune | healthy | healthy |" in table


def test_what_cannot_be_judged_is_said_and_nothing_is_scored(tmp_path: Path) -> None:
    missing = make_suite(tmp_path / "a", planted("gone-0000", "leak"))
    with pytest.raises(ConfigError, match="there is no such folder"):
        judge_suite(missing)
    unknown = make_suite(tmp_path / "b", planted("fine-0000", "bad_luck"))
    with pytest.raises(ConfigError, match="no signature"):
        judge_suite(unknown)
    assert invoke(tmp_path / "nowhere").exit_code == 2


def test_a_healthy_run_must_have_the_note_that_is_asked_for(tmp_path: Path) -> None:
    noted = replace(planted("fine-0000", ""), notes="trade_off")
    suite = make_suite(tmp_path / "s", noted)
    assert [one.is_right for one in judge_suite(suite)] == [False]
    note = Diagnosis("trade_off", "", (), 0.9, "", "", is_note=True)
    assert Judged(noted, (note,)).is_right
    assert not Judged(noted, (replace_data(note, is_note=False),)).is_right


def test_a_held_run_is_let_go_of(tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "s", planted("fine-0000", "", is_held=True))
    judge_suite(suite)
    assert not is_locked(suite / RUNS / "fine-0000" / "lock")


def test_every_label_of_the_suite_is_a_signature() -> None:
    from engine.scenarios.cases import CASES

    assert {case.expects for case in CASES.values()} - {""} <= set(load_catalogue())
    assert all(load_catalogue()[case.notes].note for case in CASES.values() if case.notes)
