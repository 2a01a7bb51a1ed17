"""The objective: InfoNCE over the whole effective batch, and the autoregressive cosine term.

Targets are frozen vectors and their projection carries no gradient. So the candidates of an effective batch of several
micro-batches are projected once, and each micro-batch's queries are contrasted against all of them: the sum of the
micro-batches' gradients is the big batch's gradient exactly, with one micro-batch of activations in memory.

Shapes: B queries of a micro-batch, E windows of the effective batch, D vector width, P width of the contrast's space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.run.settings import LossConfig

UNKNOWN_ARTICLE = -1


@dataclass(frozen=True)
class Candidates:
    """What the queries of an effective batch are contrasted against."""

    vectors: Tensor
    """(E, P) unit vectors without gradient."""
    articles: NDArray[np.int64]
    """(E,); -1 where it is unknown."""


@dataclass(frozen=True)
class ContrastMask:
    """Which candidates a micro-batch's queries do not see, and what that comes to."""

    masked: NDArray[np.bool_]
    """(B, E)."""
    num_negatives: int
    """Negatives that reach the loss, summed over the queries."""
    num_masked: int
    """Candidates of the query's own article that are left out."""
    num_same_article: int
    """Candidates of the query's own article that reach the loss all the same. Must be 0 where masking is on."""
    num_unknown: int
    """Queries without an article: nothing can be masked for them."""


@dataclass(frozen=True)
class MicroLoss:
    """A micro-batch's share of the effective batch's loss; shares add up to the whole."""

    loss: Tensor
    """Scalar with gradient: lambda_con * infonce + lambda_ar * (1 - ar_cosine), over E instead of B."""
    infonce: Tensor
    """Scalar without gradient, nats, over E."""
    ar_cosine: Tensor
    """Scalar without gradient, over E."""


def project_candidates(
    targets_ED: Tensor, articles_E: NDArray[np.int64], project: Callable[[Tensor], Tensor] | None
) -> Candidates:
    """Candidates of an effective batch: its targets, behind the head if there is one, without gradient."""
    if project is None:
        return Candidates(targets_ED, articles_E)
    with torch.no_grad():
        return Candidates(project(targets_ED), articles_E)


def mask_candidates(articles_E: NDArray[np.int64], first: int, count: int, *, mask_same_article: bool) -> ContrastMask:
    """Mask for the queries `first` to `first + count` of an effective batch.

    Args:
        articles_E: article of each window; -1 is unknown, and never the same as anything.
        first: the micro-batch's place in the effective batch; row i's own target is candidate `first + i`.
        count: its queries.
        mask_same_article: leave out the other candidates of the query's article.
    """
    articles_B = articles_E[first : first + count]
    same_BE = (articles_B[:, None] == articles_E) & (articles_B != UNKNOWN_ARTICLE)[:, None]
    same_BE[np.arange(count), first + np.arange(count)] = False  # the positive stays
    masked_BE = same_BE if mask_same_article else np.zeros_like(same_BE)
    num_masked = int(masked_BE.sum())
    return ContrastMask(
        masked=masked_BE,
        num_negatives=count * (len(articles_E) - 1) - num_masked,
        num_masked=num_masked,
        num_same_article=int((same_BE & ~masked_BE).sum()),
        num_unknown=int((articles_B == UNKNOWN_ARTICLE).sum()),
    )


def info_nce(
    query_BP: Tensor, candidates_EP: Tensor, own_B: Tensor, masked_BE: Tensor, *, temperature: float
) -> Tensor:
    """Cross-entropy of each query against its own target and all unmasked candidates.

    Args:
        query_BP: unit vectors, with gradient.
        candidates_EP: unit vectors.
        own_B: int64, the candidate that answers each query; never masked.
        masked_BE: bool, True where a candidate is left out.
        temperature: divides the cosines; in (0, 1].

    Returns:
        Scalar: the sum over the queries, in nats.
    """
    logits_BE = (query_BP @ candidates_EP.T) / temperature
    logits_BE = logits_BE.masked_fill(masked_BE, -torch.inf)
    return nn.functional.cross_entropy(logits_BE, own_B, reduction="sum")


def micro_loss(
    prediction_BD: Tensor,
    target_BD: Tensor,
    candidates: Candidates,
    mask: ContrastMask,
    first: int,
    config: LossConfig,
    project: Callable[[Tensor], Tensor] | None,
) -> MicroLoss:
    """A micro-batch's share of the objective.

    Args:
        prediction_BD: unit vectors, with gradient.
        target_BD: unit vectors.
        candidates: of the effective batch that this micro-batch is part of.
        mask: of this micro-batch.
        first: its place in the effective batch.
        config: weights and temperature.
        project: the projection head, or None to contrast the vectors themselves.
    """
    device = prediction_BD.device
    query_BP = prediction_BD if project is None else project(prediction_BD)
    own_B = torch.arange(first, first + len(query_BP), device=device)
    masked_BE = torch.from_numpy(mask.masked).to(device)
    share = 1 / len(candidates.vectors)
    infonce = info_nce(query_BP, candidates.vectors, own_B, masked_BE, temperature=config.temperature) * share
    cosines_B = (prediction_BD * target_BD).sum(dim=-1)
    ar = (1 - cosines_B).sum() * share
    return MicroLoss(
        loss=config.lambda_con * infonce + config.lambda_ar * ar,
        infonce=infonce.detach(),
        ar_cosine=cosines_B.detach().sum() * share,
    )
