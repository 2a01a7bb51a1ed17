"""`lvm-tui scenarios`: how often the diagnosis names what was planted, and how often its remedy repairs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from tui.text import clean


@click.command("scenarios")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--markdown", type=click.Path(path_type=Path), help="File to write the tables to, as Markdown.")
@click.option("--repair", is_flag=True, help="First let the autopilot repair what can be; needs a suite with --twins.")
@click.option("--workers", type=click.IntRange(1), help="Repairs at a time; default: one for every core.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def scenarios_command(folder: Path, as_json: bool, markdown: Path | None, repair: bool, workers: int | None) -> None:
    """Diagnose every run of a suite that `lvm-engine scenarios` made, and say which are named rightly.

    Right is: the cause is named first, and nothing is in a healthy run. Repaired is: nothing ails the autopilot's last
    run, and gate and retrieval are as good as without the fault. Exit codes: 0 all right, 1 one is not, 2 could not.
    """
    from engine.run.files import write_atomically
    from tui.control.repairs import read_repairs, repair_suite
    from tui.control.repairs_report import repair_lines, repair_markdown, repair_record
    from tui.control.scenarios import judge_suite, suite_lines, suite_markdown, suite_record

    if repair:
        # what repairs cache is the suite's, not the person's
        os.environ["XDG_CACHE_HOME"] = str(folder.absolute() / "cache")
        for number, done in enumerate(repair_suite(folder, workers or os.cpu_count() or 1), start=1):
            click.echo(clean(f"{number} {done.run}: {done.why_not or 'repaired'}, {done.seconds:.0f} s"), err=True)
    judged, repairs = judge_suite(folder), read_repairs(folder)
    if markdown is not None:
        write_atomically(markdown, (suite_markdown(judged) + repair_markdown(repairs)).encode())
    if as_json:
        click.echo(msgspec.json.encode({**suite_record(judged), "repairs": repair_record(repairs)}))
    else:
        click.echo("\n".join(map(clean, [*suite_lines(judged), *repair_lines(repairs)])))
    sys.exit(0 if all(one.is_right for one in judged) and all(one.is_repaired for one in repairs) else 1)
