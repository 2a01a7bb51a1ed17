"""Rows 15, 26, 35 and 42: undos that are cut short, folders and files that somebody else made or took away."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from processes import end, patience, wait_until
from recorded import make_spec, missed_mamba

from engine.run.directory import RunDirectory, is_locked
from engine.run.event_file import read_events
from engine.run.runs_file import RunsFile
from engine.run.state import Status, derive_status, fold
from tui.control.actions import Actions
from tui.control.plans import RefusedError
from tui.control.views import RunView
from tui.control.watcher import Watcher

WRAPPER = [sys.executable, "-P", "-m", "engine.run.wrapper"]
FAILS_ON_CUE = """
import os, sys, time
while not os.path.exists("cue"):
    time.sleep(0.005)
print("boom")
sys.exit(3)
"""
"""An engine that ends with code 3 once there is a file `cue`."""


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run whose engine fails once `cue` appears; killed at the end."""
    run = RunDirectory(tmp_path / "mamba_s-0001")
    run.path.mkdir()
    argv = [sys.executable, "-I", "-S", "-c", FAILS_ON_CUE]
    run.spec_file.write_text(json.dumps({"argv": argv, "resume_argv": [], "env": {}}))
    subprocess.run([*WRAPPER, str(run.path)], check=True, capture_output=True, timeout=60)
    yield run
    end(run)


def delete(log: Path) -> None:
    log.unlink()


def rotate(log: Path) -> None:
    log.rename(log.with_name("output.log.1"))


def truncate(log: Path) -> None:
    os.truncate(log, 0)


def become_folder(log: Path) -> None:
    log.unlink()
    log.mkdir()


def become_fifo(log: Path) -> None:
    log.unlink()
    os.mkfifo(log)


def become_endless(log: Path) -> None:
    log.unlink()
    log.symlink_to("/dev/zero")


@pytest.mark.faults(26)
@pytest.mark.parametrize("fate", [truncate, delete, rotate, become_folder, become_fifo, become_endless])
def test_how_an_engine_ended_is_known_whatever_became_of_its_log(
    failing: RunDirectory, fate: Callable[[Path], None]
) -> None:
    processes = failing.read_life().processes
    assert processes is not None
    if hasattr(resource, "prlimit"):  # an endless log must not take the machine's memory with it
        resource.prlimit(processes.wrapper_pid, resource.RLIMIT_AS, (1 << 29, 1 << 29))
    fate(failing.log_file)
    (failing.path / "cue").touch()
    wait_until(lambda: not is_locked(failing.lock_file), timeout_s=patience(3))
    life = failing.read_life()
    assert life.exit is not None, "the wrapper saw the exit code and lost it"
    assert life.exit.code == 3
    status, _ = derive_status(fold(read_events(failing.events_file)), life, 0.0, 60.0)
    assert status is Status.FAILED


# ── undo ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

UNDO = """
import sys
from pathlib import Path
from engine.run.runs_file import load_runs
from tui.control.actions import Actions
file = load_runs(Path(sys.argv[1]))
actions = Actions(file, file.runs_dir, "person")
actions.undo(actions.check_undo())
"""


def views_of(file: RunsFile) -> list[RunView]:
    watcher = Watcher(file.runs_dir, file.room.stall_s)
    watcher.catch_up()
    return list(watcher.views.values())


def restart(file: RunsFile, engine: list[str]) -> tuple[RunDirectory, RunDirectory]:
    """A parent that missed its gate and was stopped for a child, which takes a minute for a step."""
    actions = Actions(file, file.runs_dir, "person")
    engine[:] = ["--epochs", "10000"]
    parent = actions.start("mamba_s")
    wait_until(lambda: (latest := views_of(file)[0].latest) and latest.epoch >= 2)
    engine[:] = ["--epochs", "10000", "--epoch-s", "600"]
    views = views_of(file)
    child = actions.restart(actions.plan_restart(views[0], views))
    wait_until(lambda: not is_locked(parent.lock_file))
    return parent, child


@pytest.mark.faults(15)
def test_an_undo_that_was_killed_half_way_is_offered_again(runs_file: RunsFile, fake_engine: list[str]) -> None:
    parent, child = restart(runs_file, fake_engine)
    room = subprocess.Popen([sys.executable, "-c", UNDO, runs_file.path])
    actions = Actions(runs_file, runs_file.runs_dir, "person")
    wait_until(child.stop_file.exists)
    room.send_signal(signal.SIGKILL)
    room.wait()
    assert not is_locked(parent.lock_file), "nobody is left who would resume it"
    assert actions.check_undo().child == child.id


@pytest.mark.faults(15)
def test_of_two_undos_at_one_instant_the_parent_is_resumed_once(runs_file: RunsFile, fake_engine: list[str]) -> None:
    parent, child = restart(runs_file, fake_engine)
    rooms = [Actions(runs_file, runs_file.runs_dir, "person") for _ in range(2)]
    decisions = [room.check_undo() for room in rooms]
    outcomes: list[str] = []

    def undo(number: int) -> None:
        try:
            outcomes.append(rooms[number].undo(decisions[number])[0].id)
        except RefusedError as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=undo, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    end(child)  # its step takes a minute
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["RefusedError", parent.id]
    life = parent.read_life()
    assert life.lock_held
    assert life.processes is not None
    assert life.processes.attempt == 2


# ── folders and files made by hand ───────────────────────────────────────────────────────────────────────────────────

CREATE_TWO = """
import sys
from pathlib import Path
import msgspec
from engine.run.directory import RunDirectory, list_runs
from engine.run.spec import RunSpec
spec = msgspec.json.decode(sys.argv[2], type=RunSpec)
for _ in range(2):
    RunDirectory.create(Path(sys.argv[1]), "amn", lambda run_id: msgspec.structs.replace(spec, id=run_id))
print(len(list_runs(Path(sys.argv[1]))))
"""


def tui(*arguments: str, timeout_s: float = 20) -> subprocess.CompletedProcess[str]:
    """The headless command as a process of its own; hanging is a failure."""
    command = [sys.executable, "-m", "tui", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience(timeout_s))


@pytest.mark.faults(35)
def test_a_folder_with_the_highest_number_does_not_stop_new_runs(tmp_path: Path) -> None:
    (tmp_path / "old-999999").mkdir()
    command = [sys.executable, "-c", CREATE_TWO, str(tmp_path), msgspec.json.encode(make_spec()).decode()]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience(3))
    assert made.stdout == "2\n", "what was made is listed"


@pytest.mark.faults(26)
@pytest.mark.parametrize("file", ["exit.json", "lock", "evals/smoke.json"])
def test_a_fifo_in_a_run_folder_makes_nobody_wait(runs_file: RunsFile, file: str) -> None:
    fifo = missed_mamba(runs_file.runs_dir).path / file
    fifo.parent.mkdir(exist_ok=True)
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    assert tui("--config", runs_file.path, "status", "--json").returncode == 0


@pytest.mark.faults(35)
def test_a_run_folder_whose_name_is_not_utf8_does_not_hide_the_others(runs_file: RunsFile) -> None:
    missed_mamba(runs_file.runs_dir)
    odd = missed_mamba(runs_file.runs_dir, 2)
    os.rename(os.fsencode(odd.path), os.fsencode(odd.path.parent) + b"/\xff\xfe-0002")
    result = tui("--config", runs_file.path, "status", "--json")
    assert "Traceback" not in result.stderr
    assert "mamba_s-0001" in result.stdout


@pytest.mark.faults(35)
def test_a_run_id_that_only_looks_like_a_number_is_a_users_mistake(runs_file: RunsFile) -> None:
    missed_mamba(runs_file.runs_dir)
    result = tui("--config", runs_file.path, "stop", "²")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


LIST = """
import os
from pathlib import Path
from engine.run.directory import list_runs
if os.geteuid() == 0:  # whom no mode keeps out
    os.seteuid(65534)
print([run.id for run in list_runs(Path())])
"""


@pytest.mark.faults(42)
def test_a_run_folder_closed_to_this_user_does_not_hide_the_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    missed_mamba(tmp_path).path.chmod(0o755)
    closed = missed_mamba(tmp_path, 2).path
    closed.chmod(0)
    try:
        command = [sys.executable, "-c", LIST]
        listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=patience(5))
    finally:
        closed.chmod(0o700)
    assert listed.stdout == "['mamba_s-0001']\n", listed.stderr.splitlines()[-1:]
