"""The GRU model position by position and gate by gate: no nn.GRU, no sorting, hidden chunks simply skipped."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.models.gru import GatedRecurrence


def stepwise_gru(model: GatedRecurrence, context: Tensor, *, skip_hidden: bool = True) -> Tensor:
    """The whole model, window by window over (B, L, D).

    Args:
        model: whose weights to use.
        context: (B, L, D).
        skip_hidden: False feeds hidden chunks as if they were chunks: a planted fault.
    """
    return torch.stack([_window(model, window, skip_hidden) for window in context])


def _window(model: GatedRecurrence, window: Tensor, skip_hidden: bool) -> Tensor:
    layers = model.gru.num_layers
    states = [window.new_zeros(model.gru.hidden_size) for _ in range(layers)]
    for chunk in window:
        if skip_hidden and not chunk.any():
            continue
        value = model.input_proj.weight @ (chunk * len(chunk) ** 0.5) + model.input_proj.bias
        for layer in range(layers):
            value = states[layer] = _cell(model, layer, value, states[layer])
    normed = states[-1] / (states[-1].pow(2).mean() + 1e-5).sqrt() * model.norm.weight
    prediction = model.output_proj.weight @ normed + model.output_proj.bias
    if model.residual == "context_mean":
        mean = window.mean(0)
        prediction = mean / mean.norm() + prediction / window.shape[-1] ** 0.5
    return prediction / prediction.norm()


def _cell(model: GatedRecurrence, layer: int, value: Tensor, state: Tensor) -> Tensor:
    weights = dict(model.gru.named_parameters())
    from_input = weights[f"weight_ih_l{layer}"] @ value + weights[f"bias_ih_l{layer}"]
    from_state = weights[f"weight_hh_l{layer}"] @ state + weights[f"bias_hh_l{layer}"]
    input_reset, input_update, input_new = from_input.chunk(3)
    state_reset, state_update, state_new = from_state.chunk(3)
    reset = torch.sigmoid(input_reset + state_reset)
    update = torch.sigmoid(input_update + state_update)
    new = torch.tanh(input_new + reset * state_new)
    return (1 - update) * new + update * state
