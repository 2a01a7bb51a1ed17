"""Who a process is, and whether it still is: boot id, pid and start ticks. A pid alone is never an identity."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    boot_id: str
    pid: int
    start_ticks: str
    """Start time in the kernel's own unit; compared, never computed with."""


@cache
def boot_id() -> str:
    """Changes with every boot of this host; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        listed = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False)  # noqa: S607
        return listed.stdout.strip()


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None if there is none, or only its corpse."""
    try:
        # the command in parentheses may hold spaces and parentheses itself: count from the last one
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # asked of every run at every look
            fields = file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return _identify_by_ps(pid)
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else Identity(boot_id(), pid, start_ticks)


def is_alive(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal that very process and no other; False if it is gone."""
    if not hasattr(os, "pidfd_open"):
        with contextlib.suppress(ProcessLookupError):
            if is_alive(identity):
                os.kill(identity.pid, number)
                return True
        return False
    try:
        handle = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        # the descriptor now holds on to whoever has the pid: compare, then signal, without a gap
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _identify_by_ps(pid: int) -> Identity | None:
    if Path("/proc/self/stat").exists():
        return None
    listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    state, _, started = listed.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else Identity(boot_id(), pid, started.strip())
