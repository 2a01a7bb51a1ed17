"""InfoNCE query by query, and an effective batch's objective as one big batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def plain_info_nce(queries: Tensor, candidates: Tensor, articles: list[int], *, temperature: float) -> Tensor:
    """Mean over the queries of -log softmax of the own candidate, same-article candidates left out one by one."""
    losses = []
    for i, query in enumerate(queries):
        kept = [
            j
            for j in range(len(candidates))
            if j == i or articles[j] == -1 or articles[i] == -1 or articles[j] != articles[i]
        ]
        exponents = torch.stack([torch.exp(query @ candidates[j] / temperature) for j in kept])
        losses.append(-torch.log(exponents[kept.index(i)] / exponents.sum()))
    return torch.stack(losses).mean()


def big_batch_loss(
    model: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor] | None,
    contexts: Tensor,
    targets: Tensor,
    articles: list[int],
    *,
    temperature: float,
    lambda_con: float,
    lambda_ar: float,
) -> Tensor:
    """The objective over (E, L, D) contexts at once; the targets' side carries no gradient."""
    predictions = model(contexts)
    queries, candidates = predictions, targets
    if head is not None:
        queries, candidates = head(predictions), head(targets).detach()
    infonce = plain_info_nce(queries, candidates, articles, temperature=temperature)
    return lambda_con * infonce + lambda_ar * (1 - (predictions * targets).sum(-1)).mean()
