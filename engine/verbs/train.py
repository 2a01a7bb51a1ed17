"""`lvm-engine train`: train a run directory's spec, or make one from the playbook's flags and train that."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, take_lock
from engine.run.events import RunFinished
from engine.run.placement import Placement, place_ranks
from engine.run.spec import RunSpec, apply_patch
from engine.run.wrapper import LOCK_FD_VARIABLE, LOCK_HOLDER_VARIABLE
from engine.verbs.recorded_training import Plant, prepare, train_recorded
from engine.verbs.run_flags import create_run

log = logging.getLogger("engine")


class StopRequest:
    """Whether the training was asked to end: by the run's stop file, or by SIGTERM or the first SIGINT."""

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._signalled = False

    def __call__(self) -> bool:
        """Asked before every step."""
        return self._signalled or self._stop_file.exists()

    @contextlib.contextmanager
    def listening(self, *, by_file: bool = False) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests; a second SIGINT interrupts at once.

        Args:
            by_file: pass the request on as the stop file, for other processes that look for it.
        """

        def ask(number: int, _frame: FrameType | None) -> None:
            self._signalled = True
            if by_file:
                self._stop_file.touch()
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Train the spec.json of this run directory.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of --run-dir.")
@click.option("--nproc", type=int, help="Ranks on each node; also of a run directory, and other than it had before.")
@click.option("--save-dir", type=click.Path(path_type=Path), help="Make a run directory here from the flags below.")
@click.option("--model-type", type=click.Choice(["mamba_s", "amn", "gru", "transformer"]), help="Model to train.")
@click.option("--train-npz", type=click.Path(path_type=Path), help="File of windows to train on.")
@click.option("--corpus", help="Corpus folder, or embedded:NAME, instead of --train-npz.")
@click.option("--eval-npz", type=click.Path(path_type=Path), help="File of windows of articles not trained on.")
@click.option("--val-split", type=float, help="Share held out for validation.")
@click.option("--temperature", type=float, help="Temperature of InfoNCE.")
@click.option("--lambda-con", type=float, help="Weight of InfoNCE.")
@click.option("--lambda-ar", type=float, help="Weight of the autoregressive cosine term.")
@click.option("--batch-size", type=int, help="Windows in a micro-batch.")
@click.option("--grad-accum-steps", type=int, help="Micro-batches in an optimizer step.")
@click.option("--epochs", type=int, help="Passes over the training windows.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--warmup-steps", type=int, help="Optimizer steps of warm-up.")
@click.option("--d-model", type=int, help="Hidden width.")
@click.option("--n-layers", type=int, help="Blocks or layers.")
@click.option("--seed", type=int, help="Seed of weights, order and corruption.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute.")
@click.option(
    "--override-preflight", metavar="REASON", help="Train although the preflight blocks; the reason is recorded."
)
@click.pass_obj
@user_errors
def command(
    plant: Plant | None,
    /,
    run_dir: Path | None,
    resume: bool,
    nproc: int | None,
    save_dir: Path | None,
    override_preflight: str | None,
    **flags: Any,  # Any: click's values
) -> int:
    """Train a model. The data are looked at first; what must pass and does not blocks.

    Exit codes: 0 finished, or stopped as asked; 1 a number was not finite; 2 could not.
    \f

    The scenario suite hands over what is to be planted in the trainer, as the context's object.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    ranks = {} if nproc is None else {"nproc": nproc}
    if (run_dir is None) == (save_dir is None):
        raise ConfigError(
            "train needs either --run-dir DIR or --save-dir DIR with flags. See `lvm-engine train --help`."
        )
    if override_preflight is not None and not override_preflight.strip():
        raise ConfigError("--override-preflight: the reason is blank. Say why it may be trained all the same.")
    if run_dir is not None:
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{names}: a run directory's settings are in its spec.json. Leave out the flags.")
        run = RunDirectory(run_dir.absolute())
        if not run.path.is_dir():
            raise ConfigError(f"{run.path}: there is no such run directory.")
    else:
        assert save_dir is not None
        if resume:
            raise ConfigError(f"--resume goes with --run-dir: `lvm-engine train --run-dir {save_dir} --resume`.")
        run = create_run(save_dir.absolute(), given | ranks, override_preflight or "")
    spec = run.read_spec()
    spec = msgspec.structs.replace(spec, config=apply_patch(spec.config, ranks))
    placement = place_ranks(spec.config, spec.id, os.environ)
    with logging_to_stdout():
        if placement.node:  # the first node holds the lock, looks at the data and records
            from engine.verbs.in_ranks import join_ranks

            return join_ranks(run, placement, resume=resume)
        lock = _hold_lock(run)
        try:
            return _train(run, spec, placement, resume=resume, reason=override_preflight, plant=plant)
        finally:
            os.close(lock)


def _train(
    run: RunDirectory, spec: RunSpec, placement: Placement, *, resume: bool, reason: str | None, plant: Plant | None
) -> int:
    """Train a run whose lock is held; returns the exit code."""
    from engine.training.recorder import Recorder
    from engine.verbs.in_ranks import train_in_ranks

    recorder = Recorder(run, spec)
    stop = StopRequest(run.stop_file)
    try:
        if isinstance(recorder.known.ending, RunFinished):
            log.info("%s is finished; nothing to do", run.id)
            return 0
        if recorder.known.started is not None and not resume:
            raise ConfigError(f"{run.path}: this run was started before. Go on with --resume, or start a new run.")
    except ConfigError:
        recorder.close()
        raise
    try:
        with stop.listening():
            why = reason or spec.preflight_override
            if placement.num_ranks == 1:
                outcome = train_recorded(recorder, stop, resume=resume, reason=why, plant=plant)
                return 1 if outcome == "failed" else 0
            assert plant is None, "what is planted is planted in one process"
            prepare(recorder, stop, resume=resume, reason=why)
            return train_in_ranks(recorder, placement, stop, resume=resume)
    except Exception as error:
        message = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # a full disk is often why
            recorder.fail(message)
        raise
    finally:
        recorder.close()


def _hold_lock(run: RunDirectory) -> int:
    """The descriptor that holds the run's lock: the one inherited from the wrapper, or one taken here.

    Raises:
        ConfigError: somebody else trains this run.
    """
    if _is_held_for(run, os.environ.get(LOCK_HOLDER_VARIABLE, "")):
        return os.open(os.devnull, os.O_RDONLY)
    inherited = os.environ.get(LOCK_FD_VARIABLE, "")
    if inherited.isdigit() and _is_same_file(int(inherited), run.lock_file):
        os.set_inheritable(int(inherited), False)
        return int(inherited)
    lock = take_lock(run.lock_file)
    if lock is None:
        raise ConfigError(f"{run.path}: this run is being trained already: its lock is held. Stop that one first.")
    run.stop_file.unlink(missing_ok=True)  # meant for an attempt before this one; a wrapper has seen to it already
    return lock


def _is_held_for(run: RunDirectory, job: str) -> bool:
    """Whether the wrapper of this job, which started this engine on several nodes, is alive here and holds the lock."""
    life = run.read_life()
    return bool(job) and life.launch is not None and life.launch.nonce == job and life.supervised


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


@contextlib.contextmanager
def logging_to_stdout(rank: int = 0) -> Iterator[None]:
    """Log to standard output. All ranks share it: those that another speaks for warn only, and say who they are."""
    handler = logging.StreamHandler(sys.stdout)
    who = f"[rank {rank}] " if rank else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who}%(message)s", datefmt="%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.WARNING if rank else logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
