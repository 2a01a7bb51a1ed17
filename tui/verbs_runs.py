"""`lvm-tui note` and `lvm-tui archive`, what a person writes on runs; `lvm-tui compare`, what they are side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from engine.run.convert import ConfigError
from tui.place import open_place, place_options
from tui.text import clean

if TYPE_CHECKING:
    from tui.control.versus import Comparison

COMPARE_SCHEMA = 1


@click.command("note")
@place_options
@click.argument("run_id", metavar="ID")
@click.argument("text", required=False, metavar="[TEXT]")
def note_command(config: str | None, runs_dir: str | None, run_id: str, text: str | None) -> None:
    """Write a note on a run; without TEXT print it, with an empty one take it away. Its #words are tags."""
    from tui.control.labels import write_note

    place = open_place(config, runs_dir)
    run, _ = place.view(run_id)
    if text is None:
        click.echo(clean(run.note))
        return
    place.actions().refuse_readonly()
    click.echo(write_note(run.directory, clean(text)))


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


@click.command("compare")
@place_options
@click.option("--reference", metavar="ID", help="Hold the others against this run; default: the last one named.")
@click.option("--all-settings", is_flag=True, help="List the settings that the runs share, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.argument("run_ids", nargs=-1, required=True, metavar="ID ID...")
def compare_command(
    config: str | None,
    runs_dir: str | None,
    reference: str | None,
    all_settings: bool,
    as_json: bool,
    run_ids: tuple[str, ...],
) -> None:
    """Hold runs against one of them: gates, floors, retrieval, cost, settings that differ, and what it means."""
    from tui.control.versus import compare
    from tui.control.versus_words import verdict

    place = open_place(config, runs_dir)
    named = {run.id: run for run_id in run_ids for run in [place.view(run_id)[0]]}
    base = place.view(reference)[0].id if reference else list(named)[-1]
    if base not in named:
        named[base] = place.view(base)[0]
    if len(named) < 2:
        raise ConfigError("name two runs or more; one alone has nothing to be compared with.")
    found = compare(list(named.values()), named[base])
    if as_json:
        told = {"schema": COMPARE_SCHEMA, **found.record(), "verdict": verdict(found)}
        click.echo(msgspec.json.encode(told))
        return
    for line in [*verdict(found), "", *_lines(found, all_settings=all_settings)]:
        click.echo(clean(line))


def _lines(found: Comparison, *, all_settings: bool) -> list[str]:
    """The comparison as aligned lines of text."""
    from tui.control.versus import table

    rows = [(label, *cells) for label, cells in table(found, all_settings=all_settings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
