"""A training in several ranks, as the process that starts them sees it: it holds the lock and has the last word."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from engine.run.events import RunFailed, RunFinished, RunStopped
from engine.run.placement import Placement
from engine.verbs.train import StopRequest

if TYPE_CHECKING:
    from engine.run.directory import RunDirectory
    from engine.training.rank_launch import RanksEnded
    from engine.training.recorder import Recorder

log = logging.getLogger("engine")


def train_in_ranks(recorder: Recorder, placement: Placement, stop: StopRequest, *, resume: bool) -> int:
    """Start the ranks of a run that was looked at, and say how they ended; returns the exit code.

    0 finished, or stopped as asked; 1 a number was not finite; else the root cause's own: see `RanksEnded`.
    """
    run, starts = recorder.run, recorder.known.starts
    with recorder.lent():
        ended = _launch(run, placement, stop, resume=resume)
    said = recorder.known.ending if recorder.known.starts > starts else None
    if isinstance(said, RunStopped | RunFinished):
        if ended.code:
            log.warning("the training was over, and then %s", ended.reason)
        return 0
    if not isinstance(said, RunFailed):
        recorder.fail(f"{ended.reason or 'The ranks ended without a word.'} Go on with --resume.")
    return ended.code or 2


def join_ranks(run: RunDirectory, placement: Placement, *, resume: bool) -> int:
    """Start the ranks of a node that is not the first, which records; returns the exit code."""
    stop = StopRequest(run.stop_file)
    with stop.listening():
        ended = _launch(run, placement, stop, resume=resume)
    if ended.code:
        log.error("node %d: %s", placement.node, ended.reason)
    return ended.code


def _launch(run: RunDirectory, placement: Placement, stop: StopRequest, *, resume: bool) -> RanksEnded:
    from engine.training.rank_launch import launch_ranks

    arguments = ["-P", "-m", "engine.verbs.rank", str(run.path), str(placement.nproc), str(os.getpid())]
    # ranks are sent nothing: they look for the file before every step, however far they are and on whichever node
    with stop.listening(by_file=True):
        if stop():
            run.stop_file.touch()
        return launch_ranks(arguments + ["--resume"] * resume, placement, run.path)
