"""`lvm-tui note` and `lvm-tui archive`: what a person writes on runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tui.text import clean

if TYPE_CHECKING:
    from tui.cli import Place

Command = Callable[..., Any]
OpenPlace = Callable[[str | None, str | None], "Place"]


def make_note(place_options: Callable[[Command], Command], open_place: OpenPlace) -> click.Command:
    """The command `note`, with the options that every command has.

    Args:
        place_options: adds `--config` and `--runs-dir` to a command.
        open_place: loads what these name.
    """

    @click.command("note")
    @place_options
    @click.argument("run_id", metavar="ID")
    @click.argument("text", required=False, metavar="[TEXT]")
    def note_command(config: str | None, runs_dir: str | None, run_id: str, text: str | None) -> None:
        """Write a note on a run; without TEXT print it, with an empty one take it away. Its #words are tags.

        \b
        Examples:
          lvm-tui note 7 'lower temperature, #keep'
          lvm-tui status --filter tag:keep
        """
        from tui.control.labels import write_note

        place = open_place(config, runs_dir)
        run, _ = place.view(run_id)
        if text is None:
            click.echo(clean(run.note))
            return
        place.actions().refuse_readonly()
        click.echo(write_note(run.directory, clean(text)))

    return note_command


def make_archive(place_options: Callable[[Command], Command], open_place: OpenPlace) -> click.Command:
    """The command `archive`, with the options that every command has.

    Args:
        place_options: adds `--config` and `--runs-dir` to a command.
        open_place: loads what these name.
    """

    @click.command("archive")
    @place_options
    @click.option("--undo", is_flag=True, help="Take them out again.")
    @click.argument("run_ids", nargs=-1, required=True, metavar="ID...")
    def archive_command(config: str | None, runs_dir: str | None, undo: bool, run_ids: tuple[str, ...]) -> None:
        """Leave ended runs out of the lists. Nothing is deleted; `status --filter is:archived` shows them."""
        from tui.control.labels import archive

        place = open_place(config, runs_dir)
        place.actions().refuse_readonly()
        runs = [place.view(run_id)[0] for run_id in run_ids]  # a name that is none changes nothing
        for run in runs:
            archive(run, away=not undo)
            click.echo(clean(f"{run.id} is {'listed again' if undo else 'archived'}"), err=True)

    return archive_command
