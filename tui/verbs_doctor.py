"""`lvm-tui doctor`: whether this machine and the launchers of runs.toml can do what will be asked of them."""

from __future__ import annotations

import sys

import click
import msgspec

from tui.place import open_place, place_options
from tui.text import clean


@click.command("doctor")
@place_options
@click.option("--no-job", is_flag=True, help="Ask the schedulers, but hand them no job.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor_command(config: str | None, runs_dir: str | None, no_job: bool, as_json: bool) -> None:
    """Look at this machine and at every [launcher.NAME]: what is fit, what is not, why, and how to mend it.

    Each launcher is handed a job of seconds that says what its node finds. Exit 1 if anything failed.
    """
    from tui.control.launching.local import LocalLauncher
    from tui.control.launching.slurm import SlurmLauncher

    place = open_place(config, runs_dir, refuses=False)
    found = LocalLauncher().doctor(place.runs_dir)
    for name, settings in place.file.launcher.items():
        with_job = not (no_job or place.readonly)
        found += SlurmLauncher(name, settings, with_job=with_job).doctor(place.runs_dir)
    if as_json:
        told = [{"verdict": at.verdict, "what": at.what, "why": at.why, "mend": at.mend} for at in found]
        click.echo(msgspec.json.encode({"schema": 1, "findings": told}))
    else:
        width = max(len(at.what) for at in found)
        for at in found:
            mend = f". To mend it: {at.mend}" if at.mend else ""
            click.echo(clean(f"{at.verdict:<7}  {at.what:<{width}}  {at.why}{mend}"))
    sys.exit(any(at.verdict == "failed" for at in found))
