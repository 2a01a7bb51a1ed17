"""The wrapper, with real processes: how an engine ended is known exactly, whoever was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import FAKE_ENGINE, end, wait_until

from engine.run import wrapper
from engine.run.directory import Exit, Life, RunDirectory, is_locked
from engine.run.event_file import read_events
from engine.run.events import (
    EpochEnded,
    RunFinished,
    RunStopped,
)
from engine.run.process import identify, is_alive, send
from engine.run.state import Status, derive_status, fold
from engine.run.wrapper import RESERVED_BYTES

WRAPPER = [sys.executable, "-P", "-m", "engine.run.wrapper"]
Prepare = Callable[..., RunDirectory]


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepare]:
    """Makes the run folder for a command, or for the fake engine with options; kills what is left at the end."""
    monkeypatch.setenv("LVM_GRACE_S", "0.2")
    run = RunDirectory(tmp_path / "mamba_s-0001")
    run.path.mkdir()

    def make(*options: str, argv: object = None) -> RunDirectory:
        command = argv or [sys.executable, str(FAKE_ENGINE), "train", "--run-dir", str(run.path), *options]
        run.spec_file.write_text(json.dumps({"argv": command, "resume_argv": ["--resume"], "env": {"LVM_TEST": "set"}}))
        return run

    yield make
    end(run)


def start(run: RunDirectory) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WRAPPER, str(run.path)], capture_output=True, text=True, check=False, timeout=60)


def exit_of(run: RunDirectory) -> Exit:
    """How it ended; waits for that."""
    wait_until(lambda: not is_locked(run.lock_file))
    ended = run.read_life().exit
    assert ended is not None
    return ended


def life_of(run: RunDirectory) -> Life:
    """The life of a run whose wrapper has written down who runs it."""
    wait_until(lambda: run.read_life().processes is not None)
    return run.read_life()


def status_of(run: RunDirectory) -> tuple[Status, str]:
    return derive_status(fold(read_events(run.events_file)), run.read_life(), 0.0, 60.0)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-u", "-c", code]


def kill_wrapper(run: RunDirectory) -> None:
    processes = life_of(run).processes
    assert processes is not None
    assert send(processes.wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(processes.wrapper))


ENDINGS = [
    ("pass", 0, "exited", ""),
    ("print('bye'); raise SystemExit(3)", 3, "exited", "bye"),
    ("print('x'); raise ValueError('no such corpus')", 1, "exited", "ValueError: no such corpus"),
    ("raise SystemExit('error: runs.toml')", 1, "exited", "error: runs.toml"),
    ("x = bytearray(1 << 60)", 1, "out_of_memory", "MemoryError"),
    ("raise RuntimeError('CUDA out of memory.')", 1, "out_of_memory", "RuntimeError: CUDA out of memory."),
    (
        "import os; raise OSError(28, os.strerror(28))",
        1,
        "disk_full",
        "OSError: [Errno 28] No space left on device",
    ),
    ("import os; print('last words', flush=True); os.kill(os.getpid(), 9)", 137, "signal", "last words"),
    ("import os; os.kill(os.getpid(), 15)", 143, "signal", ""),
]


@pytest.mark.parametrize(("code", "number", "kind", "last_line"), ENDINGS)
def test_how_an_engine_ended_is_known(prepare: Prepare, code: str, number: int, kind: str, last_line: str) -> None:
    run = prepare(argv=python(code))
    assert start(run).returncode == 0
    ended = exit_of(run)
    assert (ended.code, ended.kind, ended.last_line) == (number, kind, last_line)
    assert 0 < ended.wall_s < 60
    assert ended.maxrss_bytes > 1 << 20


def test_a_crash_in_native_code_is_known_by_its_signal(prepare: Prepare) -> None:
    run = prepare("--epochs", "1", "--segfault")
    start(run)
    ended = exit_of(run)
    assert (ended.code, ended.kind) == (128 + signal.SIGSEGV, "signal")
    assert status_of(run) == (Status.FAILED, "signal 11")


def test_a_run_that_finishes_has_all_its_files(prepare: Prepare) -> None:
    run = prepare("--epochs", "3", "--print", "hello from the engine")
    done = start(run)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert exit_of(run).code == 0
    assert status_of(run) == (Status.FINISHED, "")
    assert run.log_file.read_text() == "hello from the engine\n"
    assert [record.epoch for record in run.read_history()] == [1, 2, 3]
    for file in (run.lock_file, run.processes_file, run.log_file, run.exit_file, run.events_file):
        assert file.stat().st_mode & 0o777 == 0o600, file


@pytest.mark.parametrize(
    ("name", "code", "said"), [("no-such-program", 127, "No such file"), ("plain.txt", 126, "Permission denied")]
)
def test_a_command_that_cannot_be_executed_is_told_at_once(
    prepare: Prepare, tmp_path: Path, name: str, code: int, said: str
) -> None:
    program = tmp_path / name
    if name == "plain.txt":
        program.touch(0o600)
    run = prepare(argv=[str(program)])
    done = start(run)
    assert done.returncode == 2
    assert said in done.stderr
    ended = exit_of(run)
    assert (ended.code, ended.kind) == (code, "never_started")
    assert said in ended.last_line
    assert status_of(run)[0] is Status.FAILED


@pytest.mark.parametrize("argv", [{"a": 1}, 7, ["x\0y"], [3]])
def test_a_command_that_is_no_command_is_told_at_once(prepare: Prepare, argv: object) -> None:
    done = start(prepare(argv=argv))
    assert done.returncode == 2
    assert "could not be started" in done.stderr


def test_a_folder_without_a_spec_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "mamba_s-0001").mkdir()
    done = start(RunDirectory(tmp_path / "mamba_s-0001"))
    assert done.returncode == 2
    assert "could not be started" in done.stderr


def test_the_engine_holds_the_lock_and_gets_its_environment(prepare: Prepare) -> None:
    code = "import os; os.fstat(int(os.environ['LVM_LOCK_FD'])); print(os.environ['LVM_TEST'], os.getcwd())"
    run = prepare(argv=python(code))
    start(run)
    assert exit_of(run).code == 0
    assert run.log_file.read_text() == f"set {run.path}\n"


def test_a_running_engine_is_known_by_identity_and_its_exit_is_reserved(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000")
    start(run)
    life = run.read_life()
    assert (life.lock_held, life.supervised, life.exit) == (True, True, None)
    assert life.processes is not None
    assert is_alive(life.processes.engine)
    assert is_alive(life.processes.wrapper)
    assert os.getsid(life.processes.engine_pid) == life.processes.engine_pid != os.getsid(0)
    assert run.exit_file.read_bytes() == b" " * RESERVED_BYTES


def test_a_second_wrapper_is_refused_and_the_first_goes_on(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000")
    start(run)
    before = run.read_life().processes
    done = start(run)
    assert done.returncode == 2
    assert "mamba_s-0001 is already running: its lock is held" in done.stderr
    life = run.read_life()
    assert life.supervised
    assert life.processes == before


def test_an_engine_outlives_its_wrapper_and_says_itself_how_it_ended(prepare: Prepare) -> None:
    run = prepare("--epochs", "20")
    start(run)
    wait_until(lambda: fold(read_events(run.events_file)).started)
    kill_wrapper(run)
    assert run.read_life().lock_held
    assert status_of(run) == (Status.RUNNING, "running, unsupervised")
    wait_until(lambda: not is_locked(run.lock_file))
    assert isinstance(read_events(run.events_file)[-1], RunFinished)
    assert status_of(run) == (Status.FINISHED, "finished; its wrapper was killed")


def test_an_engine_that_dies_unsupervised_is_lost(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000")
    start(run)
    kill_wrapper(run)
    processes = run.read_life().processes
    assert processes is not None
    send(processes.engine, signal.SIGKILL)
    wait_until(lambda: not is_locked(run.lock_file))
    assert status_of(run) == (Status.LOST, "lost, exit unknown")


def test_killing_the_launcher_and_its_whole_group_does_not_reach_the_engine(prepare: Prepare) -> None:
    run = prepare("--epochs", "6")
    code = f"import subprocess, time; subprocess.run({[*WRAPPER, str(run.path)]!r}); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        os.killpg(launcher.pid, signal.SIGKILL)
    assert exit_of(run).code == 0
    assert sum(isinstance(event, EpochEnded) for event in read_events(run.events_file)) == 6


def test_terminating_the_wrapper_terminates_the_engine(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000")
    start(run)
    processes = run.read_life().processes
    assert processes is not None
    send(processes.wrapper, signal.SIGTERM)
    ended = exit_of(run)
    assert (ended.code, ended.kind) == (143, "signal")


def test_an_engine_that_ignores_terminate_is_killed_after_the_grace(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000", "--ignore-term", "--print", "deaf")
    start(run)
    wait_until(lambda: run.log_file.stat().st_size)
    processes = run.read_life().processes
    assert processes is not None
    send(processes.wrapper, signal.SIGTERM)
    ended = exit_of(run)
    assert (ended.code, ended.kind) == (137, "signal")
    assert ended.wall_s >= 0.2


@pytest.mark.parametrize("is_terminated", [True, False])
def test_what_an_engine_leaves_in_its_group_is_swept(prepare: Prepare, is_terminated: bool) -> None:
    run = prepare("--epochs", "10000" if is_terminated else "1", "--stubborn-child")
    start(run)
    wait_until((run.path / "child.pid").exists)
    child = int((run.path / "child.pid").read_text())
    processes = run.read_life().processes
    assert processes is not None
    if is_terminated:
        send(processes.wrapper, signal.SIGTERM)
    exit_of(run)
    wait_until(lambda: identify(child) is None)


def test_a_resumed_run_is_the_second_attempt_with_its_own_arguments(prepare: Prepare) -> None:
    run = prepare("--epochs", "10000")
    start(run)
    wait_until(lambda: fold(read_events(run.events_file)).epochs)
    run.stop_file.touch()
    assert exit_of(run).code == 0
    assert status_of(run)[0] is Status.STOPPED
    stopped = read_events(run.events_file)[-1]
    assert isinstance(stopped, RunStopped)

    start(run)
    life = run.read_life()
    assert life.processes is not None
    assert (life.processes.attempt, life.exit) == (2, None)
    assert not life.stop_requested, "the stop was meant for the first attempt"
    wait_until(lambda: fold(read_events(run.events_file)).starts == 2)
    state = fold(read_events(run.events_file))
    assert state.started is not None
    assert state.started.resumed_step == stopped.step
    assert status_of(run)[0] is Status.RUNNING


def test_a_later_ending_leaves_nothing_of_an_earlier_longer_one(prepare: Prepare) -> None:
    run = prepare(argv=python(f"raise SystemExit({'🙂' * 2000!r})"))
    start(run)
    first = exit_of(run)
    assert first.last_line == "🙂" * 300
    assert run.exit_file.stat().st_size == RESERVED_BYTES
    prepare(argv=python("pass"))
    start(run)
    assert exit_of(run).code == 0


def test_an_engine_that_fails_on_a_full_disk_has_failed_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrapper._kind(tmp_path, 1, "ValueError: no", 0) == "exited"
    full = os.statvfs_result((4096, 4096, 10, 1, 1, 10, 1, 1, 0, 255))  # one block of 4 KB left
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    assert wrapper._kind(tmp_path, 1, "ValueError: no", 0) == "disk_full"
    assert wrapper._kind(tmp_path, 0, "", 0) == "exited", "what went well did not fail"


@pytest.mark.parametrize(
    ("groups", "counters"),
    [
        ("0::/job\n", "sys/fs/cgroup/job/memory.events"),
        ("9:name=systemd:/\n4:memory:/job\n0::/\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
        ("5:cpu,memory:/job\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
    ],
    ids=["version 2", "both", "version 1"],
)
def test_kills_for_memory_are_counted_in_either_version_of_control_groups(
    tmp_path: Path, groups: str, counters: str
) -> None:
    assert wrapper._out_of_memory_kills(tmp_path) == 0, "nothing tells"
    for name, text in (("proc/self/cgroup", groups), (counters, "low 0\noom_kill_disable 0\noom_kill 3\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert wrapper._out_of_memory_kills(tmp_path) == 3


def test_a_rank_that_the_kernel_killed_for_memory_ran_out_of_memory_as_an_engine_does(tmp_path: Path) -> None:
    last = "rank 1 was killed by SIGKILL"
    assert wrapper._kind(tmp_path, 137, last, 1) == wrapper._kind(tmp_path, -9, "", 1) == "out_of_memory"
    assert wrapper._kind(tmp_path, 137, last, 0) == "exited", "somebody killed it"
    assert wrapper._kind(tmp_path, 139, last, 1) == "exited"
