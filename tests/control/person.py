"""A person in front of a runs folder, with the fake engine behind the launcher."""

from __future__ import annotations

from processes import wait_until

from engine.run.directory import RunDirectory
from engine.run.runs_file import RunsFile
from engine.run.state import Status
from tui.control.actions import Actions
from tui.control.plans import RestartPlan
from tui.control.views import RunView
from tui.control.watcher import Watcher

LONG = ["--epochs", "10000"]
"""Options of an engine that goes on until it is stopped."""


class Person:
    """Starts, stops and restarts runs, and waits for what comes of it."""

    def __init__(self, file: RunsFile, engine: list[str]) -> None:
        self.file = file
        self.engine = engine
        self.actions = Actions(file, file.runs_dir, "person")

    def views(self) -> list[RunView]:
        """Every run, as it is on disk now."""
        watcher = Watcher(self.file.runs_dir, self.file.room.stall_s)
        watcher.catch_up()
        return list(watcher.views.values())

    def view(self, run: RunDirectory) -> RunView:
        """One run, as it is on disk now."""
        return next(view for view in self.views() if view.id == run.id)

    def start(self, *options: str) -> RunDirectory:
        """Start `[run.mamba_s]` with these options of the fake engine."""
        self.engine[:] = options
        return self.actions.start("mamba_s")

    def wait_status(self, run: RunDirectory, status: Status) -> RunView:
        """Wait until a run has this status."""
        wait_until(lambda: self.view(run).status is status)
        return self.view(run)

    def wait_epoch(self, run: RunDirectory, epoch: int) -> RunView:
        """Wait until a run has ended this epoch."""
        wait_until(lambda: (latest := self.view(run).latest) and latest.epoch >= epoch)
        return self.view(run)

    def plan(self, run: RunDirectory, *, fix: int | None = None, override: str = "") -> RestartPlan:
        """The restart that applies to a run now."""
        return self.actions.plan_restart(self.view(run), self.views(), fix=fix, override=override)

    def journal(self) -> list[tuple[str, str]]:
        """Actions and phases, oldest first."""
        return [(entry.action, entry.phase) for entry in self.actions.journal.read()]
