"""`lvm-engine preflight`: what the data are like, before anything is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.run.files import write_atomically
from engine.run.preflight import PreflightReport
from engine.run.settings import DataConfig, Gate
from engine.verbs.run_flags import read_data_flags


@click.command("preflight")
@click.option("--run-dir", type=click.Path(path_type=Path), help="A run directory: its data, split and gates.")
@click.option("--corpus", help="Corpus folder, or embedded:NAME.")
@click.option("--train-npz", type=click.Path(path_type=Path), help="File of windows, instead of --corpus.")
@click.option("--eval-npz", type=click.Path(path_type=Path), help="File of windows of articles not trained on.")
@click.option("--payload-corpus", help="Corpus that is searched: folder or embedded:NAME; the training one by default.")
@click.option("--val-split", type=float, help="Share held out for validation.")
@click.option("--out", type=click.Path(path_type=Path), help="Report to write; a run's preflight.json by default.")
@click.option("--no-cache", is_flag=True, help="Measure anew, and keep nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@user_errors
def command(
    run_dir: Path | None,
    payload_corpus: str | None,
    out: Path | None,
    no_cache: bool,
    as_json: bool,
    **flags: Any,  # Any: click's values
) -> int:
    """Look for leaks, mixed encoders, broken vectors and gates out of reach.

    Exit codes: 0 every must-pass item passed, 1 one did not, 2 could not.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if run_dir is not None and given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{names}: a run directory's data are in its spec.json. Leave out the flags.")
    run = RunDirectory(run_dir.absolute()) if run_dir else None
    report = _look(run, given, payload_corpus, use_cache=not no_cache)
    target = out or (run.preflight_file if run else None)
    if target:
        _write(report, target)
    _print(report, as_json=as_json)
    return 1 if report.blocking else 0


def _look(
    run: RunDirectory | None, given: dict[str, Any], payload: str | None, *, use_cache: bool
) -> PreflightReport:  # Any: as above
    from engine.preflight.run import default_cache, run_preflight
    from engine.preflight.subject import embedded_or_folder, open_subject

    data: DataConfig
    gates: list[Gate]
    override = ""
    if run:
        spec = run.read_spec()
        data, gates, override = spec.data, spec.gates, spec.preflight_override
    else:
        data, gates = read_data_flags(given), [Gate()]
    subject = open_subject(data, gates, Path.cwd(), embedded_or_folder(payload) if payload else None)
    report = run_preflight(subject, cache=default_cache() if use_cache else None)
    return msgspec.structs.replace(report, override=override if report.blocking else "")


def _write(report: PreflightReport, target: Path) -> None:
    from engine.preflight.verdict import write_report

    if target.is_dir():
        raise ConfigError(f"--out: {target} is a folder. Name the file to write, such as {target / 'preflight.json'}.")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(target, write_report(report))
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}). Name another file with --out.") from None


def _print(report: PreflightReport, *, as_json: bool) -> None:
    from engine.preflight.verdict import describe

    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    for item in report.items:
        click.echo(describe(item))
    if report.blocking:
        end = f"BLOCKS: {', '.join(item.name for item in report.blocking)}"
    elif report.warnings:
        end = f"may be trained; look at {', '.join(item.name for item in report.warnings)}"
    else:
        end = "clear"
    click.echo(f"{report.data}: {end} ({report.seconds:.1f} s)", err=True)
