"""Mamba-2 position by position, as its recurrence defines it: no segment sums, no matrix products over positions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.mamba import MambaBlock, MambaStack


def recurrent_ssd(x: Tensor, dt: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, *, forget: bool = True) -> Tensor:
    """state = exp(log_decay) state + dt x b^T; y = state c.

    Args:
        x: (B, L, H, P).
        dt: (B, L, H).
        log_decay: (B, L, H).
        b: (B, L, N).
        c: (B, L, N).
        forget: False leaves the decay out: a planted fault.
    """
    batch, length, heads, width = x.shape
    state = x.new_zeros(batch, heads, width, b.shape[-1])
    outputs = []
    for t in range(length):
        if forget:
            state = state * log_decay[:, t].exp()[:, :, None, None]
        state = state + (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, None, None, :]
        outputs.append((state * c[:, t, None, None, :]).sum(-1))
    return torch.stack(outputs, dim=1)


def recurrent_block(block: MambaBlock, hidden: Tensor, *, forget: bool = True) -> Tensor:
    """A block over (B, L, W), with the convolution written out as well."""
    batch, length, _ = hidden.shape
    projected = _rms(hidden, block.norm.weight) @ block.in_proj.weight.T
    gate = projected[..., : block.inner]
    mixed = projected[..., block.inner : block.inner + block.mixed]
    dt = functional.softplus(projected[..., block.inner + block.mixed :] + block.dt_bias)
    taps = block.conv_weight.shape[0]
    convolved = []
    for t in range(length):
        total = block.conv_bias.expand(batch, -1)
        for tap in range(taps):
            position = t - (taps - 1) + tap
            if position >= 0:
                total = total + block.conv_weight[tap] * mixed[:, position]
        convolved.append(total)
    mixed = functional.silu(torch.stack(convolved, dim=1))
    x = mixed[..., : block.inner].reshape(batch, length, block.heads, block.head_width)
    b = mixed[..., block.inner : block.inner + block.state]
    c = mixed[..., block.inner + block.state :]
    y = recurrent_ssd(x, dt, dt * -block.A_log.exp(), b, c, forget=forget) + block.D[:, None] * x
    gated = _rms(y.reshape(batch, length, block.inner) * functional.silu(gate), block.gated_norm.weight)
    return hidden + gated @ block.out_proj.weight.T


def recurrent_stack(model: MambaStack, context: Tensor, *, forget: bool = True) -> Tensor:
    """The whole model over (B, L, D): every block at every position, and the last one read."""
    hidden = model.input_proj(context * context.shape[-1] ** 0.5)
    for block in model.blocks:
        assert isinstance(block, MambaBlock)
        hidden = recurrent_block(block, hidden, forget=forget)
    prediction = model.output_proj(_rms(hidden, model.norm.weight)[:, -1])
    if model.residual == "context_mean":
        mean = context.mean(1)
        prediction = mean / mean.norm(dim=-1, keepdim=True) + prediction / context.shape[-1] ** 0.5
    return prediction / prediction.norm(dim=-1, keepdim=True)


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight
