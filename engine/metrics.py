"""Figures of retrieval, from the ranks of the truth. Pure functions.

A rank is 1 for the first candidate and 0 for a truth that was not found at all.

Legend: Q queries.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.run.evals import Latency, RetrievalFigures

Ranks = npt.NDArray[np.int64]


def contain_at_k(ranks: Ranks, k: int) -> float:
    """Share of queries whose truth is among the first k candidates that the search gives.

    Args:
        ranks: (Q,) int64 ranks before any reranking; Q >= 1.
        k: candidates, at least 1.
    """
    return float(((ranks >= 1) & (ranks <= k)).mean())


def recall_at_k(ranks: Ranks, k: int) -> float:
    """Share of queries whose truth is among the first k after ranking: `contain_at_k` of the final ranks."""
    return contain_at_k(ranks, k)


def mrr_at_k(ranks: Ranks, k: int) -> float:
    """Mean of 1 / rank over queries; 0 for a truth that is not among the first k."""
    found = (ranks >= 1) & (ranks <= k)
    return float(np.where(found, 1.0 / np.maximum(ranks, 1), 0.0).mean())


def eff(recall: float, containment: float) -> float:
    """How much of what was contained is ranked high: recall / containment, 0 where nothing is contained."""
    return recall / containment if containment else 0.0


def retrieval_figures(ranks: Ranks) -> RetrievalFigures:
    """All figures of (Q,) ranks, without a reranker: by cosine."""
    contain50, r5 = contain_at_k(ranks, 50), recall_at_k(ranks, 5)
    return RetrievalFigures(
        contain20=contain_at_k(ranks, 20),
        contain50=contain50,
        r1=recall_at_k(ranks, 1),
        r5=r5,
        r10=recall_at_k(ranks, 10),
        mrr10=mrr_at_k(ranks, 10),
        eff5=eff(r5, contain50),
    )


def latency_percentiles(latencies_ms: npt.NDArray[np.float64], threads: int) -> Latency:
    """Percentiles of single-query latencies, by linear interpolation.

    Args:
        latencies_ms: (Q,) float64, milliseconds; may be empty.
        threads: what they were measured with.
    """
    if not len(latencies_ms):
        return Latency(p50=None, p95=None, p99=None, threads=threads, num_queries=0)
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99]).tolist()
    return Latency(p50=p50, p95=p95, p99=p99, threads=threads, num_queries=len(latencies_ms))
