"""The room over runs that wait with a scheduler: why, until when, and how they are called off, at 80x24."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from recorded import RUNS_TOML, missed_mamba
from test_room import SIZES, notices, open_app, until
from textual.pilot import Pilot
from textual.widgets import Button

from engine.run.directory import RunDirectory, list_runs
from engine.run.launch import read_launch
from engine.run.runs_file import RunsFile, load_runs
from engine.run.state import Status
from tui.app import RoomApp
from tui.panes.decision_tree import DecisionTreePane
from tui.panes.runs_table import RunsTable
from tui.panes.status_strip import StatusStrip
from tui.screens.confirm import ConfirmScreen
from tui.screens.plan import PlanScreen
from tui.widgets.steady_text import SteadyText

TABLE = '[launcher.lab]\nkind = "slurm"\npartition = "gpu"\npoll_s = 1\n'


@pytest.fixture
def slurm_file(tmp_path: Path) -> RunsFile:
    path = tmp_path / "runs.toml"
    path.write_text(RUNS_TOML.replace("[run.mamba_s]", '[run.mamba_s]\nlauncher = "lab"') + TABLE)
    return load_runs(path)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    made = FakeSlurm(tmp_path, monkeypatch)
    made("sbatch", "echo 12")
    return made


def strip(app: RoomApp) -> str:
    return str(app.screen.query_one(StatusStrip).render())


def name_of(run: RunDirectory) -> str:
    launch = read_launch(run.path)
    assert launch is not None
    return launch.nonce


async def run_of_t(pilot: Pilot[None], file: RunsFile) -> RunDirectory:
    """The run that T makes."""
    await pilot.press("T")
    await until(pilot, lambda: list_runs(file.runs_dir), "the run")
    (run,) = list_runs(file.runs_dir)
    return run


async def test_a_job_that_waits_says_why_and_until_when_and_is_called_off_with_k(
    slurm_file: RunsFile, fake: FakeSlurm
) -> None:
    app = open_app(slurm_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        run = await run_of_t(pilot, slurm_file)
        await until(pilot, lambda: "SUBMITTED" in strip(app) or "UNKNOWN" in strip(app), "what is on disk")
        fake.says(name_of(run), "12", starts="2031-03-04T05:06:07")
        await until(pilot, lambda: "PENDING Resources, starts 04 Mar" in strip(app), "the scheduler's word")
        assert "[lab]" in strip(app)
        assert len(strip(app)) <= 78
        await pilot.press("1")
        await until(pilot, lambda: "PENDING" in _table(app), "the list")
        assert "Resources" in _table(app)
        assert app.scene is not None
        assert "is running already" in app.scene.reasons["start"]
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        app.screen.query(Button).last().press()
        await until(pilot, lambda: any("is called off" in notice for notice in notices(app)), "word of it")
        assert fake.calls("scancel") == ["scancel 12"]
        view = app.watcher.views[run.id]
        await until(pilot, lambda: view.status is Status.STOPPED, "the end")
        assert view.reason == "never began: job 12 was cancelled while it waited"


async def test_a_scheduler_that_does_not_answer_leaves_the_run_unknown(slurm_file: RunsFile, fake: FakeSlurm) -> None:
    fake("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    app = open_app(slurm_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: "UNKNOWN job 12: squeue: Unable to contact" in strip(app), "its word")
        assert app.scene is not None
        assert "is unknown" in app.scene.reasons["resume"]


async def test_k_says_at_once_that_a_run_is_being_ended_though_its_scheduler_takes_its_time(
    slurm_file: RunsFile, fake: FakeSlurm, tmp_path: Path
) -> None:
    app = open_app(slurm_file)
    async with app.run_test(size=SIZES["small"]) as pilot:
        run = await run_of_t(pilot, slurm_file)
        fake.says(name_of(run), "12")
        await until(pilot, lambda: "PENDING" in strip(app), "the scheduler's word")
        answer = f"echo '12|{name_of(run)}|PENDING|77|N/A|N/A||(Resources)'"
        fake("squeue", f"while [ ! -e {tmp_path}/answers ]; do sleep 0.02; done; {answer}")
        await pilot.press("K", "y")
        await until(pilot, lambda: f"{run.id} is being called off; lab is asked" in notices(app), "word at once")
        assert fake.calls("scancel") == []
        assert f"{run.id} is called off" not in notices(app)
        (tmp_path / "answers").touch()
        await until(pilot, lambda: f"{run.id} is called off" in notices(app), "the end of it")
        assert fake.calls("scancel") == ["scancel 12"]


WORDY = (
    "echo 'squeue: error: slurm_persist_conn_open_without_init: failed to open persistent connection' >&2\n"
    "echo 'squeue: error: Sending PersistInit msg: Connection refused' >&2\n"
    "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
)


@pytest.mark.parametrize("size", ["small", "wide"])
async def test_a_wordy_scheduler_is_cut_short_in_the_strip_and_heard_out_in_the_tree(
    slurm_file: RunsFile, fake: FakeSlurm, size: str
) -> None:
    fake("squeue", WORDY)
    app = open_app(slurm_file)
    async with app.run_test(size=SIZES[size]) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: "job 12: squeue: Unable to contact slurm" in strip(app), "its word")
        assert "persist" not in strip(app)
        assert strip(app).endswith("[lab]")
        assert len(strip(app)) <= min(SIZES[size][0] - 2, 110)
        await pilot.press("4")
        await pilot.pause()
        told = app.screen.query_one(DecisionTreePane).query_one("#position", SteadyText).content.plain
        assert "Unable to contact slurm controller (connect failure); slurm_persist_conn" in told
        assert "Sending PersistInit msg: Connection refused" in told


async def test_the_plan_of_a_restart_says_the_command_that_hands_it_over(slurm_file: RunsFile, fake: FakeSlurm) -> None:
    run = missed_mamba(slurm_file.runs_dir)
    run.spec_file.write_text(run.spec_file.read_text().replace('"launcher":"local"', '"launcher":"lab"', 1))
    app = open_app(slurm_file)
    async with app.run_test(size=SIZES["working"]) as pilot:
        await pilot.pause()
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen), "the plan")
        shown = "\n".join(str(widget.render()) for widget in app.screen.query("Static"))
        assert "as a job of [launcher.lab]: sbatch --parsable --job-name=NAME --chdir=RUN_DIR" in shown
        assert "--partition=gpu" in shown
    assert fake.calls("sbatch") == [], "a plan does nothing"


def _table(app: RoomApp) -> str:
    table = app.screen.query_one(RunsTable)
    return "\n".join(str(cell) for row in range(table.row_count) for cell in table.get_row_at(row))
