"""GRU: the plain recurrent network, a reference that shows what the larger models' machinery is worth.

    state_t    = GRU(state_{t-1}, input_proj(chunk_t))         for every chunk that is not hidden
    prediction = normalise(output_proj(norm(state_last)))      plus the context's mean, with `residual`

Shapes: B batch, L window length, D vector width, W hidden width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.models.residual import prepare_last_layer, unit_prediction
from engine.run.settings import ModelConfig


class GatedRecurrence(nn.Module):
    """Predicts the next chunk vector from the state after the newest chunk."""

    def __init__(self, config: ModelConfig, *, dim: int) -> None:
        super().__init__()
        self.residual = config.residual
        # Brings the components of unit vectors to about 1, where the gates are neither shut nor linear; a correction is
        # scaled back to theirs.
        self.input_scale = math.sqrt(dim)
        self.input_proj = nn.Linear(dim, config.width)
        self.gru = nn.GRU(config.width, config.width, num_layers=config.layers, batch_first=True)
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.output_proj = nn.Linear(config.width, dim)
        prepare_last_layer(self.output_proj, config)

    def forward(self, context_BLD: Tensor) -> Tensor:
        """Predict the vector that follows.

        Args:
            context_BLD: (B, L, D) float; unit vectors or zeros (hidden chunks), oldest first.

        Returns:
            (B, D) unit vectors.
        """
        visible_BLD, newest_B = move_hidden_last(context_BLD)
        states_BLW, _ = self.gru(self.input_proj(visible_BLD * self.input_scale))
        state_BW = states_BLW[torch.arange(len(states_BLW), device=states_BLW.device), newest_B]
        output_BD: Tensor = self.output_proj(self.norm(state_BW))
        return unit_prediction(output_BD, context_BLD, self.residual)


def move_hidden_last(context_BLD: Tensor) -> tuple[Tensor, Tensor]:
    """The visible chunks of every window, in their order, and the hidden ones behind them.

    A recurrence that runs over the result and is read at the newest visible chunk never meets a hidden one, whichever
    they are, and needs no packing.

    Args:
        context_BLD: (B, L, D); a chunk of zeros is hidden.

    Returns:
        (B, L, D), and (B,) int64, where its newest visible chunk is; 0 where all are hidden.
    """
    hidden_BL = context_BLD.abs().amax(dim=-1) == 0
    order_BL = hidden_BL.byte().argsort(dim=1, stable=True)
    visible_BLD = context_BLD.gather(1, order_BL[..., None].expand_as(context_BLD))
    return visible_BLD, ((~hidden_BL).sum(dim=1) - 1).clamp_min(0)
