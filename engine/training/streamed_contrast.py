"""log-sum-exp of a query's logits over very many keys, exactly and without ever holding those logits.

As in flash attention (Dao and others, 2022) with the values equal to the keys: one pass over blocks of keys keeps for
each query the largest logit so far, the sum of exponentials relative to it, and the sum of keys weighted by them. The
gradient of the log-sum-exp is that weighted mean over the temperature, so backward computes nothing again.

Shapes: B queries, K keys, P width, k keys of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK = 512
"""Keys at once: logits of 1,024 queries by 512 keys are 2 MB, a processor core's cache."""

MaskBlock = Callable[[slice, Tensor, tuple[Tensor, Tensor]], Tensor]
"""Fills a (B, k) mask for a block of keys; see `QueuePart.mask_block`."""


@dataclass(frozen=True)
class Streamed:
    """What a pass over the keys came to."""

    log_sum_exp: Tensor
    """(B,) with gradient; -inf where everything is masked."""
    num_kept: Tensor
    """(B,) int64: keys that are not masked."""
    num_own_article: Tensor
    """Scalar int64: what `mask_block` counted."""


def stream_log_sum_exp(
    query_BP: Tensor,
    keys_KP: Tensor,
    slots: Tensor,
    mask_block: MaskBlock,
    *,
    temperature: float,
    block: int = BLOCK,
) -> Streamed:
    """log(sum over unmasked keys of exp(query . key / temperature)).

    Args:
        query_BP: float32 or float64, with gradient.
        keys_KP: without gradient, computed with in the queries' dtype; K may be 0.
        slots: int64, the keys to take, each once.
        mask_block: which keys are left out.
        temperature: divides the products; above 0.
        block: keys at once.
    """
    return Streamed(*_StreamedLogSumExp.apply(query_BP, keys_KP, slots, mask_block, temperature, block))  # type: ignore[no-untyped-call]


class _StreamedLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # torch's own, untyped
        query_BP: Tensor,
        keys_KP: Tensor,
        slots: Tensor,
        mask_block: MaskBlock,
        temperature: float,
        block: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_queries, num_keys = len(query_BP), len(slots)
        scaled_BP = query_BP / temperature
        largest_B1 = query_BP.new_full((num_queries, 1), -torch.inf)
        sum_B1 = query_BP.new_zeros(num_queries, 1)
        weighted_BP = torch.zeros_like(query_BP)
        num_masked_B = torch.zeros(num_queries, dtype=torch.int64, device=query_BP.device)
        num_own = num_masked_B.sum()
        buffers = _Buffers(query_BP, min(block, num_keys))
        for start in range(0, num_keys, block):
            stop = min(start + block, num_keys)
            keys_kP = keys_KP.index_select(0, slots[start:stop]).to(query_BP.dtype)
            logits_Bk, masked_Bk, scratch = buffers.of_width(stop - start)
            num_own += mask_block(slice(start, stop), masked_Bk, scratch)
            num_masked_B += torch.count_nonzero(masked_Bk, dim=1)
            torch.mm(scaled_BP, keys_kP.T, out=logits_Bk)
            logits_Bk.masked_fill_(masked_Bk, -torch.inf)
            before_B1, largest_B1 = largest_B1, torch.maximum(largest_B1, logits_Bk.amax(dim=1, keepdim=True))
            # -inf - -inf is not a number: a query that has seen nothing yet is shifted by 0.
            shift_B1 = torch.where(largest_B1 == -torch.inf, 0.0, largest_B1)
            faded_B1 = torch.exp(before_B1 - shift_B1)
            logits_Bk.sub_(shift_B1).exp_()
            sum_B1.mul_(faded_B1).add_(logits_Bk.sum(dim=1, keepdim=True))
            weighted_BP.mul_(faded_B1).addmm_(logits_Bk, keys_kP)
        # Where nothing was seen the weighted sum is zero, and so is the gradient.
        weighted_BP.div_(torch.where(sum_B1 > 0, sum_B1, 1.0) * temperature)
        ctx.save_for_backward(weighted_BP)
        num_kept_B = num_keys - num_masked_B
        ctx.mark_non_differentiable(num_kept_B, num_own)
        return (largest_B1 + sum_B1.log()).squeeze(1), num_kept_B, num_own

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_B: Tensor, *_counts: Tensor) -> tuple[Tensor | None, ...]:
        (weighted_BP,) = ctx.saved_tensors
        return grad_B[:, None] * weighted_BP, None, None, None, None, None


class _Buffers:
    """Memory of a block, written over by every other: fresh memory costs more than the arithmetic."""

    def __init__(self, query_BP: Tensor, block: int) -> None:
        num_queries = len(query_BP)
        self._logits = query_BP.new_empty(num_queries * block)
        self._masks = [torch.empty(num_queries * block, dtype=torch.bool, device=query_BP.device) for _ in range(3)]
        self._num_queries = num_queries

    def of_width(self, width: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Logits, mask and two scratch masks of (B, width), contiguous."""
        logits, masked, first, second = (
            flat[: self._num_queries * width].view(self._num_queries, width) for flat in (self._logits, *self._masks)
        )
        return logits, masked, (first, second)
