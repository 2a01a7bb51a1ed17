"""`lvm-engine train`: train a run directory's spec, or make one from the playbook's flags and train that."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from engine.cli import user_errors
from engine.run.convert import ConfigError, convert_section
from engine.run.directory import RunDirectory, take_lock
from engine.run.events import RunFinished
from engine.run.files import write_atomically
from engine.run.settings import DataConfig, RunConfig
from engine.run.spec import RunSpec, apply_patch
from engine.run.wrapper import LOCK_FD_VARIABLE

log = logging.getLogger("engine")

# The playbook's flags, and the settings that they are.
SETTINGS = {
    "model_type": "model.kind",
    "d_model": "model.width",
    "n_layers": "model.layers",
    "temperature": "loss.temperature",
    "lambda_con": "loss.lambda_con",
    "lambda_ar": "loss.lambda_ar",
    "batch_size": "sampler.batch_size",
    "grad_accum_steps": "sampler.accumulate",
    "lr": "optimizer.lr",
    "warmup_steps": "schedule.warmup_steps",
    "epochs": "epochs",
    "seed": "seed",
    "device": "device",
}


class StopRequest:
    """Whether the training was asked to end: by the run's stop file, or by SIGTERM or the first SIGINT."""

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._signalled = False

    def __call__(self) -> bool:
        """Asked before every step."""
        return self._signalled or self._stop_file.exists()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests; a second SIGINT interrupts at once."""

        def ask(number: int, _frame: FrameType | None) -> None:
            self._signalled = True
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
@click.option("--save-dir", type=click.Path(path_type=Path), help="Make a run directory here from the flags below.")
@click.option("--model-type", type=click.Choice(["mamba_s", "amn", "gru", "transformer"]), help="Model to train.")
@click.option("--train-npz", type=click.Path(path_type=Path), help="File of windows to train on.")
@click.option("--corpus", help="Corpus folder, or embedded:NAME, instead of --train-npz.")
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
@user_errors
def command(run_dir: Path | None, resume: bool, save_dir: Path | None, **flags: Any) -> int:  # Any: click's values
    """Train a model.

    Exit codes: 0 finished, or stopped as asked; 1 a number was not finite; 2 could not.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if (run_dir is None) == (save_dir is None):
        raise ConfigError(
            "train needs either --run-dir DIR or --save-dir DIR with flags. See `lvm-engine train --help`."
        )
    if run_dir is not None:
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{names}: a run directory's settings are in its spec.json. Leave out the flags.")
        run = RunDirectory(run_dir.absolute())
    else:
        assert save_dir is not None
        if resume:
            raise ConfigError(f"--resume goes with --run-dir: `lvm-engine train --run-dir {save_dir} --resume`.")
        run = _create_run(save_dir.absolute(), given)
    with _logging_to_stdout():
        lock = _hold_lock(run)
        try:
            return _train(run, resume=resume)
        finally:
            os.close(lock)


def _train(run: RunDirectory, *, resume: bool) -> int:
    """Train a run whose lock is held; returns the exit code."""
    spec = run.read_spec()
    from engine.recorder import Recorder

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
            return _train_recorded(recorder, stop, resume=resume)
    except Exception as error:
        message = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # a full disk is often why
            recorder.fail(message)
        raise
    finally:
        recorder.close()


def _train_recorded(recorder: Any, stop: StopRequest, *, resume: bool) -> int:  # Any: a Recorder, imported late
    from engine.data.split import split_windows
    from engine.data.windows import open_windows
    from engine.device import pick_device, set_threads
    from engine.models.floors import measure_floors
    from engine.trainer import Trainer

    spec = recorder.spec
    device = pick_device(spec.config.device)
    set_threads(spec.config.threads)
    source = open_windows(spec.data, Path.cwd())
    split = split_windows(
        source, val_share=spec.data.val_share, test_share=spec.data.test_share, seed=spec.data.split_seed
    )
    trainer = Trainer(spec, source, split, device, recorder, stop)
    if resume:
        trainer.restore()
    outcome = trainer.train(lambda: measure_floors(source, split.train, split.val))
    return 1 if outcome == "failed" else 0


def _create_run(folder: Path, given: dict[str, Any]) -> RunDirectory:
    """A run directory of the playbook's flags."""
    run = RunDirectory(folder)
    if run.spec_file.exists():
        raise ConfigError(f"{folder}: already holds a run. Go on with `lvm-engine train --run-dir {folder} --resume`.")
    data = _read_data_flags(given)
    config = _read_setting_flags(given)
    _try(data, config)  # no folder is made of flags that cannot be trained with
    spec = RunSpec(
        id=run.id,
        name=config.model.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config,
        data=data,
        argv=[sys.executable, "-m", "engine", "train", "--run-dir", str(folder)],
        revision=metadata.version("lvm-tui"),
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(run.spec_file, msgspec.json.format(msgspec.json.encode(spec)))
    return run


def _try(data: DataConfig, config: RunConfig) -> None:
    """Open and split the data and find the device.

    Raises:
        ConfigError: one of them cannot be.
    """
    from engine.data.split import split_windows
    from engine.data.windows import open_windows
    from engine.device import pick_device

    pick_device(config.device)
    source = open_windows(data, Path.cwd())
    split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)


def _read_setting_flags(given: dict[str, Any]) -> RunConfig:
    """The configuration that the flags ask for; a value that does not do is named by its flag."""
    config = RunConfig()
    for name, setting in SETTINGS.items():
        if name in given:
            try:
                config = apply_patch(config, {setting: given[name]})
            except ConfigError as error:
                raise ConfigError(f"--{name.replace('_', '-')} {given[name]}: {error}") from None
    return config


def _read_data_flags(given: dict[str, Any]) -> DataConfig:
    """Data settings, paths made absolute; the context of an npz file is what it holds."""
    table: dict[str, Any] = {}
    if "train_npz" in given and "corpus" in given:
        raise ConfigError("--train-npz and --corpus: name one of them.")
    if "train_npz" in given:
        from engine.data.windows import ArrayWindows

        npz = given["train_npz"].absolute()
        if not npz.is_file():
            raise ConfigError(f"--train-npz: {npz} does not exist.")
        # The playbook's evaluation set is a file of its own: nothing of this one is held back for it.
        table |= {"train_npz": str(npz), "context": ArrayWindows(npz).context, "test_share": 0.0}
    elif "corpus" in given:
        corpus = given["corpus"]
        table["corpus"] = corpus if corpus.startswith("embedded:") else str(Path(corpus).expanduser().absolute())
    if "val_split" in given:
        table["val_share"] = given["val_split"]
    return convert_section(table, DataConfig, where="flags")


def _hold_lock(run: RunDirectory) -> int:
    """The descriptor that holds the run's lock: the one inherited from the wrapper, or one taken here.

    Raises:
        ConfigError: somebody else trains this run.
    """
    inherited = os.environ.get(LOCK_FD_VARIABLE, "")
    if inherited.isdigit() and _is_same_file(int(inherited), run.lock_file):
        os.set_inheritable(int(inherited), False)
        return int(inherited)
    if not run.path.is_dir():
        raise ConfigError(f"{run.path}: there is no such run directory.")
    lock = take_lock(run.lock_file)
    if lock is None:
        raise ConfigError(f"{run.path}: this run is being trained already: its lock is held. Stop that one first.")
    run.stop_file.unlink(missing_ok=True)  # meant for an attempt before this one; a wrapper has seen to it already
    return lock


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


@contextlib.contextmanager
def _logging_to_stdout() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
