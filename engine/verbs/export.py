"""`lvm-engine export`: what a run says, for the trackers that people have already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, is_locked
from engine.run.event_file import EventReader

if TYPE_CHECKING:
    from engine.export.trackers import Tracker

POLL_S = 2.0


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--tensorboard", "folder", type=click.Path(path_type=Path), help="Folder of event files to write into.")
@click.option("--mlflow", "uri", help="URI of an MLflow tracking server, such as http://127.0.0.1:5000.")
@click.option("--experiment", default="lvm-tui", show_default=True, help="Experiment in MLflow.")
@click.option("--follow", is_flag=True, help="Go on until the run has ended.")
@user_errors
def command(run_dir: Path, folder: Path | None, uri: str | None, experiment: str, follow: bool) -> int:
    """Export a run folder to TensorBoard or MLflow; both may be named.

    It reads what the run has written and touches nothing of it, so a tracker that fails costs no training. MLflow is
    sent what it does not have yet; TensorBoard's files of the run are written anew. Exit codes: 0 done, 2 could not.

    \b
    Examples:
      lvm-engine export runs/mamba_s-0007 --tensorboard tb && tensorboard --logdir tb
      lvm-engine export runs/mamba_s-0007 --mlflow http://127.0.0.1:5000 --follow
    """
    if folder is None and uri is None:
        raise ConfigError("export needs --tensorboard DIR or --mlflow URI. See `lvm-engine export --help`.")
    run = RunDirectory(run_dir.absolute())
    spec = run.read_spec()
    from engine.export.trackers import MlFlow, TensorBoard

    trackers: list[Tracker] = []
    if folder is not None:
        trackers.append(TensorBoard(folder, spec))
    if uri is not None:
        trackers.append(MlFlow(uri, experiment, spec))
    num_sent = 0
    try:
        for sent in _send(run, trackers, follow=follow):
            num_sent += sent
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on", err=True)
    finally:
        for tracker in trackers:
            tracker.close()
    click.echo(f"{run.id}: {num_sent} numbers")
    return 0


def _send(run: RunDirectory, trackers: list[Tracker], *, follow: bool) -> Iterator[int]:
    """Send what there is and, if it is to be followed, what comes; how many numbers, each time."""
    from engine.export.readings import Reader

    reader, events = Reader(), EventReader(run.events_file)
    while True:
        is_live = is_locked(run.lock_file)  # before reading: what is written last is then read, too
        news, _ = events.read()
        readings = [*reader.of_events(news), *reader.of_evals(run.read_evals())]
        for tracker in trackers:
            tracker.send(readings)
        yield len(readings)
        if not events.behind:
            if not (follow and is_live):
                return
            time.sleep(POLL_S)
