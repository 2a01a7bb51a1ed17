"""Features of candidates and MMR as their definitions say, one pair at a time, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def cosine(left: Array, right: Array) -> float:
    """0 where either has no length."""
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / lengths if lengths > 1e-9 else 0.0


def features_of(
    predicted: Array, context: Array, candidates: list[int], vectors: Array, articles: Array, context_chunks: list[int]
) -> dict[str, list[float]]:
    """All features of one query's candidates, none of which is missing."""
    predicted, context = predicted.astype(np.float64), context.astype(np.float64)
    found = [vectors[chunk].astype(np.float64) for chunk in candidates]
    cosines = [cosine(vector, predicted) for vector in found]
    own_article = articles[context_chunks[-1]]
    return {
        "cosine": cosines,
        "gap to first": [max(cosines) - value for value in cosines],
        "local rank": [math.log(1 + sum(1 for other in cosines if other > value)) for value in cosines],
        "direction": [cosine(vector - context[-1], predicted - context[-1]) for vector in found],
        "cosine to last": [cosine(vector, context[-1]) for vector in found],
        "cosine to mean": [cosine(vector, context.mean(axis=0)) for vector in found],
        "cosine to nearest": [max(cosine(vector, chunk) for chunk in context) for vector in found],
        "crowding": [sum(cosine(vector, other) for other in found) / len(found) for vector in found],
        "same article": [float(articles[chunk] == own_article) for chunk in candidates],
        "next chunk": [float(chunk == context_chunks[-1] + 1) for chunk in candidates],
    }


def mmr_order(relevance: list[float], similarity: Array, trade: float) -> list[int]:
    """Positions of the candidates in the order in which they are taken."""
    taken: list[int] = []
    left = list(range(len(relevance)))
    while left:
        worth = {
            one: trade * relevance[one] - (1 - trade) * max((similarity[one, other] for other in taken), default=0.0)
            for one in left
        }
        best = max(left, key=lambda one: worth[one])
        taken.append(best)
        left.remove(best)
    return taken
