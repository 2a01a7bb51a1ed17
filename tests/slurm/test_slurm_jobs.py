"""Runs as jobs of a real Slurm: started, queued, stopped, killed, evaluated; how each ended is known exactly."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner
from processes import patience, wait_until
from slurm_lab import LONG, SHORT, Lab, shim

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, list_runs
from engine.run.launch import LauncherConfig
from engine.run.spec import RunSpec
from engine.run.state import Status
from tui.cli import main
from tui.control import launcher
from tui.control.launching.protocol import LaunchError
from tui.control.watcher import Watcher

pytestmark = pytest.mark.slurm


def test_a_run_is_handed_to_slurm_and_how_it_ended_is_known(lab: Lab) -> None:
    run = lab.start(*SHORT, "--log-lines", "1")
    launch = lab.launch(run)
    assert launch.job_id
    assert launch.nonce.startswith(f"lvm-{run.id}-1-")
    view = lab.wait(run, Status.FINISHED)
    assert view.life.exit is not None
    assert view.life.exit.code == 0
    assert view.life.processes is not None
    assert view.life.processes.attempt == launch.attempt == 1
    assert (run.path / f"began.{launch.nonce}").read_text().split()[1] == launch.job_id
    assert lab.said(run).count("INFO epoch") > 0
    wait_until(lambda: lab.jobs(run) == {launch.job_id: "COMPLETED"})


def test_the_engine_sees_the_environment_that_was_meant_and_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVM_CANARY", "sings")
    monkeypatch.setenv("SBATCH_PARTITION", "shut")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    monkeypatch.setattr(launcher, "engine_argv", lambda *_: [sys.executable, "-I", "-c", code])
    run = lab.start()
    lab.wait(run, Status.FINISHED)
    seen = msgspec.json.decode(run.log_file.read_text().splitlines()[0])
    assert "LVM_CANARY" not in seen
    assert "SBATCH_PARTITION" not in seen
    assert "LC_ALL" not in seen or "LC_ALL" in os.environ
    assert seen["OMP_NUM_THREADS"] == "1"
    assert seen["SLURM_JOB_ID"] == lab.launch(run).job_id


@pytest.mark.parametrize("folder", ['it\'s a "run" $(touch x) `y` 100%j', "first line\nsecond & third; exit 9"])
def test_a_path_of_any_shape_is_one_word_to_the_shell(lab: Lab, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    room = Lab(lab.cluster, tmp_path / folder)
    launcher.engine_argv = room.argv  # the fixture puts the engine's own back
    run = room.start(*SHORT)
    room.wait(run, Status.FINISHED)
    room.end()


@pytest.mark.parametrize(
    ("options", "kind", "code", "reason"),
    [
        (["--epochs", "1", "--exit-code", "3"], "exited", 3, "exit 3"),
        (["--epochs", "1", "--raises", "ValueError"], "exited", 1, "exit 1"),
        (["--epochs", "1", "--raises", "MemoryError"], "out_of_memory", 1, "out of memory"),
        (["--epochs", "1", "--segfault"], "signal", 139, "signal 11"),
    ],
)
def test_a_crash_in_a_job_is_told_as_one_here_is(
    lab: Lab, options: list[str], kind: str, code: int, reason: str
) -> None:
    run = lab.start(*options)
    view = lab.wait(run, Status.FAILED)
    assert view.life.exit is not None
    assert (view.life.exit.kind, view.life.exit.code) == (kind, code)
    assert view.reason.startswith(reason)
    job_id = lab.launch(run).job_id
    wait_until(lambda: f"ExitCode={code}:0" in lab.cluster("scontrol", "show", "job", job_id))


def test_an_engine_that_cannot_be_executed_there_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "engine_argv", lambda *_: ["/no/such/engine"])
    view = lab.wait(lab.start(), Status.FAILED)
    assert view.reason == "never started: /no/such/engine: No such file or directory"


def test_a_job_whose_wrapper_cannot_start_is_said_to_have_failed_once_that_is_sure(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.control.launching.slurm_job.sys.executable", "/no/such/python")
    run = lab.start()
    wait_until(lambda: lab.jobs(run) == {lab.launch(run).job_id: "FAILED"})
    view = lab.view(run)
    assert view.status is Status.STARTING
    assert "says the scheduler" in view.reason
    monkeypatch.setattr("engine.run.state.SETTLE_S", 0.0)
    view = lab.view(run)
    assert view.status is Status.FAILED
    assert view.reason.startswith(f"never began: job {lab.launch(run).job_id} failed")
    assert not launcher.is_busy(run)


def test_what_slurm_refuses_never_began_and_says_why(lab: Lab) -> None:
    broken = msgspec.structs.replace(lab.file.launcher["lab"], partition="nowhere")
    lab.actions.file = msgspec.structs.replace(lab.file, launcher={**lab.file.launcher, "lab": broken})
    told = "sbatch: Batch job submission failed: Invalid partition name specified; invalid partition specified: nowhere"
    with pytest.raises(LaunchError, match=f"could not be started: {told}"):
        lab.start()
    (run,) = list_runs(lab.runs_dir)
    view = lab.view(run)
    assert view.status is Status.FAILED
    assert view.reason.startswith(f"never began: {told}")


def test_a_job_that_waits_is_shown_with_its_reason_and_can_be_called_off(lab: Lab) -> None:
    first = lab.start(*LONG, name="whole")
    lab.wait(first, Status.RUNNING)
    second = lab.start(*LONG, name="whole")
    view = lab.wait(second, Status.PENDING)
    wait_until(lambda: "Resources" in lab.view(second).reason)
    view = lab.view(second)
    assert view.life.job is not None
    assert int(view.life.job.priority) > 0
    with pytest.raises(ConfigError, match="running already"):
        lab.actions.start("whole", only_one=True)
    lab.actions.kill(second)
    view = lab.view(second)
    assert view.status is Status.STOPPED
    assert view.reason == f"never began: job {lab.launch(second).job_id} was cancelled while it waited"
    wait_until(lambda: lab.jobs(second) == {lab.launch(second).job_id: "CANCELLED"})
    assert lab.engines(second) == []
    assert lab.view(first).status is Status.RUNNING


def test_a_partition_that_is_down_is_the_reason(lab: Lab) -> None:
    run = lab.start(*LONG, name="shut")
    lab.wait(run, Status.PENDING)
    wait_until(lambda: "PartitionDown" in lab.view(run).reason)
    lab.actions.stop(run)
    assert lab.view(run).status is Status.STOPPED


def test_stop_lets_the_engine_save_and_resume_goes_on_from_there(lab: Lab) -> None:
    run = lab.start(*LONG, "--save-last")
    wait_until(lambda: (latest := lab.view(run).latest) is not None and latest.epoch >= 1, 60.0)
    lab.actions.stop(run)
    stopped = lab.wait(run, Status.STOPPED)
    assert stopped.life.exit is not None
    assert stopped.life.exit.code == 0
    first = lab.launch(run)
    lab.actions.resume(run)
    view = lab.wait(run, Status.RUNNING)
    assert view.state.starts == 2
    assert lab.launch(run).attempt == 2
    assert lab.launch(run).nonce != first.nonce
    with pytest.raises(ConfigError, match="is running"):
        lab.actions.resume(run)


def test_kill_ends_an_engine_that_ignores_term(lab: Lab) -> None:
    run = lab.start(*LONG, "--ignore-term")
    wait_until(lambda: lab.view(run).latest is not None, 60.0)
    run.stop_file.mkdir()  # so that it cannot be asked
    (run.path / "stop").rmdir()
    lab.actions.kill(run)
    view = lab.wait(run, Status.FAILED, Status.STOPPED)
    assert view.life.exit is not None
    assert lab.engines(run) == []


def test_scancel_from_outside_of_a_job_that_waits_is_told(lab: Lab) -> None:
    run = lab.start(*LONG, name="shut")
    lab.wait(run, Status.PENDING)
    lab.cluster("scancel", lab.launch(run).job_id)
    view = lab.wait(run, Status.STOPPED)
    assert view.reason.startswith("never began: job")
    assert "cancelled" in view.reason


def test_undo_calls_a_restart_off_that_still_waits_and_resumes_the_other(lab: Lab) -> None:
    run = lab.start(*LONG, "--save-last", "--values", "0.1,0.2", name="whole")
    wait_until(lambda: (latest := lab.view(run).latest) is not None and latest.epoch >= 2, 60.0)
    watcher = Watcher(lab.runs_dir, 120.0)
    watcher.catch_up()
    views = list(watcher.views.values())
    plan = lab.actions.plan_restart(watcher.views[run.id], views)
    lab.engine[:] = LONG
    # the stopped run keeps its place for a moment longer, so that the child has to wait
    blocker = lab.start(*LONG, name="whole")
    child = lab.actions.restart(plan)
    lab.wait(run, Status.STOPPED)
    assert lab.view(child).status in {Status.PENDING, Status.SUBMITTED}
    decision = lab.actions.check_undo()
    stopped, goes_on = lab.actions.undo(decision)
    assert stopped.id == run.id
    assert goes_on
    assert lab.view(child).status is Status.STOPPED
    assert lab.engines(child) == []
    lab.actions.kill(blocker)
    assert lab.wait(run, Status.RUNNING).state.starts == 2


def test_an_evaluation_is_a_job_as_well(lab: Lab) -> None:
    run = lab.start(*SHORT)
    view = lab.wait(run, Status.FINISHED)
    lab.engine[:] = []
    job = lab.actions.evaluate(view, "smoke")
    assert RunDirectory(job.path).read_life().is_busy
    with pytest.raises(ConfigError, match="under way"):
        lab.actions.evaluate(lab.view(run), "smoke")
    wait_until(lambda: "smoke-e0002" in lab.view(run).evals, 60.0)
    wait_until(lambda: not job.read_life().is_busy)
    ended = job.read_life().exit
    assert ended is not None
    assert ended.code == 1, "Eff@5 misses its gate"


def test_fifty_jobs_are_submitted_in_five_seconds_and_asked_for_at_once(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    folder = shim(tmp_path / "bin", "squeue", f'echo "$$" >> {calls}\nexec $REAL "$@"')
    began = time.monotonic()
    runs = [lab.start(*LONG, name="shut") for _ in range(50)]
    took = time.monotonic() - began
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    watcher = Watcher(lab.runs_dir, 120.0)
    watcher.catch_up()
    assert {watcher.views[run.id].status for run in runs} == {Status.PENDING}
    assert len(calls.read_text().splitlines()) == 1
    for _ in range(10):
        watcher.poll()  # as a room does, twice a second: within ten seconds it does not ask again
    assert len(calls.read_text().splitlines()) == 1
    assert took <= patience(5.0), f"50 jobs took {took:.2f} s"


def test_the_command_line_says_launcher_job_and_state(lab: Lab) -> None:
    run = lab.start(*LONG, name="shut")
    lab.wait(run, Status.PENDING)
    config = str(lab.file.path)
    told = CliRunner().invoke(main, ["status", "--json", "--config", config], catch_exceptions=False)
    (record,) = msgspec.json.decode(told.stdout)["runs"]
    assert record["launcher"] == "shut"
    assert record["state"] == "PENDING"
    assert record["job"]["id"] == lab.launch(run).job_id
    assert record["job"]["state"] == "PENDING"
    table = CliRunner().invoke(main, ["status", "--config", config], catch_exceptions=False).stdout
    assert f"shut {lab.launch(run).job_id} PENDING" in table


def test_several_nodes_are_one_job_with_an_engine_on_each(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ranks meet over nodes, this is how their engines are started: by srun, the lock held by the wrapper."""
    code = (
        "import os, sys; from pathlib import Path; from engine.run.directory import RunDirectory\n"
        "from engine.verbs.train import _hold_lock\n"
        "run, node = RunDirectory(Path(sys.argv[-1])), os.environ['SLURM_NODEID']\n"
        "if node == '0': os.close(_hold_lock(run))\n"
        "told = [os.environ[name] for name in ('SLURM_NNODES', 'SLURM_JOB_NODELIST')]\n"
        "(run.path / f'node-{node}').write_text(' '.join(told))\n"
    )
    monkeypatch.setattr(launcher, "engine_argv", lambda *rest: [sys.executable, "-P", "-c", code, *rest])
    run = lab.actions.start("wide")
    view = lab.wait(run, Status.FINISHED, Status.FAILED)
    assert view.status is Status.FINISHED, lab.said(run)
    assert [(run.path / f"node-{node}").read_text() for node in (0, 1)] == ["2 first,second"] * 2


def test_an_engine_that_fails_on_one_node_ends_the_others(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys, time; os.environ['SLURM_NODEID'] == '1' and sys.exit(3); time.sleep(600)"
    monkeypatch.setattr(launcher, "engine_argv", lambda *rest: [sys.executable, "-I", "-c", code, *rest])
    run = lab.actions.start("wide")
    view = lab.wait(run, Status.FAILED)
    assert view.life.exit is not None
    assert view.life.exit.code != 0
    assert "task 1: Exited with exit code 3" in lab.said(run)
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(run.path) in (process.info["cmdline"] or [])
    ]


def test_a_real_training_of_an_epoch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        launcher, "engine_argv", lambda verb, *rest: [sys.executable, "-P", "-m", "engine", verb, *rest]
    )
    small = msgspec.structs.replace(lab.file.run["amn"], epochs=1)
    lab.actions.file = msgspec.structs.replace(lab.file, run={**lab.file.run, "amn": small})
    run = lab.actions.start("amn")
    view = lab.wait(run, Status.FINISHED, Status.FAILED, timeout_s=240)
    assert view.status is Status.FINISHED, lab.said(run)
    assert view.latest is not None
    assert (run.checkpoints / "best" / "meta.json").exists()
    assert view.spec.env["OMP_NUM_THREADS"] == "1", "the table's cpus"


def test_a_real_training_saves_when_slurm_asks_it_to_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVM_GRACE_S", "30")
    monkeypatch.setattr(
        launcher, "engine_argv", lambda verb, *rest: [sys.executable, "-P", "-m", "engine", verb, *rest]
    )
    run = lab.actions.start("amn")
    wait_until(lambda: lab.view(run).state.last_step is not None, 120.0)
    lab.cluster("scancel", "--batch", "--signal=TERM", lab.launch(run).job_id)
    view = lab.wait(run, Status.STOPPED)
    assert "last" in view.state.checkpoints


def test_the_launchers_settings_are_frozen_into_the_spec(lab: Lab) -> None:
    run = lab.start(*LONG, name="shut")
    spec: RunSpec = run.read_spec()
    assert spec.launch == LauncherConfig(kind="slurm", partition="shut")
