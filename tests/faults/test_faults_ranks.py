"""Trainings in two real ranks: one dies, hangs, or loses the process that started it; and all of them end cleanly."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from fault_runs import Figure, Folder, exit_of, kill_wrapper, processes_of, state_of, status_of, times, wait_ended
from processes import wait_until

from engine.run.directory import RunDirectory, take_lock
from engine.run.events import RunFailed, RunStopped
from engine.run.process import Identity, identify, is_alive, send
from engine.run.state import Status
from tests.reference.rank_programs import run_ranks
from tests.reference.small_training import make_spec

ENGINE = [sys.executable, "-P", "-m", "engine", "train", "--run-dir"]
SIGNALS = {"kill -9": signal.SIGKILL, "segmentation fault": signal.SIGSEGV}
KILLED = [(rank, name) for name in SIGNALS for rank in (0, 1)]
TIMEOUT_S = 3.0
ELASTIC_S = 30.0
"""How long PyTorch's launcher waits from TERM to KILL of ranks that a failed one leaves behind."""


@pytest.fixture
def start(folder: Folder, tmp_path: Path) -> Iterator[Folder]:
    """The folder, for trainings that would go on for ever; ranks that still run at the end are killed."""
    yield folder
    for place in tmp_path.glob("**/spec.json"):
        for rank in ranks_of(RunDirectory(place.parent)).values():
            send(rank, signal.SIGKILL)


def launch(folder: Folder, name: str, **patch: float) -> RunDirectory:
    """A run of two ranks behind a real wrapper, a few steps on its way."""
    run = RunDirectory(folder.path / name)
    run.path.mkdir(mode=0o700, parents=True)
    spec = make_spec(run.path, epochs=1_000_000, checkpoint__patience=0, nproc=2, **patch)
    spec = msgspec.structs.replace(spec, argv=[*ENGINE, str(run.path)], resume_argv=["--resume"])
    run.spec_file.write_bytes(msgspec.json.encode(spec))
    started = folder.start(run)
    assert started.returncode == 0, started.stderr
    wait_for_steps(run, 5)
    return run


def wait_for_steps(run: RunDirectory, count: int) -> None:
    def has_trained() -> bool:
        step = state_of(run).last_step
        return step is not None and step.step >= count

    wait_until(has_trained, timeout_s=120)


def ranks_of(run: RunDirectory) -> dict[int, Identity]:
    """The run's ranks that are alive, by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            settings = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        known = identify(int(process.name))
        if known and b"engine.verbs.rank" in command and os.fsencode(run.path) in command:
            found[next(int(setting[5:]) for setting in settings if setting.startswith(b"RANK="))] = known
    return found


def assert_over(run: RunDirectory, ranks: dict[int, Identity]) -> None:
    """No rank is left, the exit is written, and the lock can be taken."""
    assert not any(map(is_alive, ranks.values()))
    assert not ranks_of(run)
    assert run.read_life().exit is not None
    lock = take_lock(run.lock_file)
    assert lock is not None
    os.close(lock)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
@pytest.mark.faults(39)
@pytest.mark.parametrize(("rank", "name"), KILLED[: times(4, 1)] + KILLED[times(4, 3) :])
def test_a_rank_that_dies_is_named_with_its_signal(start: Folder, figure: Figure, rank: int, name: str) -> None:
    run = launch(start, f"small-000{rank}")
    ranks, began = ranks_of(run), time.monotonic()
    assert sorted(ranks) == [0, 1]
    assert send(ranks[rank], SIGNALS[name])
    wait_ended(run)
    took = time.monotonic() - began
    assert exit_of(run).code == 128 + SIGNALS[name]
    status, reason = status_of(run)
    words = f"rank {rank} was killed by {SIGNALS[name].name}"
    assert status is Status.FAILED
    assert words in reason
    ending = state_of(run).ending
    assert isinstance(ending, RunFailed)
    assert words in ending.message
    assert_over(run, ranks)
    figure(f"{words}: said after {took:.0f} s")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
@pytest.mark.faults(39)
@pytest.mark.parametrize("rank", range(times(2, 1)))
def test_a_rank_that_hangs_is_named_and_ended(start: Folder, figure: Figure, rank: int) -> None:
    run = launch(start, "small-0001", rank_timeout_s=TIMEOUT_S)
    ranks, began = ranks_of(run), time.monotonic()
    assert send(ranks[rank], signal.SIGSTOP)
    wait_ended(run, timeout_s=ELASTIC_S + 60)
    took = time.monotonic() - began
    assert exit_of(run).code == 2
    assert f"rank {rank} did not come to" in status_of(run)[1]
    assert f"within {TIMEOUT_S:g} s (rank_timeout_s)" in status_of(run)[1]
    assert_over(run, ranks)
    figure(f"a hung rank {rank} named after a timeout of {TIMEOUT_S:g} s, all over after {took:.0f} s")


@pytest.mark.skipif(sys.platform != "linux", reason="ranks die with their parent where the kernel sees to it")
@pytest.mark.faults(39)
def test_ranks_do_not_outlive_the_process_that_started_them(start: Folder, figure: Figure) -> None:
    run = launch(start, "small-0001")
    ranks = ranks_of(run)
    assert send(processes_of(run).engine, signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: not any(map(is_alive, ranks.values())))
    took = time.monotonic() - began
    wait_ended(run)
    assert exit_of(run).code == 137
    assert_over(run, ranks)
    assert start.start(run).returncode == 0, "it can be gone on with"
    wait_for_steps(run, (state_of(run).last_step or pytest.fail("no step")).step + 3)
    resumed = ranks_of(run)
    kill_wrapper(run)  # and the ranks go on, as an engine does
    assert sorted(resumed) == [0, 1]
    assert all(map(is_alive, resumed.values()))
    assert send(processes_of(run).engine, signal.SIGTERM)
    wait_ended(run, timeout_s=60)
    assert isinstance(state_of(run).ending, RunStopped)
    assert not ranks_of(run)
    figure(f"parent killed: ranks gone after {took * 1000:.0f} ms, resumed, then stopped by TERM with a checkpoint")


@pytest.mark.faults(39)
def test_ranks_end_cleanly_every_time(tmp_path: Path, figure: Figure) -> None:
    count = 20
    run_ranks("tests.reference.rank_end", 2, *(str(tmp_path / f"meeting-{number}") for number in range(count)))
    figure(f"{count} clean ends of {count}")
