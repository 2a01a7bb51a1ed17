"""Models by the kind that a configuration names."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import nn

from engine.models.amn import AttentionMixture
from engine.models.gru import GatedRecurrence
from engine.models.heads import ProjectionHead
from engine.models.mamba import MambaStack
from engine.models.transformer import CausalTransformer
from engine.run.settings import LossConfig, ModelConfig


def build_model(config: ModelConfig, *, dim: int, context: int, seed: int = 0) -> nn.Module:
    """A model of (B, L, D) float32 contexts, L = `context`, D = `dim`, to (B, D) unit vectors.

    The weights are a function of the configuration and `seed` alone; the global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config.kind:
            case "mamba_s":
                return MambaStack(config, dim=dim)
            case "amn":
                return AttentionMixture(config, dim=dim, context=context)
            case "gru":
                return GatedRecurrence(config, dim=dim)
            case "transformer":
                return CausalTransformer(config, dim=dim, context=context)
            case _:
                assert_never(config.kind)


def build_head(config: LossConfig, *, dim: int, seed: int = 0) -> ProjectionHead | None:
    """The projection head of a run, or None where the contrast happens in the space that is searched."""
    if config.contrast_space == "target":
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)  # not the model's numbers again
        return ProjectionHead(dim, config.projection_hidden, config.projection_width)
