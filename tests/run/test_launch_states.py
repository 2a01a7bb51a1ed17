"""What is said of a run that was handed to a scheduler: never dead while nothing says so."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from recorded import make_life, missed_mamba

from engine.run.directory import Life, RunDirectory
from engine.run.launch import JobSeen, Launch, read_launch, write_launch
from engine.run.state import SETTLE_S, RunState, Status, derive_status

NOW = 1_700_000_000.0
LAUNCH = Launch(launcher="lab", kind="slurm", nonce="lvm-a-0001-1-ab", attempt=1, asked=NOW - 100, job_id="12")


def submitted(job: JobSeen | None = None, **changes: object) -> Life:
    launch = msgspec.structs.replace(LAUNCH, **changes)
    return Life(lock_held=False, supervised=False, processes=None, exit=None, launch=launch, job=job)


def silent(job: JobSeen | None) -> Life:
    life = make_life(lock_held=False)
    return msgspec.structs.replace(life, launch=LAUNCH, job=job, silent_s=300.0)


def said(life: Life) -> tuple[Status, str]:
    return derive_status(RunState(), life, NOW, 120.0)


@pytest.mark.parametrize(
    ("life", "status", "reason"),
    [
        (submitted(), Status.SUBMITTED, "job 12"),
        (submitted(job_id="", asked=NOW - 1), Status.SUBMITTED, "on its way to the scheduler"),
        (submitted(JobSeen(), job_id="", asked=NOW - 1), Status.SUBMITTED, "on its way to the scheduler"),
        (submitted(JobSeen(state="PENDING", job_id="12", reason="Resources")), Status.PENDING, "Resources"),
        (submitted(JobSeen(state="PENDING", job_id="12")), Status.PENDING, "job 12"),
        (submitted(JobSeen(state="RUNNING", job_id="12", nodes="n1")), Status.STARTING, "job 12 begins"),
        (
            submitted(JobSeen(problem="squeue has not answered within 20 s")),
            Status.UNKNOWN,
            "job 12: squeue has not answered within 20 s",
        ),
        (submitted(JobSeen()), Status.UNKNOWN, "the scheduler knows no job 12, which has not begun"),
        (
            submitted(JobSeen(), job_id=""),
            Status.UNKNOWN,
            "the scheduler knows no job lvm-a-0001-1-ab, which has not begun",
        ),
        (
            submitted(JobSeen(state="CANCELLED", job_id="12", ended=NOW)),
            Status.STOPPED,
            "never began: job 12 cancelled",
        ),
        (
            submitted(JobSeen(state="FAILED", job_id="12", nodes="n1", ended=NOW - 1)),
            Status.STARTING,
            "job 12 failed, says the scheduler; the run's folder says nothing yet",
        ),
        (
            submitted(JobSeen(state="NODE_FAIL", job_id="12", nodes="n1", ended=NOW - SETTLE_S)),
            Status.FAILED,
            "never began: job 12 node fail",
        ),
        (submitted(ended="cancelled", why="job 12 was cancelled"), Status.STOPPED, "never began: job 12 was cancelled"),
        (submitted(ended="refused", why="sbatch: no"), Status.FAILED, "never began: sbatch: no"),
        (submitted(ended="given_up", why="gone"), Status.LOST, "never began: gone"),
        (silent(None), Status.UNKNOWN, "recorded is silent for 300 s; job 12: not asked for yet"),
        (silent(JobSeen(problem="down")), Status.UNKNOWN, "recorded is silent for 300 s; job 12: down"),
        (silent(JobSeen()), Status.UNKNOWN, "recorded is silent for 300 s; the scheduler knows no job 12"),
        (
            silent(JobSeen(state="RUNNING", job_id="12")),
            Status.STALLED,
            "recorded is silent for 300 s; job 12 runs, says the scheduler",
        ),
        (
            silent(JobSeen(state="NODE_FAIL", job_id="12")),
            Status.LOST,
            "lost: job 12 node fail; recorded is silent for 300 s",
        ),
    ],
)
def test_what_is_known_is_said_and_no_more(life: Life, status: Status, reason: str) -> None:
    assert said(life) == (status, reason)


def test_when_it_is_expected_to_start_is_said_in_local_time() -> None:
    _, reason = said(submitted(JobSeen(state="PENDING", job_id="12", reason="Priority", starts=NOW)))
    assert reason == f"Priority, starts {time.strftime('%d %b %H:%M', time.localtime(NOW))}"


def test_a_job_that_waits_stands_before_how_the_attempt_before_it_ended() -> None:
    life = make_life(lock_held=False, ended=True)
    again = msgspec.structs.replace(LAUNCH, attempt=2)
    waits = msgspec.structs.replace(life, launch=again, job=JobSeen(state="PENDING", job_id="12", reason="Resources"))
    assert said(waits)[0] is Status.PENDING
    begun = msgspec.structs.replace(life, launch=LAUNCH, job=JobSeen())
    assert said(begun)[0] is Status.FINISHED, "exit.json speaks for the attempt that it was"


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunDirectory:
    """A run that another host runs, as its folder shows it here."""
    run = missed_mamba(tmp_path)
    run.exit_file.unlink(missing_ok=True)
    record = make_life().processes
    run.processes_file.write_bytes(msgspec.json.encode(record))
    write_launch(run.path, LAUNCH)
    (run.path / "heartbeat").touch()
    return run


def test_a_lock_that_is_free_here_says_nothing_of_another_host(elsewhere: RunDirectory) -> None:
    life = elsewhere.read_life()
    assert life.lock_held
    assert life.supervised
    assert not life.rebooted, "another host has another boot id"


def test_silence_is_not_death(elsewhere: RunDirectory) -> None:
    for file in elsewhere.path.iterdir():
        os.utime(file, (NOW, NOW))
    life = elsewhere.read_life()
    assert not life.lock_held
    assert life.is_silent
    assert life.is_busy
    assert not life.rebooted
    assert said(life)[0] is Status.UNKNOWN


def test_of_a_run_of_this_machine_the_lock_says_all(elsewhere: RunDirectory) -> None:
    (elsewhere.path / "launch.json").unlink()
    life = elsewhere.read_life()
    assert not life.is_busy
    assert life.rebooted


def test_a_launch_survives_the_disk_and_damage_is_none(tmp_path: Path) -> None:
    write_launch(tmp_path, LAUNCH)
    assert read_launch(tmp_path) == LAUNCH
    (tmp_path / "launch.json").write_bytes(b"{")
    assert read_launch(tmp_path) is None
