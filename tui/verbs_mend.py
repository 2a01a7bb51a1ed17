"""`lvm-tui mend`: applies the remedy of what ails a run."""

from __future__ import annotations

import click

from tui.completion import complete_run
from tui.place import open_place, place_options
from tui.text import clean


@click.command("mend")
@place_options
@click.option("--dry-run", is_flag=True, help="Say what would happen, and stop there.")
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def mend_command(config: str | None, runs_dir: str | None, run_id: str, dry_run: bool) -> None:
    """Apply the remedy of what `lvm-tui diagnose` names first; prints the child's id where it restarts.

    Exit codes: 0 applied, 2 there is nothing that could be.
    """
    from tui.control.mending import carry_out, check_mend

    place = open_place(config, runs_dir)
    run, views = place.view(run_id)
    actions = place.actions()
    plan = check_mend(actions, run, views)
    how = actions.how_started(plan.restart.config) if plan.restart is not None else []
    for line in [*plan.lines(), *how]:
        click.echo(clean(line), err=not dry_run)
    if not dry_run:
        child = carry_out(plan, run, actions)
        if child:
            click.echo(child)
