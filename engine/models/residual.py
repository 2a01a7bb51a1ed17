"""`residual = "context_mean"`: a model predicts the correction to the mean of the context instead of the whole vector.

Its last layer starts at zero, so that it starts exactly at the mean: what an untrained guess should be on text.

Shapes: B batch, L window length, D vector width.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from engine.run.settings import ModelConfig


def prepare_last_layer(output_proj: nn.Linear, config: ModelConfig) -> None:
    """Zero the last layer of a model that predicts a correction."""
    if config.residual == "context_mean":
        nn.init.zeros_(output_proj.weight)
        nn.init.zeros_(output_proj.bias)


def unit_prediction(output_BD: Tensor, context_BLD: Tensor, residual: str) -> Tensor:
    """The prediction that a model's last layer comes to.

    Args:
        output_BD: (B, D) of the last layer.
        context_BLD: (B, L, D) unit vectors or zeros, as the model saw them.
        residual: `none` or `context_mean`.

    Returns:
        (B, D) unit vectors.
    """
    if residual == "context_mean":
        mean_BD = functional.normalize(context_BLD.mean(dim=1), dim=-1)
        # a layer's outputs are of size 1, a unit vector's components of 1 / sqrt(D): unscaled, a few steps of the usual
        # size would throw the prediction far from the mean that it starts at
        output_BD = mean_BD + output_BD / math.sqrt(context_BLD.shape[-1])
    return functional.normalize(output_BD, dim=-1)
