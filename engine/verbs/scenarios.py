"""`lvm-engine scenarios`: trainings with a known fault, or none, to hold a diagnosis against."""

from __future__ import annotations

import os
from pathlib import Path

import click

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.scenarios.record import PlantedRun, Suite, write_suite


@click.command("scenarios")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make; it must not exist.")
@click.option("--only", multiple=True, metavar="NAME", help="This case; may be given several times.")
@click.option("--seeds", type=click.IntRange(1), help="Seeds 0 to one less than this.  [default: 1]")
@click.option("--seed", "chosen", type=click.IntRange(0), multiple=True, help="This seed; may be given several times.")
@click.option("--twins", is_flag=True, help="Train each case that a setting mends without its fault as well.")
@click.option("--workers", type=click.IntRange(1), help="Runs at a time, a thread each; default: one for every core.")
@click.option("--list", "to_list", is_flag=True, help="Print the cases and what each plants; run nothing.")
@user_errors
def command(
    out: Path | None,
    only: tuple[str, ...],
    seeds: int | None,
    chosen: tuple[int, ...],
    twins: bool,
    workers: int | None,
    to_list: bool,
) -> int:
    """Run labelled cases for real: data, training, evaluation; `lvm-tui scenarios DIR` judges them.

    Exit codes: 0 done, 2 could not.
    """
    from engine.scenarios.cases import find_cases

    cases = find_cases(only)
    if to_list:
        for case in cases:
            click.echo(f"{case.name:24}  {case.expects or 'healthy':18}  {case.split(0):8}  {case.planted}")
        return 0
    if out is None:
        raise ConfigError("scenarios: needs --out DIR, the folder to make; or --list, to run nothing.")
    if out.exists():
        raise ConfigError(f"--out: {out} exists, and is never overwritten. Name a new folder.")
    if seeds and chosen:
        raise ConfigError("--seeds and --seed: name one of them; --seed 5 --seed 8 runs these two.")
    out.mkdir(mode=0o700, parents=True)
    from engine.scenarios.run import run_suite

    jobs = [(case.name, seed) for seed in dict.fromkeys(chosen) or range(seeds or 1) for case in cases]
    places = {f"{name}-{seed:04d}": place for place, (name, seed) in enumerate(jobs)}
    at_most = min(len(jobs), os.cpu_count() or 1)
    found: list[PlantedRun] = []
    for planted in run_suite(jobs, out.absolute(), workers=workers or at_most, twins=twins):
        found.append(planted)
        click.echo(f"{len(found)}/{len(jobs)} {planted.run}: {planted.seconds:.1f} s", err=True)
        # every time, so that what is done can be judged where the rest was interrupted
        write_suite(out, Suite(runs=sorted(found, key=lambda planted: places[planted.run])))
    click.echo(out)
    return 0
