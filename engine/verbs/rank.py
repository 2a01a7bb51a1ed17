"""One rank of a training: started by PyTorch's elastic launcher on behalf of `lvm-engine train`, never by a person."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory
from engine.verbs.recorded_training import open_split, train_prepared
from engine.verbs.train import StopRequest, logging_to_stdout

log = logging.getLogger("engine")

_PR_SET_PDEATHSIG = 1


def main(argv: list[str] | None = None) -> int:
    """Train with the others; returns the exit code.

    0 finished or stopped, 1 a number was not finite, 2 could not, 75 others were lost.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("nproc", type=int)
    parser.add_argument("parent", type=int)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args(argv)
    _die_with(arguments.parent)
    run = RunDirectory(arguments.run_dir)
    stop = StopRequest(run.stop_file)
    rank = int(os.environ["RANK"])
    with stop.listening(), logging_to_stdout(rank):
        try:
            return _train(run, stop, nproc=arguments.nproc, rank=rank, resume=arguments.resume)
        except Exception as error:
            _give_up(error)


def _train(run: RunDirectory, stop: StopRequest, *, nproc: int, rank: int, resume: bool) -> int:
    from engine.device import device_of_rank, set_threads
    from engine.training.ranks import joined
    from engine.training.recorder import Recorder

    spec = run.read_spec()
    config = msgspec.structs.replace(spec.config, nproc=nproc)
    spec = msgspec.structs.replace(spec, config=config)
    device = device_of_rank(config.device, int(os.environ["LOCAL_RANK"]), nproc)
    set_threads(config.threads or max(1, set_threads(0) // nproc))
    source, split = open_split(spec)
    recorder = Recorder(run, spec, is_silent=rank > 0)
    with joined(device, config.rank_timeout_s) as ranks:
        outcome = train_prepared(recorder, stop, ranks, source, split, {}, resume=resume)
    recorder.close()
    return 1 if outcome == "failed" else 0


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the one that started it is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before that could be said
        os._exit(1)


def _give_up(error: Exception) -> NoReturn:
    """Leave the reason to the parent and end at once: threads of a broken exchange may never."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    from engine.training.rank_launch import LOST_EXIT
    from engine.training.ranks import LateRankError, LostRankError

    get_error_handler().record_exception(error)
    is_lost = isinstance(error, LateRankError | LostRankError)
    if isinstance(error, ConfigError) or is_lost:
        log.error("%s", error)
    else:
        log.error("%s", traceback.format_exc().rstrip())
    sys.stdout.flush()
    os._exit(LOST_EXIT if is_lost else 2)


if __name__ == "__main__":
    sys.exit(main())
