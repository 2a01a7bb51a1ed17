"""Rows 37 and 38: daemons of Slurm killed, answers lost, jobs forgotten and doubled, rooms that crash beside sbatch.

Whatever is done, no folder ever has two engines: the lab counts them all the while, and fails at its end if one had.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from fault_runs import Figure
from processes import wait_until
from slurm_cluster import Cluster, why_not_here
from slurm_lab import LONG, Lab, shim

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, list_runs
from engine.run.launch import write_launch
from engine.run.state import Status
from tui.control import launcher
from tui.control.launching.protocol import LaunchError
from tui.control.launching.slurm import sbatch_argv
from tui.control.launching.slurm_job import job_script

pytestmark = [pytest.mark.slurm, pytest.mark.faults(37)]
SAVES_S = 6.0
"""A controller writes its jobs down about every five seconds."""
CRASHING_ROOM = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from slurm_lab import FAKE_ENGINE
from engine.run.runs_file import load_runs
from pathlib import Path
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.launching import slurm

call, when = slurm.call, sys.argv[2]

def crash(argv, **options):
    if argv[0] == "sbatch" and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = call(argv, **options)
    if argv[0] == "sbatch":
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

slurm.call = crash
launcher.engine_argv = lambda verb, *rest: [sys.executable, str(FAKE_ENGINE), verb, *rest, "--epochs", "10000"]
file = load_runs(Path(sys.argv[1]))
Actions(file, file.runs_dir, "person").start("mamba_s")
"""


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose controller forgets an ended job within seconds."""
    if why := why_not_here():
        pytest.skip(why)
    cluster = Cluster(tmp_path / "cluster", min_job_age_s=2)
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    monkeypatch.setenv("LVM_GRACE_S", "1")
    try:
        cluster.start()
        made = Lab(cluster, tmp_path)
        monkeypatch.setattr(launcher, "engine_argv", made.argv)
        yield made
        made.end()
    finally:
        cluster.stop()


def crash_room(lab: Lab, when: str) -> RunDirectory:
    """A room that is killed beside sbatch, before or after it; the run that it leaves behind."""
    argv = [sys.executable, "-c", CRASHING_ROOM, lab.file.path, when, str(Path(__file__).parents[1])]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (run,) = list_runs(lab.runs_dir)
    assert lab.launch(run).job_id == "", "no answer was written down"
    return run


@pytest.mark.parametrize("after_s", [1.0, 9.0])
def test_a_controller_that_is_killed_takes_no_run_with_it(lab: Lab, after_s: float, figure: Figure) -> None:
    """Killed while one runs and one waits: the one goes on, the other is unknown, and both are found again."""
    runs, waits = lab.start(*LONG), lab.start(*LONG, name="shut")
    lab.wait(runs, Status.RUNNING)
    lab.wait(waits, Status.PENDING)
    time.sleep(max(0.0, after_s - (time.time() - lab.launch(runs).asked)))
    lab.cluster.kill("slurmctld")
    step = lab.view(runs).state.last_t
    view = lab.view(waits)
    assert view.status is Status.UNKNOWN
    assert "squeue: " in view.reason
    assert lab.view(runs).status is Status.RUNNING
    with pytest.raises(LaunchError, match="cannot be known"):
        lab.actions.start("shut", only_one=True)
    with pytest.raises(ConfigError, match="is unknown"):
        lab.actions.check_resume(view)
    wait_until(lambda: lab.view(runs).state.last_t > step)
    with pytest.raises(LaunchError, match="squeue: "):
        lab.actions.kill(runs)
    lab.cluster.start_controller()
    if after_s < SAVES_S:
        # what the controller had not saved yet it has forgotten, and nobody else may say what became of it
        view = lab.wait(waits, Status.PENDING, Status.UNKNOWN)
        there = lab.view(runs)
        assert there.status is Status.RUNNING or there.life.exit is not None
        assert len(lab.engines(runs)) <= 1
        figure(f"slurmctld killed after {after_s:.0f} s: the run {there.status}, the job that waited {view.status}")
        lab.actions.kill(waits)
        assert lab.view(waits).status in {Status.STOPPED, Status.LOST}
        return
    view, there = lab.wait(waits, Status.PENDING), lab.view(runs)
    assert there.status is Status.RUNNING
    figure(f"slurmctld killed after {after_s:.0f} s: the run {there.status}, the job that waited {view.status}")
    lab.actions.kill(runs)
    wait_until(lambda: lab.view(runs).life.exit is not None)
    assert lab.engines(runs) == []


def test_a_submission_to_a_controller_that_is_down_never_began(lab: Lab) -> None:
    lab.cluster.kill("slurmctld")
    try:
        with pytest.raises(LaunchError, match=r"could not be started: sbatch: .*connect"):
            lab.start(*LONG)
    finally:
        lab.cluster.start_controller()
    (run,) = list_runs(lab.runs_dir)
    view = lab.view(run)
    assert view.status is Status.FAILED
    assert "never began" in view.reason
    assert lab.jobs(run) == {}


def test_a_node_daemon_that_is_killed_leaves_the_run_alone(lab: Lab, figure: Figure) -> None:
    run = lab.start("--epochs", "40")
    lab.wait(run, Status.RUNNING)
    lab.cluster.kill("slurmd")
    try:
        view = lab.wait(run, Status.FINISHED)
        assert view.life.exit is not None
        assert view.life.exit.code == 0
    finally:
        lab.cluster.start_node()
    assert len(lab.engines(run)) == 0
    figure("slurmd killed: run finished, exit 0")


def test_a_job_that_slurm_has_forgotten_is_known_by_its_folder(forgetful: Lab) -> None:
    run = forgetful.start("--epochs", "1")
    forgetful.wait(run, Status.FINISHED)
    wait_until(lambda: forgetful.jobs(run) == {}, 90.0)
    view = forgetful.view(run)
    assert view.status is Status.FINISHED


def test_a_job_that_was_forgotten_before_it_began_is_unknown_until_a_person_gives_it_up(forgetful: Lab) -> None:
    run = forgetful.start(*LONG, name="shut")
    forgetful.wait(run, Status.PENDING)
    forgetful.cluster("scancel", forgetful.launch(run).job_id)
    wait_until(lambda: forgetful.jobs(run) == {}, 90.0)
    view = forgetful.view(run)
    assert view.status is Status.UNKNOWN
    assert view.reason == f"the scheduler knows no job {forgetful.launch(run).job_id}, which has not begun"
    with pytest.raises(ConfigError, match="already"):
        launcher.start(run.path)
    forgetful.actions.kill(run)
    view = forgetful.view(run)
    assert view.status is Status.LOST
    assert "Slurm knows no job of it" in view.reason
    late = job_script(forgetful.launch(run), run.path, {})
    done = subprocess.run(["sh"], input=late, capture_output=True, text=True, check=False)
    assert done.returncode == 2, "should it begin all the same, it ends before its engine starts"
    assert "called off" in done.stderr


@pytest.mark.faults(38)
def test_a_room_that_crashed_before_it_asked_slurm_asks_once_more_under_the_same_name(lab: Lab) -> None:
    run = crash_room(lab, "before")
    nonce = lab.launch(run).nonce
    assert lab.view(run).status is Status.SUBMITTED
    assert lab.jobs(run) == {}
    lab.actions.check_resume(lab.view(run))
    lab.actions.resume(run)
    lab.wait(run, Status.RUNNING)
    assert lab.launch(run).nonce == nonce
    assert len(lab.jobs(run)) == 1


@pytest.mark.faults(38)
def test_a_room_that_crashed_after_it_asked_finds_its_job_by_name_and_submits_no_other(lab: Lab) -> None:
    run = crash_room(lab, "after")
    lab.wait(run, Status.RUNNING)
    assert len(lab.jobs(run)) == 1
    with pytest.raises(ConfigError, match="running"):
        lab.actions.resume(run)
    assert len(lab.jobs(run)) == 1


def test_a_lost_answer_is_no_second_job(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        'cat > "$0.script"\n$REAL "$@" < "$0.script" > /dev/null\necho "sbatch: error: Socket timed out" >&2\nexit 1'
    )
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{shim(tmp_path / 'bin', 'sbatch', script)}:{before}")
    with pytest.raises(LaunchError, match="whether Slurm took its job is not known"):
        lab.start(*LONG, name="shut")
    monkeypatch.setenv("PATH", before)
    (run,) = list_runs(lab.runs_dir)
    assert lab.launch(run).job_id == ""
    view = lab.view(run)
    assert view.status is Status.PENDING
    lab.actions.resume(run)
    assert list(lab.jobs(run)) == [lab.launch(run).job_id]


def test_scancel_from_outside_is_an_end_with_a_record(lab: Lab, figure: Figure) -> None:
    run = lab.start(*LONG)
    lab.wait(run, Status.RUNNING)
    began = time.monotonic()
    lab.cluster("scancel", lab.launch(run).job_id)
    view = lab.wait(run, Status.FAILED)
    assert view.life.exit is not None
    assert view.life.exit.code == 143
    figure(f"scancel outside: exit 143 known after {time.monotonic() - began:.1f} s")


def test_of_two_jobs_of_one_name_one_begins(lab: Lab) -> None:
    run = lab.start(*LONG)
    launch = lab.launch(run)
    settings = run.read_spec().launch
    assert settings is not None
    argv = sbatch_argv(settings, launch.nonce, run.path)
    done = subprocess.run(
        argv,
        input=job_script(launch, run.path, {"PATH": os.environ["PATH"]}),
        env=lab.cluster.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    second = done.stdout.strip()
    wait_until(lambda: sorted(lab.jobs(run).values()) == ["FAILED", "RUNNING"], 60.0)
    assert second in lab.jobs(run)
    lab.wait(run, Status.RUNNING)
    assert len(lab.engines(run)) == 1


@pytest.mark.faults(38)
def test_eight_terminals_that_resume_at_one_instant_submit_one_job(lab: Lab) -> None:
    run = crash_room(lab, "before")
    code = "import sys; from pathlib import Path; from tui.control import launcher; launcher.start(Path(sys.argv[1]))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(run.path)], stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    told = [process.communicate(timeout=60)[1] for process in started]
    assert len(lab.jobs(run)) == 1
    assert sum(process.returncode == 0 for process in started) >= 1, told
    lab.wait(run, Status.RUNNING)


def test_a_wrapper_that_is_killed_leaves_no_second_engine(lab: Lab) -> None:
    run = lab.start(*LONG)
    lab.wait(run, Status.RUNNING)
    processes = run.read_life().processes
    assert processes is not None
    os.kill(processes.wrapper_pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(processes.wrapper_pid) or lab.view(run).status is Status.LOST)
    view = lab.view(run)
    if view.life.lock_held:
        with pytest.raises(ConfigError, match="running"):
            launcher.start(run.path)
    wait_until(lambda: lab.engines(run) == [] or lab.view(run).status.is_alive, 60.0)


def test_a_job_that_was_superseded_ends_its_engine(lab: Lab) -> None:
    run = lab.start(*LONG)
    lab.wait(run, Status.RUNNING)
    write_launch(run.path, msgspec.structs.replace(lab.launch(run), nonce="another"))
    wait_until(lambda: lab.engines(run) == [], 30.0)
    wait_until(lambda: run.read_life().exit, 30.0)  # which the wrapper writes once it has reaped its engine
    ended = run.read_life().exit
    assert ended is not None
    assert ended.kind == "signal"
