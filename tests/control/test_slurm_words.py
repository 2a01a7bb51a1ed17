"""Slurm by its command line: what squeue printed, the script that a shell reads, and programs that answer badly."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from fake_slurm import FakeSlurm
from hypothesis import given
from hypothesis import strategies as st
from processes import wait_until
from recorded import RUNS_TOML, missed_mamba

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, list_runs
from engine.run.launch import JobSeen, Launch, LauncherConfig, read_launch
from engine.run.runs_file import RunsFile, load_runs
from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.launching.protocol import LaunchError
from tui.control.launching.scheduler_watch import SchedulerWatch
from tui.control.launching.slurm import sbatch_argv
from tui.control.launching.slurm_job import carried, job_script, shell_script, submit_options, submitting
from tui.control.launching.slurm_queue import SilentError, list_jobs, parse_queue
from tui.control.report import status_record, status_table
from tui.control.watcher import Watcher

LISTING = """\
4|lvm-b|PENDING|4294901756|2026-11-25T17:49:33|2026-11-25T18:19:33||(Resources)
3|lvm-a|RUNNING|4294901757|2026-11-25T17:19:33|2026-11-25T17:49:33|localhost|localhost
5|lvm-c|CANCELLED|4294901755|2026-11-25T17:19:37|2026-11-25T17:19:37||
6|lvm-d|PENDING|1|N/A|N/A||(Nodes required for job are DOWN, DRAINED or reserved|for jobs in higher priority partitions)
"""
"""As squeue 22.05 printed it, but for the last line, whose words are from a larger cluster."""
TABLE = '[launcher.lab]\nkind = "slurm"\npoll_s = 1\n[run.waits]\nlauncher = "lab"\n'


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Programs in the place of Slurm's."""
    return FakeSlurm(tmp_path, monkeypatch)


@pytest.fixture
def room(tmp_path: Path) -> Actions:
    path = tmp_path / "runs.toml"
    path.write_text(RUNS_TOML + TABLE)
    file: RunsFile = load_runs(path)
    return Actions(file, file.runs_dir, "person")


def view_of(room: Actions, run: RunDirectory):
    watcher = Watcher(room.runs_dir, 120.0)
    watcher.catch_up()
    return watcher.views[run.id]


def test_what_squeue_prints_is_read() -> None:
    found = parse_queue(LISTING, ["lvm-a", "lvm-b", "lvm-c", "lvm-d"])
    assert found["lvm-a"] == JobSeen(state="RUNNING", job_id="3", priority="4294901757", nodes="localhost")
    waits = found["lvm-b"]
    assert (waits.state, waits.reason, waits.starts) == ("PENDING", "Resources", 1795628973.0)
    assert waits.is_waiting
    cancelled = found["lvm-c"]
    assert cancelled.has_ended
    assert cancelled.ended == 1795627177.0
    assert found["lvm-d"].reason.endswith("reserved|for jobs in higher priority partitions"), "bars of its own"
    assert found["lvm-d"].starts is None


def test_of_jobs_of_one_name_the_one_that_lives_counts() -> None:
    rows = ["7|n|FAILED|1|N/A|N/A||", "6|n|RUNNING|1|N/A|N/A|a|a", "8|n|COMPLETED|1|N/A|N/A|a|"]
    for order in (rows, rows[::-1]):
        assert parse_queue("\n".join(order), ["n"])["n"].job_id == "6"


@pytest.mark.parametrize("told", ["N/A", "", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "Unknown", "2026-13-01"])
def test_a_time_that_is_none_is_not_said(told: str) -> None:
    (seen,) = parse_queue(f"1|n|PENDING|1|{told}|N/A||(Priority)", ["n"]).values()
    assert seen.starts is None


def test_more_names_than_a_command_can_hold_list_every_job(fake: FakeSlurm) -> None:
    fake("squeue", "echo '1|lvm-3|RUNNING|1|N/A|N/A|a|a'")
    names = [f"lvm-{number}" for number in range(20_000)]
    assert list_jobs(names)["lvm-3"].state == "RUNNING"
    assert "--name" not in fake.calls("squeue")[0]


@given(st.text())
def test_no_listing_is_a_traceback(text: str) -> None:
    parse_queue(text, ["lvm-a"])
    parse_queue(f"1|lvm-a|{text}", ["lvm-a"])


def test_others_jobs_and_broken_lines_are_passed_over() -> None:
    assert parse_queue("slurm_load_jobs error\n1|lvm-a|RUNNING\n" + LISTING, ["other"]) == {}


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))), min_size=1))
def test_every_word_reaches_the_command_as_it_is(words: list[str]) -> None:
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdout.write(repr(sys.argv[1:]))", *words]
    script = shell_script(argv, {"KEY": words[0]})
    assert shlex.split(script.splitlines()[0], comments=True) == []
    parsed = shlex.split(script.partition("exec ")[2] if "exec " not in words[0] else script)
    assert parsed[-len(argv) :] == argv


@pytest.mark.parametrize("folder", ["/a b/it's", "/first\nsecond; rm -rf x", '/$(id)/`id`/"x"', "/-o/*?[a]~"])
def test_a_shell_reads_back_the_paths_that_were_meant(folder: str) -> None:
    launch = Launch(launcher="lab", kind="slurm", nonce="lvm-1", attempt=1, asked=0.0)
    script = job_script(launch, Path(folder), {"HOME": folder, "A": "'"})
    assert "exec " in script
    # the same script, with a program that tells what it was given in the place of the wrapper
    shown = 'python3 -c "import os, sys; print([os.environ[\\"HOME\\"], sys.argv[-1]])"'
    script = script.replace(f"exec {shlex.quote(sys.executable)} -P -m engine.run.wrapper", f"exec {shown}")
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr([folder, folder])


def test_a_job_asks_for_what_its_ranks_need_and_for_nothing_that_was_not_said() -> None:
    settings = LauncherConfig(kind="slurm", gpus=1, cpus=4, memory="16G", time="90", extra=["--constraint=a100"])
    options = submit_options(settings, name="lvm-1", folder=Path("/runs/a%j"), nproc=2, nodes=3)
    assert {"--gpus-per-node=2", "--cpus-per-task=8", "--nodes=3", "--ntasks-per-node=1", "--mem=16G"} <= set(options)
    assert {"--no-requeue", "--job-name=lvm-1", "--chdir=/runs/a%j", "--output=/runs/a%%j/slurm.log"} <= set(options)
    assert options[-1] == "--constraint=a100"
    plain = submit_options(LauncherConfig(kind="slurm"), name="n", folder=Path("/r"))
    assert not [option for option in plain if option.startswith(("--partition", "--gpus", "--mem", "--time"))]


def test_the_environment_is_chosen_never_taken_whole() -> None:
    there = {"PATH": "/bin", "HF_TOKEN": "secret", "SBATCH_PARTITION": "x", "WANDB_MODE": "off", "SLURM_CONF": "/c"}
    settings = LauncherConfig(kind="slurm", pass_env=["WANDB_MODE", "NOT_SET"])
    assert carried(settings, there) == {"PATH": "/bin", "WANDB_MODE": "off"}
    assert submitting(there) == {"PATH": "/bin", "SLURM_CONF": "/c", "LC_ALL": "C", "TZ": "UTC"}


def test_the_intent_is_on_disk_when_sbatch_is_asked(room: Actions, fake: FakeSlurm, tmp_path: Path) -> None:
    fake(
        "sbatch",
        f"cp {room.runs_dir}/waits-0001/launch.json {tmp_path}/then.json; cat > {tmp_path}/script; echo '12;lab'",
    )
    run = room.start("waits")
    launch = read_launch(run.path)
    assert launch is not None
    assert launch.job_id == "12"
    then = msgspec.json.decode((tmp_path / "then.json").read_bytes(), type=Launch)
    assert then == msgspec.structs.replace(launch, job_id="")
    (asked,) = fake.calls("sbatch")
    assert f"--job-name={launch.nonce}" in asked
    assert launch.nonce in (tmp_path / "script").read_text()


@pytest.mark.parametrize(
    ("script", "error", "status"),
    [
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", "invalid partition", Status.FAILED),
        ("echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)' >&2;"
         " exit 1", "connect failure", Status.FAILED),
        ("echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
         "whether Slurm took its job is not known", Status.SUBMITTED),
        ("kill -9 $$", "could not be started: sbatch: exit -9", Status.FAILED),
    ],
)  # fmt: skip
def test_a_submission_that_fails_is_told_as_far_as_it_is_known(
    room: Actions, fake: FakeSlurm, script: str, error: str, status: Status
) -> None:
    fake("sbatch", script)
    with pytest.raises(LaunchError, match=error.replace("(", r"\(")):
        room.start("waits")
    (run,) = list_runs(room.runs_dir)
    assert view_of(room, run).status is status


def test_a_lost_answer_is_looked_up_by_name_before_anything_is_asked_again(
    room: Actions, fake: FakeSlurm, tmp_path: Path
) -> None:
    fake("sbatch", "echo 'Socket timed out' >&2; exit 1")
    with pytest.raises(LaunchError):
        room.start("waits")
    (run,) = list_runs(room.runs_dir)
    launch = read_launch(run.path)
    assert launch is not None
    fake("squeue", f"echo '12|{launch.nonce}|PENDING|1|N/A|N/A||(Priority)'")
    room.check_resume(view_of(room, run))
    room.resume(run)
    assert len(fake.calls("sbatch")) == 1
    again = read_launch(run.path)
    assert again == msgspec.structs.replace(launch, job_id="12")
    with pytest.raises(LaunchError, match="is with Slurm already: job 12 is pending"):
        launcher.start(run.path)


@pytest.mark.parametrize(
    "script",
    [
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        "echo 'squeue: error: Munge encode failed: Failed to connect' >&2; exit 1",
        "echo 'squeue: fatal: Unable to process configuration file' >&2; exit 1",
        "kill -9 $$",
    ],
)
def test_a_scheduler_that_does_not_answer_says_nothing_of_jobs(room: Actions, fake: FakeSlurm, script: str) -> None:
    fake("sbatch", "echo 12")
    run = room.start("waits")
    fake("squeue", script)
    with pytest.raises(SilentError):
        list_jobs(["lvm-a"])
    view = view_of(room, run)
    assert view.status is Status.UNKNOWN
    assert view.reason.startswith("job 12: squeue: ")
    assert "error:" not in view.reason
    with pytest.raises(LaunchError, match="whether its job runs cannot be known"):
        room.start("waits", only_one=True)
    with pytest.raises(ConfigError):
        room.check_resume(view)


def test_a_machine_without_slurm_says_so(room: Actions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(LaunchError, match="sbatch is not installed here"):
        room.start("waits")


def test_one_question_for_any_number_and_none_before_its_time(fake: FakeSlurm, tmp_path: Path) -> None:
    watch = SchedulerWatch()
    launches = [Launch(launcher="lab", kind="slurm", nonce=f"lvm-{n}", attempt=1, asked=0.0) for n in range(200)]
    for _ in range(50):
        watch.ask(launches)
    wait_until(lambda: len(watch.heard) == 200)
    assert len(fake.calls("squeue")) == 1
    assert fake.calls("squeue")[0].count("lvm-") == 200


def test_who_asks_does_not_wait_for_the_answer(fake: FakeSlurm) -> None:
    fake("squeue", "sleep 2")
    watch, began = SchedulerWatch(), time.monotonic()
    watch.ask([Launch(launcher="lab", kind="slurm", nonce="lvm-1", attempt=1, asked=0.0)])
    assert time.monotonic() - began < 1.0
    assert any(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    wait_until(lambda: "lvm-1" in watch.heard)


def test_without_a_job_nobody_is_asked(fake: FakeSlurm, tmp_path: Path, recorded_runs: Path) -> None:
    watcher = Watcher(recorded_runs, 120.0)
    watcher.catch_up()
    watcher.poll()
    assert fake.calls("squeue") == []


def test_status_has_a_column_for_jobs_where_there_is_one(room: Actions, fake: FakeSlurm) -> None:
    fake("sbatch", "echo 12")
    missed_mamba(room.runs_dir, 1)
    run = room.start("waits")
    launch = read_launch(run.path)
    assert launch is not None
    fake("squeue", f"echo '12|{launch.nonce}|PENDING|77|N/A|N/A||(Resources)'")
    watcher = Watcher(room.runs_dir, 120.0)
    watcher.catch_up()
    views = list(watcher.views.values())
    local, queued = status_record(views)["runs"]
    assert (local["launcher"], local["job"]) == ("local", None)
    assert queued["launcher"] == "lab"
    assert queued["job"] == {
        "id": "12",
        "name": launch.nonce,
        "state": "PENDING",
        "reason": "Resources",
        "priority": "77",
        "starts": None,
        "nodes": "",
    }
    head, _, line = status_table(views)
    assert "JOB" in head.split()
    assert "lab 12 PENDING Resources" in line
    assert "JOB" not in status_table(views[:1])[0].split()
    fake("squeue", f"echo 'error: {'no route to the controller, ' * 20}' >&2; exit 1")
    watcher = Watcher(room.runs_dir, 120.0)
    watcher.catch_up()
    table = status_table(list(watcher.views.values()))
    assert "no route" in table[2]
    assert max(map(len, table)) < 160, "what a scheduler says does not push the other columns away"


def test_a_plan_says_the_command_that_will_be_run(room: Actions) -> None:
    (how,) = room.how_started(room.file.named("waits"))
    assert how.startswith("as a job of [launcher.lab]: sbatch --parsable --job-name=NAME --chdir=RUN_DIR")
    assert room.how_started(room.file.named("amn")) == []
    assert shlex.split(how.partition(": ")[2]) == sbatch_argv(room.file.launcher["lab"], "NAME", Path("RUN_DIR"))


def test_a_folder_that_the_nodes_do_not_see_is_refused(room: Actions, fake: FakeSlurm) -> None:
    table = msgspec.structs.replace(room.file.launcher["lab"], root="/elsewhere")
    room.file = msgspec.structs.replace(room.file, launcher={"lab": table})
    with pytest.raises(ConfigError, match=r"\[launcher.lab\] root: .* is not below /elsewhere"):
        room.start("waits")
    assert list_runs(room.runs_dir) == []
