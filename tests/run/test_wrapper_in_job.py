"""The wrapper within a scheduler's job: in the foreground, once, and only as the job that is wanted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import FAKE_ENGINE, end, wait_until

from engine.run.directory import RunDirectory, is_locked
from engine.run.launch import Launch, write_launch
from engine.run.wrapper import srun_argv, why_unwanted

LAUNCH = Launch(launcher="lab", kind="slurm", nonce="lvm-1", attempt=1, asked=0.0)
CODE = "import time; time.sleep(600)"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunDirectory]:
    monkeypatch.setenv("LVM_GRACE_S", "0.3")
    made = RunDirectory(tmp_path / "mamba_s-0001")
    made.path.mkdir()
    argv = [sys.executable, str(FAKE_ENGINE), "train", "--run-dir", str(made.path), "--epochs", "2"]
    made.spec_file.write_text(json.dumps({"argv": argv, "resume_argv": ["--resume"], "env": {}}))
    write_launch(made.path, LAUNCH)
    yield made
    end(made)


def wrap(run: RunDirectory, nonce: str = "lvm-1") -> list[str]:
    return [sys.executable, "-P", "-m", "engine.run.wrapper", "--in-job", nonce, str(run.path)]


def told(run: RunDirectory, nonce: str = "lvm-1") -> tuple[int, str]:
    done = subprocess.run(wrap(run, nonce), capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


def test_it_stays_until_the_engine_has_ended_and_passes_its_code_on(run: RunDirectory) -> None:
    spec = json.loads(run.spec_file.read_text())
    run.spec_file.write_text(json.dumps(spec | {"argv": [*spec["argv"], "--exit-code", "3"]}))
    assert told(run) == (3, "")
    ended = run.read_life().exit
    assert ended is not None
    assert ended.code == 3
    assert (run.path / "heartbeat").exists()
    assert not is_locked(run.lock_file)


def test_of_one_name_one_job_begins(run: RunDirectory) -> None:
    assert told(run)[0] == 0
    code, why = told(run)
    assert code == 2
    assert "a job of the same name has begun before" in why


def test_a_job_that_is_not_the_one_that_is_wanted_does_not_begin(run: RunDirectory) -> None:
    code, why = told(run, "lvm-0")
    assert code == 2
    assert "the job that is wanted now is lvm-1, not lvm-0" in why
    assert not run.processes_file.exists()


def test_a_job_that_was_called_off_does_not_begin(run: RunDirectory) -> None:
    write_launch(run.path, Launch(**{**_fields(), "ended": "cancelled"}))
    code, why = told(run)
    assert code == 2
    assert "its job was called off (cancelled)" in why
    assert not run.processes_file.exists()


def test_a_folder_that_is_away_for_a_moment_ends_nothing(run: RunDirectory) -> None:
    (run.path / "launch.json").unlink()
    assert why_unwanted(run.path, "lvm-1") == ""
    (run.path / "launch.json").write_text("{")
    assert why_unwanted(run.path, "lvm-1") == ""


def test_term_reaches_the_engine_and_kill_follows(run: RunDirectory) -> None:
    run.spec_file.write_text(json.dumps({"argv": [sys.executable, "-c", CODE], "resume_argv": [], "env": {}}))
    with subprocess.Popen(wrap(run)) as wrapper:
        wait_until(lambda: run.read_life().processes is not None)
        processes = run.read_life().processes
        assert processes is not None
        assert processes.wrapper_pid == wrapper.pid, "it has not gone to the background"
        os.kill(wrapper.pid, signal.SIGTERM)
        assert wrapper.wait(30) == 143
    ended = run.read_life().exit
    assert ended is not None
    assert (ended.kind, ended.code) == ("signal", 143)


def test_an_engine_that_cannot_be_executed_is_written_down(run: RunDirectory) -> None:
    run.spec_file.write_text(json.dumps({"argv": ["/no/such/engine"], "resume_argv": [], "env": {}}))
    assert told(run)[0] == 127
    ended = run.read_life().exit
    assert ended is not None
    assert ended.kind == "never_started"


def test_several_nodes_are_started_by_srun_once_each() -> None:
    assert srun_argv(1) == []
    assert srun_argv(2)[:2] == ["srun", "--nodes=2"]
    assert "--ntasks-per-node=1" in srun_argv(2)


def _fields() -> dict[str, object]:
    return {name: getattr(LAUNCH, name) for name in LAUNCH.__struct_fields__}
