"""`lvm-tui probe`: waits, prints the table, and ends with what it found as its exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from recorded import missed_mamba

from engine.run.directory import RunDirectory
from engine.run.runs_file import RunsFile
from tui.cli import main
from tui.control.actions import Actions
from tui.control.probe.plan import ProbeIntent
from tui.control.probe.record import ProbeReport, Row, Trial, Try, probe_file, probe_folder, write_json

Invoke = Callable[..., Result]


def report(*, fix: int = 6, state: str = "done") -> ProbeReport:
    base = Row(tried=Try(number=0, title="as it is"), trials=[Trial(seed=0, state="done")], gate=0.3, r5=0.02)
    best = Row(
        tried=Try(number=6, title="Contrast", patch={"loss.contrast_space": "target"}),
        trials=[Trial(seed=0, state="done")],
        gate=0.38,
        gate_gain=0.08,
        r5=0.15,
        r5_gain=0.13,
        verdict="helps",
        rank=1,
    )
    return ProbeReport(
        run="mamba_s-0001",
        metric="val_cosine",
        epoch=2,
        bar=0.5,
        state=state,  # type: ignore[arg-type]
        rows=[base, best],
        fix=fix,
        recommendation=["fix 6, Contrast: \x1b[31mR@5 +0.130"] if fix else ["no try helps"],
    )


@pytest.fixture
def lvm(runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs `lvm-tui` on a folder with one run, whose probe ends at once with the report that was set."""
    run = missed_mamba(runs_file.runs_dir)

    def probe(_actions: Actions, intent: ProbeIntent) -> object:
        folder = run.evals / "probe.job"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "exit.json").write_bytes(b'{"code": 0, "kind": "exited"}')
        return RunDirectory(folder)

    monkeypatch.setattr(Actions, "probe", probe)

    def invoke(found: ProbeReport | None, *options: str) -> Result:
        probe_folder(run).mkdir(exist_ok=True)
        if found is not None:
            write_json(probe_file(run), found)
        return CliRunner().invoke(main, ["--config", runs_file.path, *options, "probe", "1"])

    return invoke


def test_a_recommendation_is_exit_code_0_and_its_text_is_safe(lvm: Invoke) -> None:
    done = lvm(report())
    assert done.exit_code == 0, done.output
    assert "helps          6 loss.contrast_space = target" in done.stdout
    assert "fix 6, Contrast: R@5 +0.130" in done.stdout
    assert "\x1b" not in done.stdout
    assert "lvm-tui triage mamba_s-0001 --fix 6" in done.stdout


def test_no_fix_that_helps_is_exit_code_1(lvm: Invoke) -> None:
    done = lvm(report(fix=0))
    assert done.exit_code == 1
    assert "no try helps" in done.stdout


def test_a_probe_that_ended_before_its_time_could_not(lvm: Invoke) -> None:
    done = lvm(report(fix=0, state="stopped"))
    assert done.exit_code == 2
    assert "ended before its time; the same command goes on with it" in done.stderr


def test_readonly_refuses(lvm: Invoke) -> None:
    done = lvm(report(), "--readonly")
    assert done.exit_code == 2
    assert done.stderr == "error: read-only: no action can be taken\n"


def test_a_missing_report_is_one_line(lvm: Invoke) -> None:
    done = lvm(None)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_json_is_the_report(runs_file: RunsFile, lvm: Invoke) -> None:
    assert lvm(report()).exit_code == 0
    done = CliRunner().invoke(main, ["--config", str(Path(runs_file.path)), "probe", "1", "--json"])
    assert msgspec.json.decode(done.stdout, type=ProbeReport).fix == 6
