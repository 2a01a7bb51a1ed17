"""Transformer: the plain causal encoder, a reference that shows what the larger models' machinery is worth.

    hidden     = input_proj(context) + positions
    hidden     = hidden + attention(norm(hidden))              in every block
    hidden     = hidden + MLP(norm(hidden))
    prediction = normalise(output_proj(norm(hidden_last)))     plus the context's mean, with `residual`

Shapes: B batch, L window length, D vector width, W hidden width = H * P, H heads, P channels of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.residual import prepare_last_layer, unit_prediction
from engine.run.settings import ModelConfig

POSITION_STD = 0.02
"""Of the positions at the start: small beside the projected chunks, whose components are about 0.6."""


class CausalTransformer(nn.Module):
    """Predicts the next chunk vector from the newest position of a pre-norm causal encoder."""

    def __init__(self, config: ModelConfig, *, dim: int, context: int) -> None:
        super().__init__()
        self.residual = config.residual
        # Brings the components of unit vectors to about 1, the size that norms produce; a correction is scaled back.
        self.input_scale = math.sqrt(dim)
        self.input_proj = nn.Linear(dim, config.width)
        self.positions = nn.Parameter(torch.empty(context, config.width).normal_(std=POSITION_STD))
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.output_proj = nn.Linear(config.width, dim)
        prepare_last_layer(self.output_proj, config)

    def forward(self, context_BLD: Tensor) -> Tensor:
        """Predict the vector that follows.

        Args:
            context_BLD: (B, L, D) float; unit vectors or zeros (hidden chunks), oldest first; L at most the context
                the model was built for.

        Returns:
            (B, D) unit vectors.
        """
        # Positions count from the newest chunk, so that a shorter window means the same to the model.
        hidden_BLW = self.input_proj(context_BLD * self.input_scale) + self.positions[-context_BLD.shape[1] :]
        seen_B1LL = visible_positions(context_BLD)
        for block in self.blocks:
            hidden_BLW = block(hidden_BLW, seen_B1LL)
        output_BD: Tensor = self.output_proj(self.norm(hidden_BLW[:, -1]))
        return unit_prediction(output_BD, context_BLD, self.residual)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.width // config.head_width
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.qkv_proj = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out_proj = nn.Linear(config.width, config.width, bias=False)
        inner = config.expand * config.width
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.mlp = nn.Sequential(nn.Linear(config.width, inner), nn.GELU(), nn.Linear(inner, config.width))

    def forward(self, hidden_BLW: Tensor, seen_B1LL: Tensor) -> Tensor:
        """Mix along the window.

        Args:
            hidden_BLW: (B, L, W).
            seen_B1LL: bool, see `visible_positions`.

        Returns:
            (B, L, W).
        """
        batch, length, _ = hidden_BLW.shape
        qkv_BLW = self.qkv_proj(self.attention_norm(hidden_BLW))
        query, key, value = qkv_BLW.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, L, P) each
        mixed_BHLP = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen_B1LL)
        hidden_BLW = hidden_BLW + self.out_proj(mixed_BHLP.transpose(1, 2).flatten(2))
        output_BLW: Tensor = hidden_BLW + self.mlp(self.mlp_norm(hidden_BLW))
        return output_BLW


def visible_positions(context_BLD: Tensor) -> Tensor:
    """Which positions each position attends to: itself, and of those before it the ones that are not hidden.

    Args:
        context_BLD: (B, L, D); a chunk of zeros is hidden.

    Returns:
        (B, 1, L, L) bool, indexed [batch, 0, reader, read].
    """
    length = context_BLD.shape[1]
    visible_BL = context_BLD.abs().amax(dim=-1) != 0
    itself = torch.eye(length, dtype=torch.bool, device=context_BLD.device)
    before = torch.ones_like(itself).tril(-1)
    return (visible_BL[:, None] & before | itself)[:, None]
