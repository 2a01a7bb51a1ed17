"""`lvm-tui status --filter`, `note` and `archive`: the same words and files as the room's list of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from recorded import MAMBA_HISTORY, make_spec, run_events, write_run

from engine.run.directory import take_lock
from engine.run.runs_file import RunsFile
from tui.cli import main

Invoke = Callable[..., Result]


@pytest.fixture
def lvm(runs_file: RunsFile, recorded_runs: Path) -> Invoke:
    """Runs `lvm-tui --config <the test's file> ARGUMENTS` on a run that missed and a baseline that passed."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config", runs_file.path, *arguments])

    return invoke


def listed(lvm: Invoke, *arguments: str) -> list[str]:
    record = msgspec.json.decode(lvm("status", "--json", *arguments).stdout)
    return [run["id"] for run in record["runs"]]


def test_status_lists_what_the_filter_finds(lvm: Invoke) -> None:
    assert listed(lvm, "--filter", "gate:missed loss.temperature<=0.07") == ["mamba_s-0001"]
    assert listed(lvm, "--filter", "model:amn | id:0001") == ["mamba_s-0001", "amn-0002"]
    assert lvm("status", "--filter", "status:running").stdout == "no run is found by this\n"


def test_a_filter_that_means_nothing_is_one_line_with_the_nearest_key(lvm: Invoke) -> None:
    result = lvm("status", "--filter", "gat:missed")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == 'error: "gat:missed": no field is called "gat". Did you mean "gate"?\n'


def test_a_note_is_written_shown_found_and_taken_away(lvm: Invoke) -> None:
    assert lvm("note", "1", "too hot,\x1b[2J #keep").stdout == "too hot, #keep\n"
    assert lvm("note", "mamba_s-0001").stdout == "too hot, #keep\n"
    assert listed(lvm, "--filter", "tag:keep") == ["mamba_s-0001"]
    record = msgspec.json.decode(lvm("status", "--json").stdout)["runs"][0]
    assert (record["note"], record["tags"]) == ("too hot, #keep", ["keep"])
    assert "too hot, #keep" in lvm("status").stdout
    assert lvm("note", "1", "").exit_code == 0
    assert listed(lvm, "--filter", "note:") == []


def test_archived_runs_are_left_out_and_said_to_be_until_they_are_asked_for(lvm: Invoke) -> None:
    assert lvm("archive", "1", "2").exit_code == 0
    assert listed(lvm) == []
    assert lvm("status").stderr == "2 archived, left out: lvm-tui status --filter is:archived\n"
    assert listed(lvm, "--filter", "is:archived") == ["mamba_s-0001", "amn-0002"]
    assert lvm("archive", "--undo", "2").exit_code == 0
    assert listed(lvm) == ["amn-0002"]


def test_one_wrong_name_archives_nothing(lvm: Invoke) -> None:
    result = lvm("archive", "1", "77")
    assert result.exit_code == 2
    assert 'there is no run "77"' in result.stderr
    assert len(listed(lvm)) == 2


def test_a_run_that_trains_is_not_archived(lvm: Invoke, runs_file: RunsFile) -> None:
    spec = make_spec("mamba_s", 3)
    run = write_run(runs_file.runs_dir, spec, run_events(spec, MAMBA_HISTORY[:1]))
    held = take_lock(run.lock_file)
    assert held is not None
    result = lvm("archive", "3")
    assert result.exit_code == 2
    assert "it can be archived once it has ended" in result.stderr
    assert not run.archived_file.exists()


@pytest.mark.parametrize("arguments", [("note", "1", "x"), ("archive", "1"), ("archive", "--undo", "1")])
def test_read_only_writes_nothing_on_a_run(lvm: Invoke, recorded_runs: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(recorded_runs.rglob("*"))
    result = lvm("--readonly", *arguments)
    assert result.exit_code == 2
    assert "read-only" in result.stderr
    assert sorted(recorded_runs.rglob("*")) == before


def test_compare_tells_the_verdict_the_numbers_and_the_settings(lvm: Invoke) -> None:
    result = lvm("compare", "1", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "AMN passes, the model misses: the model or its objective, not the data."
    assert any(line.split() == ["val_cosine@4", "0.381", "-0.200", "0.581"] for line in lines)
    assert any(line.split() == ["model.kind", "mamba_s", "amn"] for line in lines)
    assert not any(line.startswith("loss.temperature") for line in lines)
    assert "loss.temperature" in lvm("compare", "1", "2", "--all-settings").stdout


def test_compare_as_json_is_the_same_in_numbers(lvm: Invoke) -> None:
    record = msgspec.json.decode(lvm("compare", "1", "--reference", "2", "--json").stdout)
    assert (record["schema"], record["runs"], record["reference"]) == (1, ["mamba_s-0001", "amn-0002"], "amn-0002")
    row = next(row for row in record["rows"] if row["label"] == "best val_cosine")
    assert row["numbers"] == [0.413, 0.581]
    assert row["differences"] == [pytest.approx(-0.168), None]
    assert next(row for row in record["rows"] if row["label"] == "val_cosine")["differences"] == [None, None]
    assert [one["key"] for one in record["settings"] if one["differs"]] == ["model.kind", "model.layers"]


@pytest.mark.parametrize("arguments", [("1",), ("1", "1"), ("1", "mamba_s-0001", "--reference", "1")])
def test_compare_wants_two_runs(lvm: Invoke, arguments: tuple[str, ...]) -> None:
    result = lvm("compare", *arguments)
    assert result.exit_code == 2
    assert "name two runs or more" in result.stderr
