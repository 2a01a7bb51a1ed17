"""Real processes in tests: the fake engine, waiting on a condition (never for a time), and a sure end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from engine.run.directory import RunDirectory, is_locked
from engine.run.process import send

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")
_BURN_S = 0.05
"""Of a core: several turns of the scheduler."""


def patience(seconds: float) -> float:
    """What `seconds` on a calm machine may take here and now: so much longer as this process waits for its turns.

    A bar says what the program needs; a machine that others keep busy is none of its faults.
    """
    began, used = time.monotonic(), time.process_time()
    while time.process_time() < used + _BURN_S:
        pass
    return seconds * max(1.0, (time.monotonic() - began) / _BURN_S)


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Return once `condition` holds; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def end(run: RunDirectory) -> None:
    """Kill what runs in a folder, engine and wrapper, and wait until its lock is free."""
    while is_locked(run.lock_file):
        processes = run.read_life().processes
        if processes is not None:
            send(processes.engine, signal.SIGKILL)
            send(processes.wrapper, signal.SIGKILL)
        time.sleep(0.01)
