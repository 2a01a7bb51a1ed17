"""AMN, the attention mixture network: the baseline that tells data at fault from model at fault.

    mean     = normalise(mean of the context)
    mixture  = sum of softmax(query . keys) * context
    predict  = normalise(mean + gate * (mixture - mean) + network(mixture, mean, newest))

The gate and the network's last layer start at zero, so that training starts at the context mean and every gain over it
is the training's.

Shapes: B batch, L window length, D vector width, W hidden width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.run.settings import ModelConfig


class AttentionMixture(nn.Module):
    """Predicts the next chunk vector as the context's mean, corrected."""

    def __init__(self, config: ModelConfig, *, dim: int, context: int) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(config.width)
        # Brings the components of unit vectors to about 1, and those of the correction back: undone, a few steps of the
        # usual size would throw the prediction far from the mean that it starts at.
        self.input_scale = math.sqrt(dim)
        self.query_proj = nn.Linear(dim, config.width)
        self.key_proj = nn.Linear(dim, config.width, bias=False)
        self.position_logits = nn.Parameter(torch.zeros(context))
        self.gate = nn.Parameter(torch.zeros(1))
        self.input_proj = nn.Linear(3 * dim, config.width)
        self.layers = nn.ModuleList(_ResidualLayer(config.width) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.output_proj = nn.Linear(config.width, dim)
        nn.init.zeros_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(self, context_BLD: Tensor) -> Tensor:
        """Predict the vector that follows.

        Args:
            context_BLD: (B, L, D) float; unit vectors or zeros (hidden chunks), oldest first; L at most the context
                the model was built for.

        Returns:
            (B, D) unit vectors.
        """
        mean_BD = functional.normalize(context_BLD.mean(dim=1), dim=-1)
        newest_BD = context_BLD[:, -1]
        query_BW = self.query_proj(mean_BD * self.input_scale)
        keys_BLW = self.key_proj(context_BLD * self.input_scale)
        logits_BL = torch.einsum("bw,blw->bl", query_BW, keys_BLW) * self.scale
        logits_BL = logits_BL + self.position_logits[-context_BLD.shape[1] :]
        hidden_BL = context_BLD.abs().amax(dim=-1) == 0
        weights_BL = logits_BL.masked_fill(hidden_BL, torch.finfo(logits_BL.dtype).min).softmax(dim=-1)
        mixture_BD = functional.normalize(torch.einsum("bl,bld->bd", weights_BL, context_BLD), dim=-1)
        features_BW = self.input_proj(torch.cat([mixture_BD, mean_BD, newest_BD], dim=-1) * self.input_scale)
        for layer in self.layers:
            features_BW = layer(features_BW)
        correction_BD = self.output_proj(self.norm(features_BW)) / self.input_scale
        return functional.normalize(mean_BD + self.gate * (mixture_BD - mean_BD) + correction_BD, dim=-1)


class _ResidualLayer(nn.Module):
    """x + MLP(norm(x)), twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.RMSNorm(width, eps=1e-5), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x_BW: Tensor) -> Tensor:
        output_BW: Tensor = x_BW + self.mlp(x_BW)
        return output_BW
