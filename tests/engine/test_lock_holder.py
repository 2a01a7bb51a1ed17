"""On several nodes srun starts the engine, which cannot inherit the lock: its job's wrapper holds it in its stead."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.run.convert import ConfigError
from engine.run.directory import Processes, RunDirectory, is_locked, take_lock
from engine.run.launch import Launch, write_launch
from engine.run.process import boot_id, identify
from engine.run.wrapper import LOCK_HOLDER_VARIABLE
from engine.verbs.train import _hold_lock


@pytest.fixture
def held(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run whose lock this process holds, as the wrapper of the job `lvm-1` would."""
    run = RunDirectory(tmp_path / "wide-0001")
    run.path.mkdir()
    this = identify(os.getpid())
    assert this is not None
    record = Processes(
        boot_id=boot_id(),
        host=socket.gethostname(),
        started="",
        wrapper_pid=this.pid,
        wrapper_ticks=this.start_ticks,
    )
    run.processes_file.write_bytes(msgspec.json.encode(record))
    write_launch(run.path, Launch(launcher="lab", kind="slurm", nonce="lvm-1", attempt=1, asked=0.0))
    lock = take_lock(run.lock_file)
    assert lock is not None
    yield run
    os.close(lock)


def test_the_engine_of_that_job_goes_on(held: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCK_HOLDER_VARIABLE, "lvm-1")
    os.close(_hold_lock(held))
    assert is_locked(held.lock_file), "what it was given is not the lock: that stays with the wrapper"


@pytest.mark.parametrize("job", ["", "lvm-0"])
def test_any_other_is_refused(held: RunDirectory, monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    monkeypatch.setenv(LOCK_HOLDER_VARIABLE, job)
    with pytest.raises(ConfigError, match="being trained already"):
        _hold_lock(held)


def test_a_holder_that_is_gone_holds_nothing(held: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCK_HOLDER_VARIABLE, "lvm-1")
    record = msgspec.json.decode(held.processes_file.read_bytes())
    held.processes_file.write_bytes(msgspec.json.encode(record | {"wrapper_ticks": "1"}))
    with pytest.raises(ConfigError, match="being trained already"):
        _hold_lock(held)
