"""`lvm-engine train` in several ranks: on one node, and once on each of several, as a job step of Slurm starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.run.directory import RunDirectory, is_locked
from engine.run.event_file import read_events
from engine.run.events import RunFailed, RunFinished, RunStarted, RunStopped
from engine.run.state import fold
from engine.training import rank_launch
from engine.training.rank_launch import RanksEnded
from tests.reference.small_training import make_run

TRAIN = [sys.executable, "-P", "-m", "engine", "train", "--run-dir"]
STEP = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "localhost"}


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def last_losses(run: RunDirectory) -> list[float | None]:
    return [row.train_loss for row in run.read_history()]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[RanksEnded]:
    """Ranks are not started but end at once, as the list's last one says."""
    how = [RanksEnded(0, "")]
    monkeypatch.setattr(rank_launch, "launch_ranks", lambda *_: how[-1])
    return how


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nproc", "3"], "batch_size 8 cannot be shared by nproc * nodes = 3 ranks; 6 or 9 could"),
        (["--nproc", "0"], '"nproc" expected `int` >= 1'),
    ],
)
def test_a_number_of_ranks_that_does_not_do_is_refused(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    run = make_run(tmp_path / "small-0001")
    result = invoke("--run-dir", run.path, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert not run.events_file.exists()


def test_several_nodes_without_slurm_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    run = make_run(tmp_path / "small-0001", nodes=2)
    result = invoke("--run-dir", run.path)
    assert result.exit_code == 2
    assert "srun --nodes=2" in result.stderr


def test_why_ranks_ended_is_recorded_and_their_code_is_the_engines(tmp_path: Path, ended: list[RanksEnded]) -> None:
    run = make_run(tmp_path / "small-0001", nproc=2)
    ended.append(RanksEnded(139, "rank 1 was killed by SIGSEGV."))
    assert invoke("--run-dir", run.path).exit_code == 139
    ending = fold(read_events(run.events_file)).ending
    assert isinstance(ending, RunFailed)
    assert ending.message == "rank 1 was killed by SIGSEGV. Go on with --resume."
    assert not is_locked(run.lock_file)


def test_ranks_that_end_without_a_word_have_not_finished(tmp_path: Path, ended: list[RanksEnded]) -> None:
    run = make_run(tmp_path / "small-0001", nproc=2)
    assert len(ended) == 1
    assert invoke("--run-dir", run.path).exit_code == 2
    assert isinstance(fold(read_events(run.events_file)).ending, RunFailed)


@pytest.mark.usefixtures("ended")
def test_a_node_that_is_not_the_first_neither_locks_nor_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (STEP | {"SLURM_NODEID": "1"}).items():
        monkeypatch.setenv(name, value)
    run = make_run(tmp_path / "small-0001", nodes=2)
    assert invoke("--run-dir", run.path).exit_code == 0
    assert sorted(path.name for path in run.path.iterdir()) == ["spec.json"]


@pytest.mark.slow
def test_ranks_stop_when_asked_and_one_process_goes_on(tmp_path: Path) -> None:
    straight, run = make_run(tmp_path / "a" / "small-0001"), make_run(tmp_path / "b" / "small-0001", nproc=2)
    assert invoke("--run-dir", straight.path).exit_code == 0
    process = subprocess.Popen([*TRAIN, run.path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "[PREFLIGHT] data_unchanged" in line:
            process.send_signal(signal.SIGTERM)  # while ranks are on their way or about to be
            break
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0, rest
    assert "stopped as asked" in rest
    assert isinstance(read_events(run.events_file)[-1], RunStopped)
    assert invoke("--run-dir", run.path, "--resume", "--nproc", "1").exit_code == 0
    assert last_losses(run) == pytest.approx(last_losses(straight), rel=1e-5)
    starts = [event for event in read_events(run.events_file) if isinstance(event, RunStarted)]
    assert [start.ranks for start in starts] == [2, 1]


@pytest.mark.slow
def test_nodes_that_are_started_once_each_train_together(tmp_path: Path) -> None:
    straight, run = make_run(tmp_path / "a" / "small-0001"), make_run(tmp_path / "b" / "small-0001", nodes=2)
    assert invoke("--run-dir", straight.path).exit_code == 0
    step = os.environ | STEP | {"GLOO_SOCKET_IFNAME": "lo"}
    nodes = [
        subprocess.Popen(
            [*TRAIN, run.path], env=step | {"SLURM_NODEID": node}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for node in "01"
    ]
    said = [node.communicate(timeout=200)[0].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)
    events = read_events(run.events_file)
    assert isinstance(events[-1], RunFinished)
    assert [event.ranks for event in events if isinstance(event, RunStarted)] == [2]
    assert last_losses(run) == pytest.approx(last_losses(straight), rel=1e-5)


def listens_at(process: subprocess.Popen[str]) -> dict[int, set[str]]:
    """Addresses at which each process of a training is listening, by its pid."""
    found = {}
    for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            sockets = one.net_connections(kind="inet")
            found[one.pid] = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.slow
def test_ranks_of_one_node_can_be_reached_from_no_other_machine(tmp_path: Path) -> None:
    """The launcher's own store unpickles what it is sent: whoever reached it would act as this user."""
    run = make_run(tmp_path / "small-0001", nproc=2, epochs=200)
    process = subprocess.Popen([*TRAIN, run.path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen: dict[int, set[str]] = {}
    try:
        for line in process.stdout:
            seen |= listens_at(process)
            if "epoch 2/" in line:
                break
        seen |= listens_at(process)
        assert len(seen) >= 3, "the parent and two ranks"
        assert any(seen.values()), "ranks that exchange something listen somewhere"
        assert {address for addresses in seen.values() for address in addresses} <= {"127.0.0.1", "::1"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.stdout.close()
        assert process.wait(60) == 0
