"""`lvm-tui diagnose`: what is wrong with a run, or with another program's record, and what mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from engine.run.convert import ConfigError
from tui.completion import complete_run
from tui.place import open_place, place_options
from tui.text import clean


@click.command("diagnose")
@place_options
@click.option("--history", metavar="FILE", help="Another program's history.json instead of a run.")
@click.option("--eval", "evaluation", metavar="FILE", help="An evaluation that belongs to --history, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.argument("run_id", metavar="[ID]", shell_complete=complete_run, required=False)
def diagnose_command(
    config: str | None,
    runs_dir: str | None,
    history: str | None,
    evaluation: str | None,
    as_json: bool,
    run_id: str | None,
) -> None:
    """Say what is wrong with a run, why, and what mends it.

    The likeliest cause comes first, its symptoms after it. Exit codes: 0 healthy, 1 something was diagnosed, 2
    could not.
    """
    if bool(run_id) == bool(history):
        raise ConfigError("diagnose: name either a run (lvm-tui diagnose ID) or a record (--history FILE).")
    if evaluation and not history:
        raise ConfigError("diagnose: --eval belongs to --history; a run's own evaluations are read by themselves.")
    # here, so that other commands need not wait for it
    from tui.control.diagnosis.diagnose import diagnose, has_alarm
    from tui.control.diagnosis.facts import gather
    from tui.control.diagnosis.report import diagnosis_lines, diagnosis_record
    from tui.control.foreign_eval import read_record

    where = open_place(config, runs_dir)
    if history:
        run, position = read_record(where.file, Path(history), Path(evaluation) if evaluation else None)
    else:
        run, views = where.view(run_id or "")
        position = where.actions().position(run, views)
    found = diagnose(gather(run))
    if as_json:
        click.echo(msgspec.json.encode(diagnosis_record(run, found, position)))
    else:
        click.echo("\n".join(map(clean, diagnosis_lines(run, found, position))))
    sys.exit(1 if has_alarm(found) else 0)
