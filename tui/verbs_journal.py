"""`lvm-tui journal`: the decisions, what each brought, and who came of whom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from tui.place import open_place, place_options
from tui.text import clean

if TYPE_CHECKING:
    from tui.control.journal import Decision

JOURNAL_SCHEMA = 1


@click.command("journal")
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def journal_command(config: str | None, runs_dir: str | None, as_json: bool) -> None:
    """List the decisions: who, what, on which evidence, what came of it and what it brought; then who came of whom.

    What a decision brought is measured once it can be known, and written down by whoever notices first: this
    command too, unless it is read-only.
    """
    from tui.control.lineage import families, family_lines

    place = open_place(config, runs_dir)
    views = list(place.watcher().views.values())
    place.note_outcomes(views)
    records = place.actions().journal.records()
    kin = families(views, records)
    if as_json:
        told = {"schema": JOURNAL_SCHEMA, "decisions": records, "families": kin}
        click.echo(msgspec.json.encode(told))
        return
    for entry in records:
        click.echo(clean(_line(entry)))
    if any(root.children for root in kin):
        click.echo("\nwho came of whom:")
        for depth, line in family_lines(root for root in kin if root.children):
            click.echo(clean(f"{'  ' * depth}- {line}"))


def _line(entry: Decision) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.t))
    child = f"→ {entry.child}" if entry.child else ""
    told = ["".join((entry.detail, ": " if entry.detail else "", entry.outcome.words))] if entry.outcome else []
    what = " ".join(filter(None, (entry.run, child, entry.fix, *(told or [entry.detail]))))
    return f"{when}  {entry.who:9}  {entry.action:9}  {entry.phase:8}  {what}"
