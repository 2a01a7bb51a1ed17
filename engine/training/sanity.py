"""What a model's predictions on validation windows say of it: cosine, margin, collapse, and accuracy in both spaces.

The means over pairs of windows are exact at every size: a sum of dot products is the dot product of sums.

Shapes: V validation windows, D vector width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Rows = TypeVar("_Rows", Tensor, NDArray[np.int64])

MAX_SPECTRUM = 512
"""Predictions whose spectrum is taken, evenly spaced: the cost grows with the cube, the figure hardly moves."""
MAX_RANKED = 2048
"""Validation windows ranked against each other, evenly spaced; top-1 accuracy depends on how many there are."""


@dataclass(frozen=True)
class Inspection:
    """Figures of one epoch's predictions; see `EpochRecord` for what each means."""

    val_cosine: float
    margin: float
    effective_rank: float
    effective_rank_limit: int
    pairwise_cosine: float
    top1_target: float
    top1_projected: float | None
    """None where there is no projection head."""
    ranked_apart: int | None
    """Likewise."""
    nearer_projected: float | None
    """None where there is no projection head, or no window is ranked apart."""


def inspect_predictions(
    predictions: Tensor,
    targets: Tensor,
    articles: NDArray[np.int64],
    project: Callable[[Tensor], Tensor] | None = None,
) -> Inspection:
    """Judge predictions against their targets.

    Args:
        predictions: (V, D) unit vectors on the CPU, V at least 1.
        targets: (V, D) unit vectors, likewise; row i answers prediction i.
        articles: (V,) article of each window; -1 where unknown, and then only its own target is left out of the margin.
        project: the projection head, if there is one.
    """
    cosines = (predictions * targets).sum(dim=1, dtype=torch.float64)
    spectrum = evenly(predictions, MAX_SPECTRUM)
    few = evenly(predictions, MAX_RANKED), evenly(targets, MAX_RANKED)
    searched = ranks_of_own(*few)
    behind = None if project is None else ranks_of_own(project(few[0]), project(few[1]))
    apart = 0 if behind is None else int((behind != searched).sum())
    return Inspection(
        val_cosine=float(cosines.mean()),
        margin=float(cosines.mean()) - mean_negative_cosine(predictions, targets, articles),
        effective_rank=effective_rank(spectrum),
        effective_rank_limit=min(spectrum.shape),
        pairwise_cosine=mean_pairwise_cosine(predictions),
        top1_target=share_first(searched),
        top1_projected=None if behind is None else share_first(behind),
        ranked_apart=None if behind is None else apart,
        nearer_projected=float((behind < searched).sum()) / apart if behind is not None and apart else None,
    )


def mean_negative_cosine(predictions: Tensor, targets: Tensor, articles: NDArray[np.int64]) -> float:
    """Mean cosine of predictions to the targets of other articles; NaN where there is no other article."""
    predictions, targets = predictions.double(), targets.double()
    known = articles >= 0
    groups = np.where(known, articles, -1 - np.arange(len(articles)))  # every unknown one is an article of its own
    _, group_of_window, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    index = torch.from_numpy(group_of_window.reshape(-1)).to(predictions.device)
    blank = predictions.new_zeros(len(sizes), predictions.shape[1])
    own_pairs = (blank.index_add(0, index, predictions) * blank.index_add(0, index, targets)).sum()
    num_pairs = len(articles) ** 2 - int((sizes.astype(np.int64) ** 2).sum())
    if num_pairs == 0:
        return float("nan")
    return float(predictions.sum(0) @ targets.sum(0) - own_pairs) / num_pairs


def mean_pairwise_cosine(vectors: Tensor) -> float:
    """Mean cosine between different rows of (V, D) unit vectors; NaN for a single one. Near 1: collapsed."""
    vectors = vectors.double()
    count = len(vectors)
    if count < 2:
        return float("nan")
    total = vectors.sum(0)
    return float(total @ total - (vectors * vectors).sum()) / (count * (count - 1))


def effective_rank(vectors: Tensor) -> float:
    """exp of the entropy of the normalised singular values of (V, D): 1 for copies of one vector, at most min(V, D).

    Roy and Vetterli, "The effective rank", 2007.
    """
    vectors = vectors.double()
    gram = vectors @ vectors.T if vectors.shape[0] < vectors.shape[1] else vectors.T @ vectors
    if not torch.isfinite(gram).all():
        return float("nan")
    singular = torch.linalg.eigvalsh(gram.cpu()).clamp_min(0).sqrt()
    shares = singular / singular.sum()
    # The eigenvalues of a rank-deficient Gram matrix are rounding noise, whose roots would count.
    shares = shares[singular > singular.max() * 1e-6]
    return float(torch.exp(-(shares * shares.log()).sum()))


def ranks_of_own(queries: Tensor, candidates: Tensor) -> Tensor:
    """(V,) int64 how many other candidates a query is at least as close to as to its own, row for row; 0 is a hit.

    A tie is no hit: collapsed predictions rank nothing. Nor is what is not finite.
    """
    cosines = queries @ candidates.T
    own = cosines.diagonal().clone()[:, None]
    cosines.fill_diagonal_(-torch.inf)
    return (~(own > cosines)).sum(dim=1)


def share_first(ranks: Tensor) -> float:
    """Top-1 accuracy: share of (V,) ranks that are 0."""
    return float((ranks == 0).double().mean())


def evenly(rows: _Rows, most: int) -> _Rows:
    """At most `most` rows of a tensor or array, evenly spaced."""
    count = len(rows)
    if count <= most:
        return rows
    places = np.arange(most) * count // most
    return rows[torch.from_numpy(places).to(rows.device)] if isinstance(rows, Tensor) else rows[places]
