"""Checkpoints: whole after a kill at any moment, refused when damaged, free of pickles."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.models.registry import build_head, build_model
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig, LossConfig, ModelConfig, RunConfig
from engine.training import checkpoint
from engine.training.checkpoint import (
    META_FILE,
    MODEL_FILE,
    TRAINING_FILE,
    CheckpointMeta,
    has_checkpoint,
    load_model,
    load_training,
    save_checkpoint,
)

CONFIG = RunConfig(
    model=ModelConfig(kind="amn", width=8, layers=1), loss=LossConfig(projection_hidden=8, projection_width=4)
)
CPU = torch.device("cpu")


class Killed(BaseException):
    """The process ends here: nothing that follows is done, no handler is run."""


def parts(value: float) -> tuple[nn.Module, nn.Module | None]:
    model, head = build_model(CONFIG.model, dim=6, context=3), build_head(CONFIG.loss, dim=6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model, head


def save(folder: Path, value: float, epoch: int = 1) -> int:
    model, head = parts(value)
    meta = CheckpointMeta(
        kind="amn",
        config=CONFIG,
        data=DataConfig(),
        dim=6,
        context=3,
        epoch=epoch,
        step=10 * epoch,
        val_cosine=0.5,
        sha256={},
    )
    return save_checkpoint(folder, model=model, head=head, training={"note": value}, meta=meta)


def value_of(model: nn.Module) -> float:
    return next(model.parameters()).flatten()[0].item()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "best"


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    assert save(folder, 0.25) == sum(file.stat().st_size for file in folder.iterdir())
    loaded = load_model(folder, CPU)
    assert value_of(loaded.model) == 0.25
    assert not loaded.model.training
    assert loaded.head is not None
    assert loaded.meta.config == CONFIG
    model, head = parts(0.0)
    training, meta = load_training(folder, model, head)
    assert (value_of(model), training, meta.step) == (0.25, {"note": 0.25}, 10)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["best"]


def test_files_are_this_users_alone(folder: Path) -> None:
    save(folder, 0.25)
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o600"}


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """End the process before the n-th call that changes the disk; returns a counter of those calls."""
    calls = 0

    def fatal(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                raise Killed
            return original(*args, **kwargs)

        return call

    monkeypatch.setattr(Path, "mkdir", fatal(Path.mkdir))
    monkeypatch.setattr(Path, "rename", fatal(Path.rename))
    monkeypatch.setattr(shutil, "rmtree", fatal(shutil.rmtree))
    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", fatal(checkpoint.safetensors.torch.save_file))
    monkeypatch.setattr(torch, "save", fatal(torch.save))
    for name in ("write_atomically", "sync_folder", "_sync_file", "_sha256"):
        monkeypatch.setattr(checkpoint, name, fatal(getattr(checkpoint, name)))
    return lambda: calls


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(folder: Path) -> None:
    number, total, moments = 1, 0, 0
    while total == 0:
        shutil.rmtree(folder.parent, ignore_errors=True)
        save(folder, 1.0, epoch=1)
        with pytest.MonkeyPatch.context() as monkeypatch:
            count = kill_at(monkeypatch, number)
            try:
                save(folder, 2.0, epoch=2)
                total = count()
            except Killed:
                moments += 1
        assert value_of(load_model(folder, CPU).model) in (1.0, 2.0)
        save(folder, 3.0, epoch=3)  # and the next save clears what was left
        assert value_of(load_model(folder, CPU).model) == 3.0
        assert [path.name for path in folder.parent.iterdir()] == ["best"]
        number += 1
    assert moments == total >= 10


@pytest.mark.slow
def test_two_kills_in_a_row_leave_a_whole_checkpoint(folder: Path) -> None:
    for first in range(1, 16):
        for second in range(1, 16):
            shutil.rmtree(folder.parent, ignore_errors=True)
            save(folder, 1.0)
            for number, value in ((first, 2.0), (second, 3.0)):
                with pytest.MonkeyPatch.context() as monkeypatch:
                    kill_at(monkeypatch, number)
                    try:
                        save(folder, value)
                    except Killed:
                        continue
            assert value_of(load_model(folder, CPU).model) in (1.0, 2.0, 3.0)


def test_a_full_disk_leaves_the_old_checkpoint_and_no_rubbish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, 1.0)

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("write failed: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device"):
        save(folder, 2.0)
    assert value_of(load_model(folder, CPU).model) == 1.0
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


@pytest.mark.parametrize("name", [MODEL_FILE, TRAINING_FILE])
def test_a_flipped_bit_is_refused_and_named(folder: Path, name: str) -> None:
    save(folder, 1.0)
    data = bytearray((folder / name).read_bytes())
    data[-5] ^= 4
    (folder / name).write_bytes(data)
    with pytest.raises(ConfigError, match=f"{name}: damaged"):
        load_training(folder, *parts(0.0))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0" * 200])
@pytest.mark.parametrize("name", [MODEL_FILE, META_FILE])
def test_foreign_content_is_refused_with_the_files_name(folder: Path, name: str, content: bytes) -> None:
    save(folder, 1.0)
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        load_model(folder, CPU)


def test_a_missing_checkpoint_and_a_missing_file_are_named(folder: Path) -> None:
    assert not has_checkpoint(folder)
    with pytest.raises(ConfigError, match="there is no checkpoint"):
        load_model(folder, CPU)
    save(folder, 1.0)
    (folder / MODEL_FILE).unlink()
    assert has_checkpoint(folder)
    with pytest.raises(ConfigError, match=f"{MODEL_FILE}: cannot be read"):
        load_model(folder, CPU)


def test_weights_of_another_model_do_not_fit(folder: Path) -> None:
    save(folder, 1.0)
    other = build_model(ModelConfig(kind="amn", width=16, layers=1), dim=6, context=3)
    with pytest.raises(ConfigError, match="do not fit"):
        load_training(folder, other, None)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("forced", [False, True])
def test_a_pickle_is_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch, forced: bool) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = folder.parent / "marker"
    save(folder, 1.0)
    torch.save(Trap(marker), folder / TRAINING_FILE)
    monkeypatch.setattr(
        checkpoint,
        "_verify",
        lambda place, _names: checkpoint.msgspec.json.decode((place / META_FILE).read_bytes(), type=CheckpointMeta),
    )
    with pytest.raises(ConfigError, match=TRAINING_FILE):
        load_training(folder, *parts(0.0))
    (folder / TRAINING_FILE).write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(ConfigError, match=TRAINING_FILE):
        load_training(folder, *parts(0.0))
    assert not marker.exists()
