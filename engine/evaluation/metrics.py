"""Figures of retrieval, from the ranks of the truth, and how far they can be trusted. Pure functions.

A rank is 1 for the first candidate and 0 for a truth that was not found at all.

Legend: Q queries, A articles, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.run.evals import Interval, Intervals, Latency, RetrievalFigures, TopicFigures

Ranks = npt.NDArray[np.int64]
RESAMPLES = 1000
_TAILS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


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


def bootstrap_intervals(
    ranks: Ranks, articles: npt.NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> Intervals | None:
    """95 % percentile intervals of Contain@50, R@5 and Eff@5 over resampled articles.

    The windows of an article overlap and share its subject, so they are not independent, and an interval over resampled
    queries would be too narrow. Whole articles are drawn with replacement instead, as many as there are, each with all
    of its queries. The same seed and articles give the same resamples for every predictor.

    Intervals are too narrow for a few dozen articles, and have no width where every query is found, or none is.

    Args:
        ranks: (Q,) int64; Q >= 1.
        articles: (Q,) int64, the article of each query.
        resamples: how many to draw.
        seed: of the draws.

    Returns:
        None where all queries come from one article: nothing is known of others.
    """
    names, article_of_query = np.unique(articles, return_inverse=True)
    if len(names) < 2:
        return None
    found = ranks >= 1
    counted = np.stack([np.ones(len(ranks)), found & (ranks <= 50), found & (ranks <= 5)], axis=1)
    totals = np.zeros((len(names), 3))
    np.add.at(totals, article_of_query, counted)  # (A, 3): queries, contained, recalled
    # How often each article was drawn: the counts of A draws with replacement are multinomial.
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    queries, contained, recalled = (times @ totals).T  # (R,) each
    return Intervals(
        contain50=_interval(contained / queries),
        r5=_interval(recalled / queries),
        eff5=_interval(np.divide(recalled, contained, out=np.zeros(resamples), where=contained > 0)),
    )


def figures_by_topic(ranks: Ranks, articles: npt.NDArray[np.int64], topics: Sequence[str]) -> dict[str, TopicFigures]:
    """Figures of the queries of each topic, in alphabetical order.

    Args:
        ranks: (Q,) int64.
        articles: (Q,) int64, the article of each query.
        topics: (Q,) names, the topic of each query.
    """
    names, topic_of_query = np.unique(np.array(topics, dtype=np.str_), return_inverse=True)
    figures = {}
    for number, name in enumerate(names.tolist()):
        rows = np.flatnonzero(topic_of_query == number)
        figures[name] = TopicFigures(
            num_queries=len(rows),
            num_articles=len(np.unique(articles[rows])),
            contain50=contain_at_k(ranks[rows], 50),
            r5=recall_at_k(ranks[rows], 5),
            intervals=bootstrap_intervals(ranks[rows], articles[rows]),
        )
    return figures


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


def _interval(resampled: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(resampled, _TAILS).tolist()
    return Interval(low=low, high=high)
