"""The place that a command works on: a runs.toml and a folder of runs, as its options name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from engine.run.convert import ConfigError
from engine.run.directory import find_run, refuse_unsafe
from engine.run.runs_file import RunsFile, find_runs_file, load_runs
from tui.control.actions import Actions
from tui.control.shelf import Shelf
from tui.control.views import RunView
from tui.control.watcher import Watcher
from tui.text import clean


@dataclass(frozen=True, slots=True)
class Place:
    """The runs.toml and the runs folder that a command works on."""

    file: RunsFile
    runs_dir: Path
    readonly: bool = False
    """No action can be taken, by option or by `[room] readonly`."""

    def watcher(self, *, briefs: bool = False) -> Watcher:
        """A watcher that has read everything there is.

        Args:
            briefs: what lists say of ended runs will do: of those that are on the shelf, no more is read than is asked.
        """
        shelf = Shelf(self.runs_dir, readonly=self.readonly) if briefs else None
        watcher = Watcher(self.runs_dir, self.file.room.stall_s, shelf)
        watcher.catch_up()
        return watcher

    def view(self, run_id: str) -> tuple[RunView, list[RunView]]:
        """One run, by id or number, and all of them.

        Raises:
            ConfigError: there is no such run.
        """
        views = self.watcher().views
        run = find_run(self.runs_dir, run_id)
        if run.id not in views:
            raise ConfigError(f"{run.path}: its spec.json cannot be read")
        return views[run.id], list(views.values())

    def actions(self) -> Actions:
        """The actions, as the command line takes them."""
        return Actions(self.file, self.runs_dir, "cli", readonly=self.readonly)

    def note_outcomes(self, views: Sequence[RunView]) -> None:
        """Write down what decisions have brought by now; where that cannot be written, say so and go on."""
        from tui.control.outcomes import record_outcomes

        try:
            record_outcomes(self.actions(), views)
        except OSError as error:
            click.echo(f"warning: what was measured cannot be written down: {clean(str(error))}", err=True)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config` and `--runs-dir`; both may also stand before its name."""
    for option in (
        click.option("--runs-dir", metavar="DIR", help="Folder of the runs; default: [room] runs_dir."),
        click.option("--config", metavar="FILE", help="runs.toml; default: the one here, else the packaged one."),
    ):
        command = option(command)
    return command


def open_place(config: str | None, runs_dir: str | None, *, refuses: bool = True) -> Place:
    """Load the configuration that a command line names.

    Args:
        config: runs.toml; None for the one here.
        runs_dir: folder of the runs; None for the one that it names.
        refuses: a folder that others may write in; the doctor says it in its own way.

    Raises:
        ConfigError: it cannot be used.
    """
    context = click.get_current_context()
    outer = context.parent.params if context.parent else {}
    file = load_runs(find_runs_file(config or outer.get("config")))
    chosen = runs_dir or outer.get("runs_dir")
    if chosen and Path(chosen).exists() and not Path(chosen).is_dir():
        raise ConfigError(f"--runs-dir {chosen}: not a folder. Name the folder that holds the runs, or a new one.")
    runs = Path(chosen).absolute() if chosen else file.runs_dir
    if refuses and runs.exists():
        refuse_unsafe(runs)
    given = context.find_root().params.get("readonly", False)
    return Place(file, runs, readonly=given or file.room.readonly)
