"""Retrieval and ridge as their definitions say, one query at a time, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def rank_of_truth(vectors: Array, query: Array, truth: int, left_out: list[int]) -> int:
    """1 plus the number of candidates that score at least as high as the truth."""
    if not np.isfinite(query).all():
        return 0
    bar = float(vectors[truth] @ query)
    rank = 1
    for chunk in range(len(vectors)):
        if chunk != truth and chunk not in left_out and float(vectors[chunk] @ query) >= bar:
            rank += 1
    return rank


def share_within(ranks: list[int], k: int) -> float:
    """Share of the ranks that are 1 to k."""
    return sum(1 for rank in ranks if 1 <= rank <= k) / len(ranks)


def mean_reciprocal_rank(ranks: list[int], k: int) -> float:
    """Mean of 1 / rank over ranks 1 to k, others 0."""
    return sum(1 / rank for rank in ranks if 1 <= rank <= k) / len(ranks)


def ridge_weights(inputs: Array, targets: Array, l2: float) -> Array:
    """Ridge as least squares on data that has sqrt(l2) * identity appended: no normal equations."""
    width = inputs.shape[1]
    stacked = np.vstack([inputs, np.sqrt(l2) * np.eye(width)]).astype(np.float64)
    wanted = np.vstack([targets, np.zeros((width, targets.shape[1]))]).astype(np.float64)
    return np.linalg.lstsq(stacked, wanted, rcond=None)[0]
