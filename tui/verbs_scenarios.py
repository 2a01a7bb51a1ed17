"""`lvm-tui scenarios`: how often the diagnosis names what was planted."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from tui.text import clean


@click.command("scenarios")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--markdown", type=click.Path(path_type=Path), help="File to write the table to, as Markdown.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def scenarios_command(folder: Path, as_json: bool, markdown: Path | None) -> None:
    """Diagnose every run of a suite that `lvm-engine scenarios` made, and say which are named rightly.

    Right is: the cause is named first, and nothing is in a healthy run. Exit codes: 0 all right, 1 one is not, 2 could
    not.
    """
    from engine.run.files import write_atomically
    from tui.control.scenarios import judge_suite, suite_lines, suite_markdown, suite_record

    judged = judge_suite(folder)
    if markdown is not None:
        write_atomically(markdown, suite_markdown(judged).encode())
    if as_json:
        click.echo(msgspec.json.encode(suite_record(judged)))
    else:
        click.echo("\n".join(map(clean, suite_lines(judged))))
    sys.exit(0 if all(one.is_right for one in judged) else 1)
