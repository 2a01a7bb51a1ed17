"""Checkpoints: folders that are replaced whole, verified before they are believed, and never pickled.

A folder holds `model.safetensors`, `training.pt` (optimizer and progress; read with `weights_only`), and `meta.json`,
which is written last and holds the sha256 of the other two. To replace `best`:

    1. write `.best.new` in full and sync it        `best` is whole
    2. rename `best` to `.best.old`                 `.best.new` and `.best.old` are whole
    3. rename `.best.new` to `best`                 `best` and `.best.old` are whole
    4. remove `.best.old`                           `best` is whole

A kill at any moment leaves a whole checkpoint under one of the three names, and readers try them in that order.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch
from msgspec import Struct
from torch import Tensor, nn

from engine.data.corpus import FloatArray
from engine.models.heads import ProjectionHead
from engine.models.registry import build_head, build_model
from engine.quarantine import Kind, why_unopenable
from engine.run.convert import ConfigError
from engine.run.directory import MAX_JSON
from engine.run.files import open_regular, read_regular, sync_folder, write_atomically
from engine.run.settings import DataConfig, RunConfig

CHECKPOINT_SCHEMA = 1
MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.pt"
META_FILE = "meta.json"

TrainingState = dict[str, Any]
"""Tensors, numbers, strings and containers of them: what `torch.load` reads with `weights_only`."""


class CheckpointMeta(Struct, frozen=True, kw_only=True):
    """`meta.json`: what the weights are, and how to know that they are whole."""

    schema: int = CHECKPOINT_SCHEMA
    kind: str
    """Of model: `mamba_s` or `amn`."""
    config: RunConfig
    data: DataConfig
    corpus_sha256: str = ""
    """Identity of the corpus it learned from; empty for a file of windows."""
    dim: int
    context: int
    epoch: int
    """Epochs that are finished."""
    step: int
    """Optimizer steps taken."""
    val_cosine: float | None
    """Of the last finished epoch."""
    sha256: dict[str, str]
    """By file name."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to predict."""

    model: nn.Module
    """In evaluation mode: (B, L, D) to (B, D) unit vectors."""
    head: ProjectionHead | None
    """The projection head it was trained with; None where the contrast was in the target space."""
    meta: CheckpointMeta

    def predict(self, contexts: FloatArray) -> FloatArray:
        """(B, L, D) float32 contexts to (B, D) float32 unit vectors, computed where the model is."""
        place = next(self.model.parameters()).device
        with torch.inference_mode():
            predicted: FloatArray = self.model(torch.from_numpy(contexts).to(place)).float().cpu().numpy()
        return predicted


def save_checkpoint(
    folder: Path, *, model: nn.Module, head: nn.Module | None, training: TrainingState, meta: CheckpointMeta
) -> int:
    """Replace a checkpoint folder; see the module. Returns its bytes.

    Args:
        folder: `checkpoints/best` and the like.
        model: its weights are stored on the CPU, under `model.`.
        head: the projection head, stored under `head.`.
        training: what a resume needs.
        meta: its `sha256` is filled in here.

    Raises:
        OSError: the disk is full or gone; the old checkpoint stays.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new, old = _leftover(folder, "new"), _leftover(folder, "old")
    if new.exists():
        shutil.rmtree(new)
    try:
        new.mkdir(mode=0o700)
        safetensors.torch.save_file(_weights(model, head), new / MODEL_FILE)
        torch.save(training, new / TRAINING_FILE)
        digests = {name: _sha256(new / name) for name in (MODEL_FILE, TRAINING_FILE)}
        for name in digests:
            _sync_file(new / name)
        meta = msgspec.structs.replace(meta, sha256=digests)
        write_atomically(new / META_FILE, msgspec.json.format(msgspec.json.encode(meta)))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        # Both libraries report a full disk as errors of their own.
        raise error if isinstance(error, OSError) else OSError(f"{folder}: cannot be written: {error}") from error
    num_bytes = sum(file.stat().st_size for file in new.iterdir())
    if folder.exists():
        if old.exists():
            shutil.rmtree(old)
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return num_bytes


def try_first(place: Path, *names: str) -> None:
    """Open files of a checkpoint that somebody names in a child first; one that is not whole is left to its loader.

    The digests say that a checkpoint is as it was written, not who wrote it.

    Args:
        place: a checkpoint folder, or a safetensors file.
        names: of the folder's files; the weights where none is given.

    Raises:
        ConfigError: a file cannot be opened within the limits.
    """
    files = [place]
    if not place.is_file():
        names = names or (MODEL_FILE,)
        try:
            found, _ = _find_whole(place, names)
        except ConfigError:
            return
        files = [found / name for name in names]
    for file in files:
        kind: Kind = "training" if file.name == TRAINING_FILE else "safetensors"
        reason = why_unopenable(kind, file)
        if reason:
            raise ConfigError(f"{file}: cannot be read as {_FORMATS[kind]}: {reason.rstrip('.')}. {_REMEDY}")


def load_model(folder: Path, device: torch.device) -> LoadedModel:
    """Build a checkpoint's model and load its weights, verified.

    Raises:
        ConfigError: there is no such checkpoint, or it is damaged; names the file and says how to go on.
    """
    found, meta = _find_whole(folder, (MODEL_FILE,))
    weights = _read_weights(found / MODEL_FILE)
    model = build_model(meta.config.model, dim=meta.dim, context=meta.context)
    head = build_head(meta.config.loss, dim=meta.dim)
    _load_weights(found / MODEL_FILE, weights, model, head)
    return LoadedModel(model.to(device).eval(), None if head is None else head.to(device).eval(), meta)


def load_head_weights(place: Path) -> dict[str, Tensor]:
    """The projection head's weights, by their names within it; empty where there is no head.

    Args:
        place: a checkpoint folder, verified as `load_model` does, or any safetensors file, also of another program;
            the head's tensors are those below a part named `head`, `proj`, `projection` or `projection_head`.

    Raises:
        ConfigError: there is no such checkpoint, or it is damaged.
    """
    if place.is_file():
        file = place
    else:
        found, _ = _find_whole(place, (MODEL_FILE,))
        file = found / MODEL_FILE
    weights = _read_weights(file)
    heads = {name: _HEAD_PART.search(name) for name in weights}
    return {name[match.end() :]: weights[name] for name, match in heads.items() if match is not None}


_HEAD_PART = re.compile(r"(^|\.)(head|proj|projection|projection_head|proj_head)\.")


def load_training(folder: Path, model: nn.Module, head: nn.Module | None) -> tuple[TrainingState, CheckpointMeta]:
    """Load a checkpoint's weights into `model` and `head`, and return what else a resume needs.

    Raises:
        ConfigError: as `load_model`.
    """
    found, meta = _find_whole(folder, (MODEL_FILE, TRAINING_FILE))
    _load_weights(found / MODEL_FILE, _read_weights(found / MODEL_FILE), model, head)
    try:
        training: TrainingState = torch.load(found / TRAINING_FILE, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the reader trips over in a foreign file; sha256 vouches for ours
        raise ConfigError(f"{found / TRAINING_FILE}: cannot be read: {_first_line(error)}. {_REMEDY}") from None
    return training, meta


def has_checkpoint(folder: Path) -> bool:
    """Whether anything stands under this checkpoint's names, whole or not."""
    return any(place.exists() for place in _places(folder))


def clear_leftovers(checkpoints: Path) -> None:
    """Remove what a killed save has left beside checkpoints that are whole; for who holds the run's lock."""
    for leftover in [*checkpoints.glob(".*.new"), *checkpoints.glob(".*.old")]:
        with contextlib.suppress(ConfigError):
            _verify(checkpoints / leftover.name[1:-4], (MODEL_FILE, TRAINING_FILE))
            shutil.rmtree(leftover, ignore_errors=True)


_FORMATS: dict[Kind, str] = {"training": "a training state", "safetensors": "safetensors"}
_REMEDY = "Use another checkpoint of the run, or train again."


def _places(folder: Path) -> list[Path]:
    """Where a whole checkpoint may be; the folder once more at the end, for a reader that a swap overtook."""
    return [folder, _leftover(folder, "new"), _leftover(folder, "old"), folder]


def _leftover(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _find_whole(folder: Path, names: tuple[str, ...]) -> tuple[Path, CheckpointMeta]:
    """The first place whose files are what its meta.json says."""
    problem = None
    for place in _places(folder):
        if not place.is_dir():
            continue
        try:
            return place, _verify(place, names)
        except ConfigError as error:
            problem = problem or error
    raise problem or ConfigError(
        f"{folder}: there is no checkpoint. A run writes its first ones at the end of its first epoch, or when stopped."
    )


def _verify(place: Path, names: tuple[str, ...]) -> CheckpointMeta:
    if not (place / META_FILE).exists():
        raise ConfigError(
            f"{place}: not a checkpoint: it holds no {META_FILE}, which is written last. Name a run's checkpoints/best "
            "or checkpoints/last."
        )
    try:
        meta = msgspec.json.decode(read_regular(place / META_FILE, MAX_JSON), type=CheckpointMeta)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place / META_FILE}: cannot be read: {_first_line(error)}. {_REMEDY}") from None
    if meta.schema > CHECKPOINT_SCHEMA:
        raise ConfigError(
            f"{place / META_FILE}: written by a newer version (schema {meta.schema}, known up to {CHECKPOINT_SCHEMA}). "
            "Upgrade to read it."
        )
    for name in names:
        try:
            digest = _sha256(place / name)
        except OSError as error:
            raise ConfigError(f"{place / name}: cannot be read: {error.strerror}. {_REMEDY}") from None
        if digest != meta.sha256.get(name):
            raise ConfigError(f"{place / name}: damaged: its sha256 is not the one in {META_FILE}. {_REMEDY}")
    return meta


def _weights(model: nn.Module, head: nn.Module | None) -> dict[str, Tensor]:
    parts = {"model": model} if head is None else {"model": model, "head": head}
    return {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = safetensors.torch.load_file(file)
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise ConfigError(f"{file}: cannot be read as safetensors: {_first_line(error)}. {_REMEDY}") from None
    return weights


def _load_weights(file: Path, weights: dict[str, Tensor], model: nn.Module, head: nn.Module | None) -> None:
    parts = {"model": model} if head is None else {"model": model, "head": head}
    try:
        for part, module in parts.items():
            own = {
                name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")
            }
            module.load_state_dict(own)
    except RuntimeError as error:
        raise ConfigError(f"{file}: its weights do not fit the model in {META_FILE}: {_first_line(error)}.") from None


def _sha256(file: Path) -> str:
    with os.fdopen(open_regular(file), "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync_file(file: Path) -> None:
    """Make a library's file durable, and this user's alone."""
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fchmod(fd, 0o600)
        os.fsync(fd)
    finally:
        os.close(fd)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
