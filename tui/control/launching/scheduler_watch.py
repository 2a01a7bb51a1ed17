"""Asking the scheduler what becomes of jobs: once for any number of them, seldom, and never on the caller's time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from engine.run.directory import Life
from engine.run.launch import JobSeen, Launch
from tui.control.launching.slurm import SlurmLauncher


class SchedulerWatch:
    """What schedulers said of jobs when they were last asked."""

    def __init__(self) -> None:
        self.heard: Mapping[str, JobSeen] = {}
        """By nonce; replaced whole, so that a reader needs no lock."""
        self._asked = -math.inf
        self._thread: threading.Thread | None = None

    def told(self, life: Life) -> Life:
        """A life, and what is known of its job."""
        job = self.heard.get(life.launch.nonce) if life.launch is not None else None
        return life if job is None else msgspec.structs.replace(life, job=job)

    def ask(self, launches: Sequence[Launch]) -> None:
        """Ask in a thread of its own, unless it was asked of late or the answer before is still awaited."""
        if not launches or time.monotonic() - self._asked < min(launch.poll_s for launch in launches):
            return
        if self._thread is None or not self._thread.is_alive():
            self._asked = time.monotonic()
            self._thread = threading.Thread(target=self.look, args=(launches,), daemon=True)
            self._thread.start()

    def look(self, launches: Sequence[Launch]) -> bool:
        """Ask now, and wait for the answer; whether there was anything to ask for."""
        self._asked = time.monotonic()
        if launches:
            self.heard = SlurmLauncher().poll(launches)
        return bool(launches)
