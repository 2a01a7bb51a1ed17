"""What a reranker makes of the candidates: the row that then holds the gates.

A reranker orders the first 50 candidates anew and adds none. Containment is of the candidates that the search gives,
before any reranking, so Contain@20 and Contain@50 stay what they were.

Legend: Q queries, D vector width, K candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from engine.data.corpus import FloatArray, IndexArray
from engine.evaluation.baselines import POOL, Measured, Queries
from engine.evaluation.metrics import Ranks, bootstrap_intervals, figures_by_topic, retrieval_figures
from engine.run.evals import EvalRow, RetrievalFigures

Rerank = Callable[[FloatArray, Queries, IndexArray], IndexArray]
"""(Q, D) float32 predictions, the queries they answer, and (Q, K) int64 candidates, best first, to the same candidates
in a better order. K is at most 50, -1 stands behind the last, and own context chunks are not among them, except where
`exact_with_context` asks what they would do."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """The row, and what it took."""

    row: EvalRow
    top: IndexArray
    """(Q, K) int64: the exact candidates in their new order, own context left out; -1 where there is none."""
    ranks: Ranks
    """(Q,) int64: of the truth; 0 where it is not among the candidates."""
    ms_a_query: float
    """Reranking alone, all queries at once."""


def rerank_row(measured: Measured, predicted: FloatArray, queries: Queries, rerank: Rerank) -> Reranked:
    """Rerank the first 50 candidates of exact search and of the index.

    Args:
        measured: the model's own row, with at least 50 + L results for each query.
        predicted: (Q, D) float32.
        queries: what they answer.
        rerank: the reranker.

    Raises:
        ValueError: it did not give back the candidates it was given.
    """
    began = time.perf_counter()
    top = _reordered(rerank, predicted, queries, first_without(measured.exact.top, queries.context_chunks))
    seconds = time.perf_counter() - began
    within = _reordered(rerank, predicted, queries, measured.exact.top[:, :POOL])
    on_index = _reordered(rerank, predicted, queries, first_without(measured.found, queries.context_chunks))
    ranks = _ranks(top, queries)
    row = msgspec.structs.replace(
        measured.row,
        exact=_contained_as(measured.row.exact, ranks),
        exact_with_context=_contained_as(measured.row.exact_with_context, _ranks(within, queries)),
        on_index=_contained_as(measured.row.on_index, _ranks(on_index, queries)),
        intervals=bootstrap_intervals(ranks, queries.articles),
        by_topic=figures_by_topic(ranks, queries.articles, queries.topics),
    )
    return Reranked(row, top, ranks, 1000 * seconds / max(1, len(top)))


def _contained_as(searched: RetrievalFigures, ranks: Ranks) -> RetrievalFigures:
    """Figures of (Q,) ranks after reranking, containment as the search gave it."""
    figures = retrieval_figures(ranks)
    return msgspec.structs.replace(figures, contain20=searched.contain20, contain50=searched.contain50)


def first_without(found: IndexArray, contexts: IndexArray) -> IndexArray:
    """The first 50 of (Q, K) results that are not among (Q, L) own context chunks; -1 behind the last."""
    kept = (found >= 0) & ~(found[:, :, None] == contexts[:, None, :]).any(axis=2)
    order = np.argsort(~kept, axis=1, kind="stable")  # the kept ones first, in their order
    first = np.take_along_axis(np.where(kept, found, -1), order, axis=1)
    return first[:, :POOL]


def _reordered(rerank: Rerank, predicted: FloatArray, queries: Queries, top: IndexArray) -> IndexArray:
    """Candidates in their new order. A query without any, whose prediction is not finite, is not asked about."""
    asked = np.flatnonzero(top[:, 0] >= 0)
    if not len(asked):
        return top
    ordered = np.asarray(rerank(predicted[asked], queries.take(asked), top[asked]), np.int64)
    if not np.array_equal(np.sort(ordered), np.sort(top[asked])):
        raise ValueError("the reranker did not give back the candidates it was given")
    reordered = top.copy()
    reordered[asked] = ordered
    return reordered


def _ranks(top: IndexArray, queries: Queries) -> Ranks:
    hit = top == queries.truth_chunks[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0).astype(np.int64)
