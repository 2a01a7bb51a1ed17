"""The playbook's flags as settings, and a run directory made of them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from engine.run.convert import ConfigError, convert_section
from engine.run.directory import RunDirectory
from engine.run.files import write_atomically
from engine.run.settings import DataConfig, RunConfig
from engine.run.spec import RunSpec, apply_patch

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
    "nproc": "nproc",
}


def create_run(folder: Path, given: dict[str, Any], reason: str) -> RunDirectory:
    """Make a run directory of the playbook's flags.

    Args:
        folder: where; made if missing.
        given: values by the flag's name with underscores; flags that were not given are left out.
        reason: why it may be trained although the preflight blocks; empty for none.

    Raises:
        ConfigError: there is a run already, or the flags cannot be trained with; then no folder is made.
    """
    run = RunDirectory(folder)
    if run.spec_file.exists():
        raise ConfigError(f"{folder}: already holds a run. Go on with `lvm-engine train --run-dir {folder} --resume`.")
    data = read_data_flags(given)
    config = read_setting_flags(given)
    _try(data, config)  # no folder is made of flags that cannot be trained with
    spec = RunSpec(
        id=run.id,
        name=config.model.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config,
        data=data,
        preflight_override=reason,
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
    from engine.training.validation import open_unseen

    pick_device(config.device)
    source = open_windows(data, Path.cwd())
    split_windows(source, val_share=data.val_share, test_share=data.test_share, seed=data.split_seed)
    open_unseen(data, Path.cwd(), source)


def read_setting_flags(given: dict[str, Any]) -> RunConfig:
    """The configuration that the flags ask for; a value that does not do is named by its flag."""
    config = RunConfig()
    for name, setting in SETTINGS.items():
        if name in given:
            try:
                config = apply_patch(config, {setting: given[name]})
            except ConfigError as error:
                raise ConfigError(f"--{name.replace('_', '-')} {given[name]}: {error}") from None
    return config


def read_data_flags(given: dict[str, Any]) -> DataConfig:
    """Data settings, paths made absolute; the context of an npz file is what it holds."""
    table: dict[str, Any] = {}
    if "train_npz" in given and "corpus" in given:
        raise ConfigError("--train-npz and --corpus: name one of them.")
    if "train_npz" in given:
        from engine.data.windows import ArrayWindows

        npz = given["train_npz"].absolute()
        if not npz.is_file():
            raise ConfigError(f"--train-npz: {npz} {_why_no_file(npz)}. Name a file of windows.")
        # The playbook's evaluation set is a file of its own: nothing of this one is held back for it.
        table |= {"train_npz": str(npz), "context": ArrayWindows(npz).context, "test_share": 0.0}
    elif "corpus" in given:
        corpus = given["corpus"]
        table["corpus"] = corpus if corpus.startswith("embedded:") else str(Path(corpus).expanduser().absolute())
    if "eval_npz" in given:
        npz = given["eval_npz"].absolute()
        if not npz.is_file():
            raise ConfigError(f"--eval-npz: {npz} {_why_no_file(npz)}. Name a file of windows.")
        table["eval_npz"] = str(npz)
    if "val_split" in given:
        table["val_share"] = given["val_split"]
    try:
        return convert_section(table, DataConfig, where="flags")
    except ConfigError as error:
        # Paths and an open file's context always do, so it is the share that does not.
        raise ConfigError(f"--val-split {given.get('val_split')}: {error} Take a share such as 0.1.") from None


def _why_no_file(path: Path) -> str:
    return "is no regular file" if path.exists() else "does not exist"
