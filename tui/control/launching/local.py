"""The launcher for this machine: a wrapper in a session of its own.

Every engine and every evaluation runs below the wrapper, with its output in a file: nothing that happens to this
process or its terminal reaches it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.run.directory import RunDirectory
from engine.run.launch import JobSeen, Launch
from engine.run.process import send
from tui.control.launching.machine_doctor import examine_machine
from tui.control.launching.protocol import Finding, LaunchError


class LocalLauncher:
    """Starts engines on this machine."""

    def submit(self, folder: Path) -> None:
        """Start it below a wrapper; returns once it runs."""
        command = [sys.executable, "-P", "-m", "engine.run.wrapper", str(folder)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LaunchError(f"{folder.name} could not be started: {error}") from None
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise LaunchError(f"{folder.name} could not be started: {reason[-1] if reason else 'the wrapper died'}")

    def poll(self, _launches: Iterable[Launch]) -> Mapping[str, JobSeen]:
        """Nothing: the folders say it all."""
        return {}

    def stop(self, run: RunDirectory) -> None:
        """Ask the engine to finish its step, save a checkpoint and end."""
        run.stop_file.touch(mode=0o600)

    def kill(self, run: RunDirectory) -> None:
        """The wrapper escalates from TERM to KILL; without a wrapper the engine is signalled itself."""
        life = run.read_life()
        if life.processes is None or not life.lock_held:
            raise LaunchError(f"{run.id} is not running")
        if not (send(life.processes.wrapper, signal.SIGTERM) or send(life.processes.engine, signal.SIGKILL)):
            raise LaunchError(f"{run.id}: neither its wrapper nor its engine is alive, yet its lock is held")

    def doctor(self, runs_dir: Path) -> list[Finding]:
        """This machine."""
        return examine_machine(runs_dir)
