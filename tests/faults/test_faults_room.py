"""Rows 1 to 5: whatever becomes of the room and its terminal, the training goes on and its end is known."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_runs import EPOCH_S, FAKE_ROOM, Figure, Folder, Open, Tmux, exit_of, state_of, status_of, times
from processes import patience, wait_until
from pty_room import PtyRoom, wait_for

from engine.run.directory import RunDirectory, is_locked, list_runs
from engine.run.state import Status

SHOWN_WITHIN_S = 2.0
"""For a new room to start and draw."""
SHOWN_WITHIN_TIMES = 4.0
"""The same where the machine is slow or busy: so often what the toolkit's import alone takes there and then."""


def launch_from(room: PtyRoom, folder: Folder) -> RunDirectory:
    """Press T, and wait for the run's first step."""
    known = len(list_runs(folder.path))
    room.press("T")
    room.wait_while_drawing(lambda: len(list_runs(folder.path)) > known, 20, "the run was made")
    run = list_runs(folder.path)[-1]
    room.wait_while_drawing(lambda: state_of(run).started, 20, "its first step")
    return run


@pytest.mark.faults(1)
def test_a_room_that_is_killed_leaves_the_run_to_its_end(folder: Folder, open_room: Open, figure: Figure) -> None:
    count, slowest, toolkit, rng = times(50, 3), 0.0, 0.0, random.Random(1)
    room = open_room()
    room.wait_drawn("No run yet")
    for _ in range(count):
        run = launch_from(room, folder)
        room.read(rng.uniform(0.0, 0.6))
        room.kill()
        room.close()
        assert exit_of(run).code == 0
        assert len(state_of(run).epochs) == 4
        toolkit = max(toolkit, seconds_of([sys.executable, "-c", "import textual.app"]))
        room = open_room()
        slowest = max(slowest, room.wait_drawn(run.id) + room.wait_drawn("FINISHED"))
    assert slowest < max(SHOWN_WITHIN_S, SHOWN_WITHIN_TIMES * toolkit)
    figure(
        f"{count}/{count} runs ended with their exit known; a new room shows it within {slowest:.1f} s, "
        f"{toolkit:.1f} s of which the import of the toolkit alone takes"
    )


def seconds_of(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - began


def seconds_until_gone(room: PtyRoom) -> float:
    began = time.monotonic()
    wait_for(room.has_ended, patience(5), "the room ended")
    return time.monotonic() - began


@pytest.mark.faults(2)
def test_a_room_that_is_hung_up_on_ends_at_once_and_the_run_goes_on(
    folder: Folder, open_room: Open, figure: Figure
) -> None:
    count, slowest = times(20, 2), 0.0
    for number in range(count):
        room = open_room(epochs=30)
        room.wait_drawn("mamba_s" if number else "No run yet")
        run = launch_from(room, folder)
        os.killpg(room.pid, signal.SIGHUP)
        room.hang_up()
        slowest = max(slowest, seconds_until_gone(room))
        assert is_locked(run.lock_file), "the engine was hung up on too"
        assert status_of(run)[0] is Status.RUNNING
        run.stop_file.touch()
        assert exit_of(run).code == 0
    assert slowest < patience(2.0)
    figure(f"{count}/{count}; gone within {slowest:.1f} s")


@pytest.mark.faults(3)
@pytest.mark.parametrize("before", ["", "trap '' HUP; "], ids=["closed", "closed and ignored"])
def test_a_room_whose_terminal_is_closed_ends_by_itself(
    open_room: Open, figure: Figure, request: pytest.FixtureRequest, before: str
) -> None:
    count, slowest = times(20, 2), 0.0
    for _ in range(count):
        room = open_room(before=before)
        room.wait_drawn("No run yet")
        room.hang_up()
        slowest = max(slowest, seconds_until_gone(room))
    assert slowest < patience(3.0)
    figure(f"{request.node.callspec.id}: {count}/{count} gone within {slowest:.1f} s")


def launch_in_tmux(tmux: Tmux, folder: Folder) -> RunDirectory:
    """Press T in a room without a living run, and wait for the run's first step."""
    known = len(list_runs(folder.path))
    tmux.wait_shown("FINISHED" if known else "No run yet")
    tmux("send-keys", "T")
    wait_until(lambda: len(list_runs(folder.path)) > known)
    run = list_runs(folder.path)[-1]
    wait_until(lambda: state_of(run).started)
    return run


@pytest.mark.faults(4)
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
@pytest.mark.parametrize("what", ["kill-session", "kill-server"])
def test_a_killed_tmux_leaves_the_run_to_its_end(folder: Folder, config: Path, figure: Figure, what: str) -> None:
    count, tmux = times(10, 1), Tmux()
    command = shlex.join([*FAKE_ROOM, "--config", str(config), "--runs-dir", str(folder.path)])
    options = json.dumps(["--epochs", "4", "--epoch-s", EPOCH_S])
    try:
        for _ in range(count):
            tmux.open(command, FAKE_ENGINE_OPTIONS=options)
            run = launch_in_tmux(tmux, folder)
            tmux(what)
            assert exit_of(run).code == 0
            assert len(state_of(run).epochs) == 4
    finally:
        tmux("kill-server")
    figure(f"{what} {count}/{count}")


@pytest.mark.faults(5)
def test_a_terminated_room_restores_the_terminal(open_room: Open, figure: Figure) -> None:
    room = open_room()
    room.wait_drawn("No run yet")
    room.kill(signal.SIGTERM)
    gone = seconds_until_gone(room)
    assert room.exit_code == 143
    assert b"\x1b[?1049l" in room.output
    figure(f"code 143, `?1049l` sent, gone within {gone:.1f} s")
