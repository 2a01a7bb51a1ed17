"""What a launcher is: the five things that the room asks of whatever starts engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.launch import JobSeen, Launch

Verdict = Literal["ok", "warning", "failed"]


class LaunchError(ConfigError):
    """An engine could not be started, stopped or resumed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of `lvm-tui doctor`."""

    verdict: Verdict
    what: str
    """What was looked at, in a few words."""
    why: str
    """What was found."""
    mend: str = ""
    """What to do about it; empty where there is nothing to do."""


class Launcher(Protocol):
    """Starts what `spec.json` in a folder says, and ends it. What is on disk afterwards is the same for all."""

    def submit(self, folder: Path) -> None:
        """Start, or resume; call it under the launch lock.

        Raises:
            LaunchError: it does not run and will not; or it is not known whether it will, and why.
        """

    def poll(self, launches: Iterable[Launch]) -> Mapping[str, JobSeen]:
        """What is known of jobs besides what their folders say, by nonce; asked for all at once."""

    def stop(self, run: RunDirectory) -> None:
        """Ask the engine to finish its step, save and end; what has not begun is called off.

        Raises:
            LaunchError: that cannot be asked.
        """

    def kill(self, run: RunDirectory) -> None:
        """End it now.

        Raises:
            LaunchError: there is nothing to end, or it cannot be reached.
        """

    def doctor(self, runs_dir: Path) -> list[Finding]:
        """Whether it can do all that there, tried out."""
