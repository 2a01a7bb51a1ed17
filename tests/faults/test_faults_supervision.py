"""Rows 6 to 16: how an engine ended is known exactly, no process is left or mistaken, and nothing is started twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from fault_runs import (
    Figure,
    Folder,
    exit_of,
    kill_engine,
    kill_wrapper,
    processes_of,
    python,
    state_of,
    status_of,
    times,
    wait_ended,
)
from processes import wait_until

from engine.run.directory import is_locked, list_runs
from engine.run.events import RunFinished
from engine.run.process import identify, send
from engine.run.runs_file import AutopilotConfig, RunsFile
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot
from tui.control.watcher import Watcher

HERE = Path(__file__).parent


@pytest.mark.faults(6)
def test_a_run_whose_wrapper_is_killed_goes_on_is_not_doubled_and_says_how_it_ended(
    folder: Folder, figure: Figure
) -> None:
    count = times(20, 3)
    for number in range(count):
        run = folder.launch("--epochs", "5")
        wait_until(lambda run=run: state_of(run).started)
        kill_wrapper(run)
        assert status_of(run) == (Status.RUNNING, "running, unsupervised")
        refused = folder.start(run)
        assert (refused.returncode, "already running" in refused.stderr) == (2, True)
        if number % 2:
            kill_engine(run)
            wait_ended(run)
            assert status_of(run) == (Status.LOST, "lost, exit unknown")
        else:
            wait_ended(run)
            assert isinstance(state_of(run).ending, RunFinished)
            assert status_of(run) == (Status.FINISHED, "finished; its wrapper was killed")
    figure(f"{count}/{count}")


ENDINGS = {
    "kill -9": ("import os; os.kill(os.getpid(), 9)", 137, "signal", "signal 9"),
    "SEGV": ("import os; os.kill(os.getpid(), 11)", 139, "signal", "signal 11"),
    "ABRT": ("import os; os.abort()", 134, "signal", "signal 6"),
    "exit 3": ("print('no corpus'); raise SystemExit(3)", 3, "exited", "exit 3: no corpus"),
    "exception": ("def f(): raise KeyError('tau')\nf()", 1, "exited", "exit 1: KeyError: 'tau'"),
    "disk full": ("raise OSError(28, 'No space left on device')", 1, "disk_full", "disk full: OSError: [Errno 28]"),
}


@pytest.mark.faults(7)
def test_every_way_to_crash_is_told_from_the_others(folder: Folder, figure: Figure) -> None:
    for code, shell_code, kind, words in ENDINGS.values():
        run = folder.launch(argv=python(code))
        ended = exit_of(run)
        assert (ended.code, ended.kind) == (shell_code, kind)
        status, reason = status_of(run)
        assert status is Status.FAILED
        assert reason.startswith(words)
    figure(f"{len(ENDINGS)}/{len(ENDINGS)}: {', '.join(ENDINGS)}")


GROUP = Path("/sys/fs/cgroup")


@pytest.fixture
def small_group() -> Path:
    """A control group of 96 MB; skips where none can be made."""
    for place, limit in (
        (GROUP / "memory" / f"lvm-{os.getpid()}", "memory.limit_in_bytes"),
        (GROUP / f"lvm-{os.getpid()}", "memory.max"),
    ):
        try:
            place.mkdir()
            (place / limit).write_text(str(96 << 20))
        except OSError:
            if place.is_dir():
                place.rmdir()
            continue
        yield place
        wait_until(lambda place=place: not (place / "cgroup.procs").read_text())
        place.rmdir()
        return
    pytest.skip("no control group with a memory limit can be made")


@pytest.mark.faults(8)
def test_an_engine_that_the_kernel_kills_for_memory_ran_out_of_memory(
    folder: Folder, small_group: Path, figure: Figure
) -> None:
    run = folder.prepare(argv=python("x = []\nwhile True: x.append(bytearray(b'x') * (1 << 20))"))
    join = f"import os, sys; open({str(small_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    code = join + f"os.execv(sys.executable, [sys.executable, '-P', '-m', 'engine.run.wrapper', {str(run.path)!r}])"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
    ended = exit_of(run)
    assert (ended.code, ended.kind) == (137, "out_of_memory")
    assert status_of(run) == (Status.FAILED, "out of memory")
    figure("out of memory, told from a plain kill -9")


@pytest.mark.faults(9)
def test_an_engine_that_may_not_have_more_memory_says_so(folder: Folder, figure: Figure) -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\nx = bytearray(1 << 30)"
    run = folder.launch(argv=python(code))
    assert (exit_of(run).code, exit_of(run).kind) == (1, "out_of_memory")
    assert status_of(run) == (Status.FAILED, "out of memory: MemoryError")
    figure("out of memory: MemoryError")


@pytest.mark.faults(10)
def test_a_command_that_cannot_be_executed_never_started(folder: Folder, tmp_path: Path, figure: Figure) -> None:
    (tmp_path / "plain.txt").touch(0o600)
    for name, code in (("no-such-program", 127), ("plain.txt", 126)):
        run = folder.prepare(argv=[str(tmp_path / name)])
        assert folder.start(run).returncode == 2
        assert (exit_of(run).code, exit_of(run).kind) == (code, "never_started")
    figure("127, 126")


LEAVES = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.{handler})
code = "import signal, time; signal.signal(signal.SIGTERM, signal.{child}); print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, start_new_session={own})
child.stdout.readline()
open("child.pid.new", "w").write(str(child.pid))
os.rename("child.pid.new", "child.pid")
time.sleep(600)
"""
STUBBORN = {
    "obeyed": ("SIG_DFL", "SIG_DFL", False),
    "ignored": ("SIG_IGN", "SIG_DFL", False),
    "child ignores": ("SIG_DFL", "SIG_IGN", False),
    "all ignore": ("SIG_IGN", "SIG_IGN", False),
}


@pytest.mark.faults(11)
def test_a_run_that_is_ended_leaves_no_process_of_its_group(folder: Folder, figure: Figure) -> None:
    slowest = 0.0
    for handler, child_handler, own in STUBBORN.values():
        run = folder.launch(argv=python(LEAVES.format(handler=handler, child=child_handler, own=own)))
        wait_until((run.path / "child.pid").exists)
        child, processes, began = int((run.path / "child.pid").read_text()), processes_of(run), time.monotonic()
        assert send(processes.wrapper, signal.SIGTERM)
        wait_ended(run)
        wait_until(lambda child=child: identify(child) is None)
        slowest = max(slowest, time.monotonic() - began)
        assert identify(processes.engine_pid) is None
    assert slowest < 0.3 + 1.0, "the grace period and a second"
    figure(f"{len(STUBBORN)}/{len(STUBBORN)} within {slowest:.1f} s of a grace of 0.3 s")


@pytest.mark.faults(11)
def test_a_child_that_left_the_engines_session_is_beyond_reach_and_does_not_hold_the_run(
    folder: Folder, figure: Figure
) -> None:
    run = folder.launch(argv=python(LEAVES.format(handler="SIG_DFL", child="SIG_DFL", own=True)))
    wait_until((run.path / "child.pid").exists)
    child = int((run.path / "child.pid").read_text())
    try:
        assert send(processes_of(run).wrapper, signal.SIGTERM)
        assert exit_of(run).code == 143
        assert identify(child) is not None, "then this can be said without reserve"
    finally:
        os.kill(child, signal.SIGKILL)
    figure("a child in a session of its own is left alone")


REUSE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from engine.run.process import identify, is_alive, send
reused = 0
for _ in range(int(sys.argv[1])):
    first = subprocess.Popen(["sleep", "600"])
    known = identify(first.pid)
    first.kill()
    first.wait()
    time.sleep(0.02)  # the kernel counts starts in hundredths; pids come round far more slowly
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
    second = subprocess.Popen(["sleep", "600"])
    assert second.pid == first.pid, "the pid was not given again"
    assert not is_alive(known)
    assert not send(known, signal.SIGKILL)
    assert second.poll() is None, "a stranger was signalled"
    second.kill()
    second.wait()
    reused += 1
print(reused)
"""


@pytest.mark.faults(12)
def test_a_process_that_got_the_pid_of_a_dead_one_is_never_signalled(figure: Figure) -> None:
    count = times(20, 5)
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSE, str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        pytest.skip(f"no process ids of its own: {error}")
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no process ids of its own: {done.stderr.strip()}")
    assert done.stdout.strip() == str(count), done.stderr
    figure(f"{count}/{count}")


@pytest.mark.faults(13)
def test_a_run_of_the_boot_before_was_lost_by_the_reboot(folder: Folder, figure: Figure) -> None:
    run = folder.launch("--epochs", "1000")
    kill_wrapper(run)
    kill_engine(run)
    wait_ended(run)
    processes = processes_of(run)
    earlier = msgspec.structs.replace(processes, boot_id="another")
    run.processes_file.write_bytes(msgspec.json.encode(earlier))
    assert status_of(run) == (Status.LOST, "lost: reboot")
    assert not send(earlier.wrapper, signal.SIGTERM)
    figure("lost: reboot")


LAUNCH = """
import os, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[4], str(Path(sys.argv[4]).parent)]
from fake_room import fake_argv
from engine.run.runs_file import load_runs
from tui.control import launcher
from tui.control.actions import Actions
launcher.engine_argv = fake_argv
file = load_runs(Path(sys.argv[1]))
at = time.monotonic() + 0.3
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        actions = Actions(file, Path(sys.argv[3]), "person")
        time.sleep(max(0.0, at - time.monotonic()))
        try:
            actions.start("mamba_s", only_one=True)
        except Exception as error:
            os._exit(3 if "is running already" in str(error) else 4)
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(int(sys.argv[2]))]
print(codes.count(0), codes.count(3))
"""


@pytest.mark.faults(14)
def test_of_24_terminals_that_launch_at_one_instant_one_does(
    folder: Folder, config: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    count = times(50, 3)
    monkeypatch.setenv("FAKE_ENGINE_OPTIONS", json.dumps(["--epochs", "10000"]))
    for number in range(count):
        place = folder.path / f"round{number}"
        command = [sys.executable, "-c", LAUNCH, str(config), "24", str(place), str(HERE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        finally:
            Folder(place).end()
        assert done.stdout.split() == ["1", "23"], "one launched, the others were told why they did not"
        assert len(list_runs(place)) == 1
    figure(f"one of 24 in {count}/{count}")


DECIDE = """
import os, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[3], str(Path(sys.argv[3]).parent)]
from fake_room import fake_argv
from engine.run.runs_file import load_runs
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.autopilot import Autopilot
from tui.control.watcher import Watcher
launcher.engine_argv = fake_argv
file = load_runs(Path(sys.argv[1]))
watcher = Watcher(Path(sys.argv[2]), 60.0)
watcher.catch_up()
views = list(watcher.views.values())
at = time.monotonic() + 0.3

def decide(who):
    actions = Actions(file, Path(sys.argv[2]), who)
    if who == "autopilot":
        turn = Autopilot(actions, views[0].id, file.autopilot, time.time())
        time.sleep(max(0.0, at - time.monotonic()))
        said = turn.look(views, time.time())
        return said.acted, said.words
    plan = actions.plan_restart(views[0], views)
    time.sleep(max(0.0, at - time.monotonic()))
    try:
        return True, actions.restart(plan).id
    except Exception as error:
        return False, str(error)

for who in ("person", "cli", "autopilot"):
    if os.fork() == 0:
        acted, words = decide(who)
        told = "already tries this fix" in words or "a person took over" in words
        if not acted and not told:
            os._exit(4)
        os._exit(0 if acted else 3)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)]
print(codes.count(0), codes.count(3))
"""


@pytest.mark.faults(15)
def test_of_two_rooms_and_an_autopilot_one_restarts_and_the_others_are_told(
    folder: Folder, config: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    count = times(20, 2)
    config.write_text(config.read_text() + '\n[autopilot]\nallow = ["restart"]\n')
    monkeypatch.setenv("FAKE_ENGINE_OPTIONS", json.dumps(["--epochs", "10000"]))
    for number in range(count):
        place = Folder(folder.path / f"round{number}")
        try:
            run = place.launch("--epochs", "10000", "--epoch-s", "0.05")
            wait_until(lambda run=run: len(state_of(run).epochs) >= 2)
            command = [sys.executable, "-c", DECIDE, str(config), str(place.path), str(HERE)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            assert done.stdout.split() == ["1", "2"]
            parents = [found.read_spec().parent for found in list_runs(place.path)]
            assert parents == [None, run.id]
        finally:
            place.end()
    figure(f"one restart in {count}/{count}, both others told why")


@pytest.mark.faults(16)
def test_an_autopilot_whose_every_engine_crashes_at_once_stops_and_says_so(
    runs_file: RunsFile, fake_engine: list[str], figure: Figure
) -> None:
    actions = Actions(runs_file, runs_file.runs_dir, "autopilot")
    fake_engine[:] = ["--epochs", "2"]
    first = Actions(runs_file, runs_file.runs_dir, "person").start("mamba_s")
    assert exit_of(first).code == 0
    fake_engine[:] = ["--epochs", "0", "--exit-code", "1"]
    pilot = Autopilot(actions, first.id, AutopilotConfig(allow=["restart", "resume"]), time.time())
    for _ in range(50):
        watcher = Watcher(runs_file.runs_dir, 60.0)
        watcher.catch_up()
        turn = pilot.look(list(watcher.views.values()), time.time())
        if turn.is_over:
            break
        wait_until(lambda: not any(is_locked(run.lock_file) for run in list_runs(runs_file.runs_dir)))
    else:
        pytest.fail(f"it never stopped: {turn.words}")
    started = len(list_runs(runs_file.runs_dir)) - 1
    assert 1 <= started <= runs_file.autopilot.max_crashes + 1
    figure(f'{started} started, then: "{turn.words}"')
