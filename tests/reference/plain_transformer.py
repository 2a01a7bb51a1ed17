"""The transformer position by position and head by head: softmax written out, unseen positions simply left out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.transformer import CausalTransformer, TransformerBlock


def stepwise_transformer(model: CausalTransformer, context: Tensor, *, causal: bool = True) -> Tensor:
    """The whole model, window by window over (B, L, D).

    Args:
        model: whose weights to use.
        context: (B, L, D).
        causal: False lets every position see the ones after it: a planted fault.
    """
    return torch.stack([_window(model, window, causal) for window in context])


def _window(model: CausalTransformer, window: Tensor, causal: bool) -> Tensor:
    length, dim = window.shape
    first = len(model.positions) - length
    hidden = [
        model.input_proj.weight @ (window[t] * dim**0.5) + model.input_proj.bias + model.positions[first + t]
        for t in range(length)
    ]
    seen = [
        [s for s in range(length) if s == t or ((s < t or not causal) and bool(window[s].any()))] for t in range(length)
    ]
    for block in model.blocks:
        assert isinstance(block, TransformerBlock)
        hidden = _block(block, hidden, seen)
    prediction = model.output_proj.weight @ _rms(hidden[-1], model.norm.weight) + model.output_proj.bias
    if model.residual == "context_mean":
        mean = window.mean(0)
        prediction = mean / mean.norm() + prediction / dim**0.5
    return prediction / prediction.norm()


def _block(block: TransformerBlock, hidden: list[Tensor], seen: list[list[int]]) -> list[Tensor]:
    width = len(hidden[0])
    each = width // block.heads
    normed = [_rms(x, block.attention_norm.weight) for x in hidden]
    queries, keys, values = ([weight @ x for x in normed] for weight in block.qkv_proj.weight.split(width))
    outputs = []
    for t, x in enumerate(hidden):
        mixed = []
        for head in range(block.heads):
            at = slice(head * each, (head + 1) * each)
            scores = torch.stack([queries[t][at] @ keys[s][at] / each**0.5 for s in seen[t]]).exp()
            mixed.append(sum((w * values[s][at] for w, s in zip(scores, seen[t], strict=True))) / scores.sum())
        after = x + block.out_proj.weight @ torch.cat(mixed)
        outputs.append(after + _mlp(block, _rms(after, block.mlp_norm.weight)))
    return outputs


def _mlp(block: TransformerBlock, x: Tensor) -> Tensor:
    up, _, down = block.mlp
    assert isinstance(up, torch.nn.Linear)
    assert isinstance(down, torch.nn.Linear)
    return down.weight @ functional.gelu(up.weight @ x + up.bias) + down.bias


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean() + 1e-5).sqrt() * weight
