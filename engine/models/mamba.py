"""Mamba-S: a stack of Mamba-2 (state space duality) blocks in plain PyTorch, exact at every length.

Shapes: B batch, L window length, D vector width, W hidden width, I inner width = expand * W = H * P, H heads,
P channels of a head, N state width, K convolution width.

Dao and Gu, "Transformers are SSMs", 2024 (arXiv:2405.21060), section 6.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from engine.models.residual import prepare_last_layer, unit_prediction
from engine.models.ssd import ssd
from engine.run.settings import ModelConfig


class MambaStack(nn.Module):
    """Predicts the next chunk vector from a window's context."""

    def __init__(self, config: ModelConfig, *, dim: int) -> None:
        super().__init__()
        self.residual = config.residual
        # Unit vectors have components of about 1 / sqrt(D); scaled, they meet the blocks at the size norms produce, and
        # a correction is scaled back to theirs.
        self.input_scale = math.sqrt(dim)
        self.input_proj = nn.Linear(dim, config.width)
        self.blocks = nn.ModuleList(MambaBlock(config) for _ in range(config.layers))
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
        hidden_BLW = self.input_proj(context_BLD * self.input_scale)
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            hidden_BLW = block(hidden_BLW, last_only=index == last)
        output_BD: Tensor = self.output_proj(self.norm(hidden_BLW[:, -1]))
        return unit_prediction(output_BD, context_BLD, self.residual)


class MambaBlock(nn.Module):
    """Norm, gated SSD mixer with a short causal convolution, residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner, self.state = config.width * config.expand, config.state
        self.heads, self.head_width = self.inner // config.head_width, config.head_width
        self.mixed = self.inner + 2 * self.state
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.in_proj = nn.Linear(config.width, self.inner + self.mixed + self.heads, bias=False)
        bound = 1 / math.sqrt(config.conv)
        self.conv_weight = nn.Parameter(torch.empty(config.conv, self.mixed).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(self.mixed).uniform_(-bound, bound))
        # Time steps log-uniform in [1e-3, 1e-1] and decays uniform in [1, 16]: the ranges of the published models.
        dt = torch.exp(torch.empty(self.heads).uniform_(math.log(1e-3), math.log(1e-1)))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log_())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.gated_norm = nn.RMSNorm(self.inner, eps=1e-5)
        self.out_proj = nn.Linear(self.inner, config.width, bias=False)

    def forward(self, hidden_BLW: Tensor, *, last_only: bool = False) -> Tensor:
        """Mix along the window.

        Args:
            hidden_BLW: (B, L, W).
            last_only: compute the output of the last position alone, which is all that the stack's last block needs.

        Returns:
            (B, L, W), or (B, 1, W) with `last_only`.
        """
        batch, length, _ = hidden_BLW.shape
        normed_BLW = self.norm(hidden_BLW)
        kept = slice(length - 1, length) if last_only else slice(None)
        weight_z, weight_rest = torch.split_with_sizes(self.in_proj.weight, [self.inner, self.mixed + self.heads])
        gate_BLI = functional.linear(normed_BLW[:, kept], weight_z)
        projected = functional.linear(normed_BLW, weight_rest)
        mixed_BLM, dt_BLH = torch.split_with_sizes(projected, [self.mixed, self.heads], dim=-1)
        mixed_BLM = functional.silu(causal_conv(mixed_BLM, self.conv_weight, self.conv_bias))
        x_BLI, B_BLN, C_BLN = torch.split_with_sizes(mixed_BLM, [self.inner, self.state, self.state], dim=-1)
        x_BLHP = x_BLI.view(batch, length, self.heads, self.head_width)
        dt_BLH = functional.softplus(dt_BLH + self.dt_bias)
        log_decay_BLH = -dt_BLH * torch.exp(self.A_log)
        y_BLHP = ssd(x_BLHP, dt_BLH, log_decay_BLH, B_BLN, C_BLN, last_only=last_only)
        y_BLHP = y_BLHP + x_BLHP[:, kept] * self.D[:, None]
        gated_BLI = self.gated_norm(y_BLHP.flatten(2) * functional.silu(gate_BLI))
        output_BLW: Tensor = hidden_BLW[:, kept] + self.out_proj(gated_BLI)
        return output_BLW


def causal_conv(x_BLM: Tensor, weight_KM: Tensor, bias_M: Tensor) -> Tensor:
    """Depthwise convolution over the present and the K - 1 positions before it; positions before the window are 0.

    Args:
        x_BLM: inputs.
        weight_KM: taps, oldest first.
        bias_M: added to every position.

    Returns:
        (B, L, M).
    """
    convolved: Tensor = _CausalConv.apply(x_BLM, weight_KM, bias_M)  # type: ignore[no-untyped-call]
    return convolved


class _CausalConv(torch.autograd.Function):
    """A sum of K shifted products, for windows of a few positions several times faster on a CPU than `conv1d`.

    Its gradient is written out because autograd's own, through slices, fills a whole tensor of zeros for each shift.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x_BLM: Tensor, weight_KM: Tensor, bias_M: Tensor) -> Tensor:
        ctx.save_for_backward(x_BLM, weight_KM)
        out_BLM = torch.addcmul(bias_M, x_BLM, weight_KM[-1])
        for back in _shifts(x_BLM, weight_KM):
            out_BLM[:, back:].addcmul_(x_BLM[:, :-back], weight_KM[-1 - back])
        return out_BLM

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # Any: saved_tensors is not declared
        x_BLM, weight_KM = ctx.saved_tensors
        (grad_BLM,) = grads
        grad_x_BLM = grad_BLM * weight_KM[-1]
        grad_weight_KM = torch.zeros_like(weight_KM)
        grad_weight_KM[-1] = (grad_BLM * x_BLM).sum((0, 1))
        for back in _shifts(x_BLM, weight_KM):
            grad_x_BLM[:, :-back].addcmul_(grad_BLM[:, back:], weight_KM[-1 - back])
            grad_weight_KM[-1 - back] = (grad_BLM[:, back:] * x_BLM[:, :-back]).sum((0, 1))
        return grad_x_BLM, grad_weight_KM, grad_BLM.sum((0, 1))


def _shifts(x_BLM: Tensor, weight_KM: Tensor) -> range:
    """How far back the taps before the present one reach within this window."""
    return range(1, min(weight_KM.shape[0], x_BLM.shape[1]))
