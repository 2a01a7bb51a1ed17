"""`lvm-engine bench`: speeds as ratios measured within one run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from engine.cli import user_errors
from engine.run.settings import DataConfig


@click.command(name="bench")
@click.option("--turns", type=click.IntRange(min=1), default=5, show_default=True, help="How often each task is timed.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--corpus", default="embedded:wikileads", show_default=True, help="Whose windows to train on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@user_errors
def command(turns: int, threads: int, corpus: str, as_json: bool) -> int:
    """Measure speeds as ratios within one run. Exit 1 if one is out of reach."""
    from engine.bench.run import run_benchmarks
    from engine.data.windows import open_windows
    from engine.device import set_threads

    set_threads(threads)
    source = open_windows(DataConfig(corpus=corpus), Path.cwd())
    comparisons = run_benchmarks(source, turns)
    if as_json:
        click.echo(msgspec.json.encode({"schema": 1, "threads": threads, "comparisons": comparisons}))
    else:
        for one in comparisons:
            reach = (
                "" if one.reach is None else f"  (reach {one.reach:g}: {'met' if one.is_within_reach else 'MISSED'})"
            )
            click.echo(f"{one.what}: {one.ratio:.2f} times {one.against}{reach}")
    return 0 if all(one.is_within_reach for one in comparisons) else 1
