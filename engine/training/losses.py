"""The objective: InfoNCE over the whole effective batch, and the autoregressive cosine term.

Targets are frozen vectors and their projection carries no gradient. So the candidates of an effective batch of several
micro-batches are projected once, and each micro-batch's queries are contrasted against all of them: the sum of the
micro-batches' gradients is the big batch's gradient exactly, with one micro-batch of activations in memory.

A queue of earlier targets adds its terms to the denominator alone: log-sum-exps of batch and queue are added.

Shapes: B queries of a micro-batch, E windows of the effective batch, K entries of the queue, D vector width, P width of
the contrast's space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.run.settings import LossConfig
from engine.training.queue_view import QueueView
from engine.training.streamed_contrast import BLOCK, stream_log_sum_exp

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
class QueueCounts:
    """What of the queue reached the loss, summed over a micro-batch's queries."""

    num_negatives: int
    num_same_article: int
    """Entries of the query's own article among them. Must be 0 where masking is on."""
    num_with_negatives: int
    """Queries that saw any of it."""
    same_topic_shares: float
    """Sum over those queries of the share of the entries that are of the query's topic and another article."""


@dataclass(frozen=True)
class MicroLoss:
    """A micro-batch's share of the effective batch's loss; shares add up to the whole."""

    loss: Tensor
    """Scalar with gradient: lambda_con * infonce + lambda_ar * (1 - ar_cosine), over E instead of B."""
    infonce: Tensor
    """Scalar without gradient, nats, over E."""
    ar_cosine: Tensor
    """Scalar without gradient, over E."""
    queue: QueueCounts | None = None
    """None without a queue."""


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
    query_BP: Tensor,
    candidates_EP: Tensor,
    own_B: Tensor,
    masked_BE: Tensor,
    *,
    temperature: float,
    queue_log_sum_exp_B: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each query against its own target, all unmasked candidates and the queue.

    Args:
        query_BP: unit vectors, with gradient.
        candidates_EP: unit vectors.
        own_B: int64, the candidate that answers each query; never masked.
        masked_BE: bool, True where a candidate is left out.
        temperature: divides the cosines; in (0, 1].
        queue_log_sum_exp_B: of the queue's logits, with gradient; -inf where a query sees none of them.

    Returns:
        Scalar: the sum over the queries, in nats.
    """
    logits_BE = (query_BP @ candidates_EP.T) / temperature
    logits_BE = logits_BE.masked_fill(masked_BE, -torch.inf)
    if queue_log_sum_exp_B is None:
        return nn.functional.cross_entropy(logits_BE, own_B, reduction="sum")
    all_B = torch.logaddexp(logits_BE.logsumexp(dim=1), queue_log_sum_exp_B)
    return (all_B - logits_BE.gather(1, own_B[:, None]).squeeze(1)).sum()


def contrast_with_queue(
    query_BP: Tensor, queue: QueueView, *, temperature: float, block: int = BLOCK
) -> tuple[Tensor, QueueCounts]:
    """The queue's part of InfoNCE's denominator, in blocks of so many entries.

    Returns:
        (B,) log-sum-exps with gradient, -inf where a query sees nothing of the queue; and what was seen.
    """
    log_sum_exp_B = query_BP.new_full((len(query_BP),), -torch.inf)
    num_kept_B = torch.zeros(len(query_BP), dtype=torch.int64, device=query_BP.device)
    num_own_article = num_kept_B.sum()  # stays on the device: one wait for all parts
    for part in queue.parts:
        streamed = stream_log_sum_exp(
            query_BP[part.rows], queue.vectors, part.slots, part.mask_block, temperature=temperature, block=block
        )
        log_sum_exp_B = log_sum_exp_B.index_copy(0, part.rows, streamed.log_sum_exp)
        num_kept_B[part.rows] = streamed.num_kept
        num_own_article += streamed.num_own_article
    kept_B = num_kept_B.cpu().numpy()
    seeing = kept_B > 0
    counts = QueueCounts(
        num_negatives=int(kept_B.sum()),
        num_same_article=int(num_own_article),
        num_with_negatives=int(seeing.sum()),
        same_topic_shares=float((queue.num_same_topic[seeing] / kept_B[seeing]).sum()),
    )
    return log_sum_exp_B, counts


def micro_loss(
    prediction_BD: Tensor,
    target_BD: Tensor,
    candidates: Candidates,
    mask: ContrastMask,
    first: int,
    config: LossConfig,
    project: Callable[[Tensor], Tensor] | None,
    queue: QueueView | None = None,
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
        queue: further negatives, as this micro-batch's queries see them; None for none.
    """
    device = prediction_BD.device
    query_BP = prediction_BD if project is None else project(prediction_BD)
    own_B = torch.arange(first, first + len(query_BP), device=device)
    masked_BE = torch.from_numpy(mask.masked).to(device)
    share = 1 / len(candidates.vectors)
    queue_B, counts = None, None
    if queue is not None:
        queue_B, counts = contrast_with_queue(query_BP, queue, temperature=config.temperature)
    infonce = share * info_nce(
        query_BP,
        candidates.vectors,
        own_B,
        masked_BE,
        temperature=config.temperature,
        queue_log_sum_exp_B=queue_B,
    )
    cosines_B = (prediction_BD * target_BD).sum(dim=-1)
    ar = (1 - cosines_B).sum() * share
    return MicroLoss(
        loss=config.lambda_con * infonce + config.lambda_ar * ar,
        infonce=infonce.detach(),
        ar_cosine=cosines_B.detach().sum() * share,
        queue=counts,
    )
