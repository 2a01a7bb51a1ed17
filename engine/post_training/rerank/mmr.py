"""Maximal marginal relevance (Carbonell and Goldstein 1998): like the prediction, and unlike what stands before.

Each next candidate has the highest  trade * relevance - (1 - trade) * (its largest cosine to one already taken),  where
relevance = cosine + directional * direction. A trade of 1 without direction leaves the order by cosine. A
baseline: two numbers, chosen on the fitting articles.

Legend: Q queries, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.post_training.headfile import Arrays
from engine.post_training.rerank.features import Pairs

GRID = tuple(
    {"trade": trade, "directional": directional}
    for trade in (1.0, 0.9, 0.8, 0.6, 0.4)
    for directional in (0.0, 0.05, 0.2)
)
"""Settings that are tried, from no change on; the playbook's is trade 0.6 with directional 0.05."""


@dataclass(frozen=True, slots=True)
class Mmr:
    """The two numbers."""

    trade: float
    """The playbook's lambda: weight of relevance against novelty, in [0, 1]."""
    directional: float
    """Weight of the direction within relevance."""

    def scores(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """(Q, K), higher first: minus the place at which a candidate is taken; places without one come last."""
        relevance = self.trade * (pairs.features["cosine"] + self.directional * pairs.features["direction"])
        num_queries, num_candidates = relevance.shape
        queries = np.arange(num_queries)
        free = pairs.valid.copy()
        nearest = np.full(relevance.shape, -np.inf)  # largest cosine to what was taken
        taken_at = np.full(relevance.shape, num_candidates)
        for place in range(num_candidates):
            novelty = (1 - self.trade) * np.where(np.isfinite(nearest), nearest, 0)
            chosen = np.where(free, relevance - novelty, -np.inf).argmax(axis=1)
            some = free[queries, chosen]
            taken_at[queries[some], chosen[some]] = place
            free[queries, chosen] = False
            nearest = np.maximum(nearest, pairs.similarity[queries, chosen])
        return -taken_at.astype(np.float64)

    def arrays(self) -> Arrays:
        """As it is stored."""
        return {"trade": np.array([self.trade]), "directional": np.array([self.directional])}
