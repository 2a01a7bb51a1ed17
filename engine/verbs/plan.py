"""`lvm-engine plan`: what a corpus of some size needs of memory, time and disk."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig

MOST_CHUNKS = 10**13


def _count(given: str) -> int:
    """A whole number of chunks, which may be written as 50e6 or 50_000_000."""
    try:
        count = float(given)
    except ValueError:
        count = 0.0
    if not 2 <= count <= MOST_CHUNKS or count != int(count):
        raise click.BadParameter(f"{given!r} is not a number of chunks, such as 50e6.")
    return int(count)


@click.command(name="plan")
@click.option("--chunks", type=_count, multiple=True, help="How many, such as 50e6; three sizes by default.")
@click.option("--dim", type=click.IntRange(2, 65_536), default=768, show_default=True, help="Width of the vectors.")
@click.option("--context", type=click.IntRange(1), default=DataConfig().context, show_default=True, help="Of a window.")
@click.option("--article-chunks", type=click.IntRange(2), default=40, show_default=True, help="Of a usual article.")
@click.option("--queries", type=click.IntRange(1), default=1000, show_default=True, help="Of an evaluation.")
@click.option(
    "--windows-per-s", type=click.FloatRange(min=0, min_open=True), help="Your training device's; else as measured."
)
@click.option("--units", "units_file", type=click.Path(path_type=Path), help="Unit costs of your own machine.")
@click.option("--markdown", is_flag=True, help="As the page of the documentation.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@user_errors
def command(
    chunks: tuple[int, ...],
    dim: int,
    context: int,
    article_chunks: int,
    queries: int,
    windows_per_s: float | None,
    units_file: Path | None,
    markdown: bool,
    as_json: bool,
) -> None:
    """Say what a corpus needs of memory, time and disk.

    Each figure says whether it was measured, follows from the format, or is extrapolated, and by which law.

    \b
    Examples:
      lvm-engine plan --chunks 50e6 --dim 768
      lvm-engine plan --chunks 50e6 --units units.json --windows-per-s 250000
    """
    from engine.plan.figures import Request, plan
    from engine.plan.page import SIZES, markdown_page, text_table
    from engine.plan.units import read_units

    if markdown and as_json:
        raise ConfigError("--markdown and --json: only one of them.")
    units = read_units(units_file)
    requests = [
        Request(
            chunks=count,
            dim=dim,
            context=context,
            article_chunks=article_chunks,
            queries=queries,
            windows_per_s=windows_per_s,
        )
        for count in chunks or SIZES
    ]
    if as_json:
        plans = [{"request": request, "figures": plan(request, units)} for request in requests]
        click.echo(msgspec.json.encode({"schema": 1, "machine": units.machine, "plans": plans}))
    else:
        click.echo((markdown_page if markdown else text_table)(requests, units), nl=False)
