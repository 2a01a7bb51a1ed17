"""Checkpoints that hold one number, of any size: to tell which of several saves is the one that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.models.registry import build_head, build_model
from engine.run.settings import DataConfig, LossConfig, ModelConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta, load_model, save_checkpoint

CPU = torch.device("cpu")


def _config(width: int) -> RunConfig:
    return RunConfig(
        model=ModelConfig(kind="amn", width=width, layers=1), loss=LossConfig(projection_hidden=8, projection_width=4)
    )


def parts(value: float, width: int = 8) -> tuple[nn.Module, nn.Module | None]:
    """A model whose every weight is this number, and a head."""
    config = _config(width)
    model = build_model(config.model, dim=6, context=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model, build_head(config.loss, dim=6)


def save_value(folder: Path, value: float, *, width: int = 8, training: Any = None) -> int:
    """Save a checkpoint of this number; returns its bytes."""
    model, head = parts(value, width)
    meta = CheckpointMeta(
        kind="amn",
        config=_config(width),
        data=DataConfig(),
        dim=6,
        context=3,
        epoch=1,
        step=1,
        val_cosine=0.5,
        sha256={},
    )
    state = {"moments": [parameter.detach() for parameter in model.parameters()]} if training is None else training
    return save_checkpoint(folder, model=model, head=head, training=state, meta=meta)


def load_value(folder: Path) -> float:
    """The number that a checkpoint holds, verified."""
    return float(next(load_model(folder, CPU).model.parameters()).flatten()[0].item())
