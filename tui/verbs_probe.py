"""`lvm-tui probe`: short runs of every fix of the ladder, and which one the evidence recommends."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click
import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from tui.completion import complete_run
from tui.place import Place, open_place, place_options
from tui.text import clean

if TYPE_CHECKING:
    from tui.control.probe.record import ProbeReport
    from tui.control.views import RunView

POLL_S = 0.2


@click.command("probe")
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
def probe_command(config: str | None, runs_dir: str | None, as_json: bool, run_id: str) -> None:
    """Train every fix of the ladder up to the gate, evaluate each, and rank them.

    Waits for a probe that is under way, else starts one, which takes up what an earlier one has found. Ctrl+C ends
    the waiting, not the probe. Exit codes: 0 a fix is recommended, 1 none helps, 2 could not.
    """
    from tui.control.probe.report import closing_lines, table_lines

    place = open_place(config, runs_dir)
    run, _ = place.view(run_id)
    report = _wait(place, run)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        click.echo("\n".join(map(clean, [*table_lines(report), *closing_lines(report)])))
    if report.state != "done":
        raise ConfigError(f"{run.id}: the probe ended before its time; the same command goes on with it.")
    sys.exit(0 if report.fix else 1)


def _wait(place: Place, run: RunView) -> ProbeReport:
    """Start the probe unless one is under way, and tell how it goes until it ends.

    Raises:
        ConfigError: it cannot be started, or has left no report.
    """
    from tui.control.probe.plan import JOB
    from tui.control.probe.record import probe_file, read_probe
    from tui.control.probe.report import progress_line

    job = RunDirectory(run.directory.evals / f"{JOB}.job")
    if place.readonly or not job.read_life().is_busy:
        actions = place.actions()
        job = actions.probe(actions.plan_probe(run))
    told = -1
    while job.read_life().is_busy:
        time.sleep(POLL_S)
        try:
            report = read_probe(probe_file(run.directory))
        except ConfigError:  # not written yet
            continue
        if report.num_done != told:
            told = report.num_done
            click.echo(clean(progress_line(report)), err=True)
    ended = job.read_life().exit
    if ended is None or ended.code:
        why = ended.last_line if ended else "its wrapper was killed"
        raise ConfigError(f"{run.id}: the probe's driver ended: {why}. The same command goes on with the probe.")
    return read_probe(probe_file(run.directory))
