"""Exact search over all chunks of a corpus: what judges the model.

Vectors are taken in blocks of a fixed number of chunks, counted over the whole corpus, and what was found in each is
merged: so a corpus in shards is searched with the very products that the same corpus in one file is, and a block is all
of it that has to be in memory. Of chunks that score the same the one with the lower number comes first.

Legend: Q queries, B queries of a portion, N chunks, M chunks of a block, D vector width, L context length, K results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.evaluation.metrics import Ranks

CHUNKS_AT_ONCE = 1 << 16
"""M: chunks of a block; 200 MB of 768 numbers."""
SCORES_AT_ONCE = 1 << 24
"""Scores held at once: 64 MB."""


@dataclass(frozen=True, slots=True)
class ExactResult:
    """Exact search of queries whose truth is known."""

    ranks: Ranks
    """(Q,) int64: of the truth, own context chunks left out; 0 for a query that is not finite."""
    ranks_with_context: Ranks
    """(Q,) int64: the same with the own context chunks among the candidates."""
    top: IndexArray
    """(Q, K) int64: the best chunks, best first, own context chunks among them, the truth behind those that score the
    same, as in its rank; -1 for a query that is not finite."""


class _Best:
    """The K best chunks of every query so far. Blocks are added in the order of their chunks."""

    def __init__(self, num_queries: int, k: int) -> None:
        self.chunks = np.full((num_queries, k), -1, np.int64)
        self._scores = np.full((num_queries, k), -np.inf, np.float32)

    def add(self, rows: IndexArray, scores: FloatArray, first: int) -> None:
        """(B, M) scores of (B,) queries with the chunks from number `first` on."""
        k = self.chunks.shape[1]
        columns = best_columns(scores, min(k, scores.shape[1]))
        both = np.concatenate([self._scores[rows], np.take_along_axis(scores, columns, axis=1)], axis=1)
        chunks = np.concatenate([self.chunks[rows], columns + first], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]  # of equal scores the earlier chunk, which is kept
        self.chunks[rows] = np.take_along_axis(chunks, order, axis=1)
        self._scores[rows] = np.take_along_axis(both, order, axis=1)


def search_exactly(
    vectors: Vectors, queries: FloatArray, truths: IndexArray, contexts: IndexArray, *, k: int
) -> ExactResult:
    """Rank the truth of every query among all chunks.

    A chunk that scores the same as the truth ranks before it: a predictor that cannot tell chunks apart finds nothing.

    Args:
        vectors: (N, D) float32 unit vectors of the corpus.
        queries: (Q, D) float32.
        truths: (Q,) int64, the chunk each query should find.
        contexts: (Q, L) int64, the chunks each query was made from, each once, -1 for one that is no chunk; the truth
            is not among them.
        k: how many of the best chunks to give; 0 for none. At most N.
    """
    num_queries = len(queries)
    ranks, own = np.zeros(num_queries, np.int64), np.zeros(num_queries, np.int64)
    best, bars = _Best(num_queries, k), np.zeros(num_queries, np.float32)
    finite = np.flatnonzero(np.isfinite(queries).all(axis=1))
    if len(vectors) > CHUNKS_AT_ONCE:
        finite = finite[np.argsort(truths[finite], kind="stable")]  # a portion's truths then lie in few blocks
        # What a truth scores is taken from the product that its block is searched with: a copy of it scores the same.
        for rows, scores, first in _scores(vectors, queries, finite, only=truths):
            _note_bars(bars, rows, scores, truths, first)
    for rows, scores, first in _scores(vectors, queries, finite):
        here = _note_bars(bars, rows, scores, truths, first)
        columns = contexts[rows] - first
        inside = (contexts[rows] >= 0) & (columns >= 0) & (columns < scores.shape[1])
        own_scores = np.take_along_axis(scores, np.where(inside, columns, 0), axis=1)
        ranks[rows] += np.count_nonzero(scores >= bars[rows, None], axis=1)  # the truth itself makes it start at 1
        own[rows] += np.count_nonzero((own_scores >= bars[rows, None]) & inside, axis=1)
        if k:
            scores[here, truths[rows[here]] - first] = np.nextafter(bars[rows[here]], np.float32(-np.inf))
            best.add(rows, scores, first)
    return ExactResult(ranks - own, ranks, best.chunks)


def search_flat(vectors: Vectors, queries: FloatArray, k: int) -> IndexArray:
    """(Q, k) int64: the exactly best chunks of (Q, D) queries, best first; -1 for a query that is not finite."""
    best = _Best(len(queries), k)
    for rows, scores, first in _scores(vectors, queries, np.flatnonzero(np.isfinite(queries).all(axis=1))):
        best.add(rows, scores, first)
    return best.chunks


def best_columns(scores: FloatArray, k: int) -> IndexArray:
    """(B, k) columns of the largest scores, best first, of equal ones the first."""
    import torch

    # numpy's argpartition orders an int64 for every score: 0.37 s where this takes 0.04 (682 queries, 21,805 chunks)
    found = torch.topk(torch.from_numpy(scores), k, dim=1)
    columns: IndexArray = found.indices.numpy()
    values: FloatArray = found.values.numpy()
    edge = values[:, -1:]
    # Which of those that score like the last one were taken is luck.
    for row in np.flatnonzero(np.count_nonzero(scores >= edge, axis=1) > k).tolist():
        tied = np.flatnonzero(scores[row] >= edge[row])
        columns[row] = tied[np.argsort(-scores[row, tied], kind="stable")[:k]]
        values[row] = scores[row, columns[row]]
    order = np.lexsort((columns, -values), axis=1)
    return np.take_along_axis(columns, order, axis=1)


def _scores(
    vectors: Vectors, queries: FloatArray, rows: IndexArray, only: IndexArray | None = None
) -> Iterator[tuple[IndexArray, FloatArray, int]]:
    """Inner products of queries with all chunks, block by block.

    Args:
        vectors: (N, D).
        queries: (Q, D).
        rows: those to search with, in portions that are the same for every block.
        only: (Q,) chunks; products that none of them is in are left out.

    Yields:
        (B,) queries, (B, M) scores, which may be written to, and the number of the block's first chunk.
    """
    size = max(1, SCORES_AT_ONCE // max(1, min(len(vectors), CHUNKS_AT_ONCE)))
    portions = [rows[start : start + size] for start in range(0, len(rows), size)]
    for first in range(0, len(vectors), CHUNKS_AT_ONCE):
        last = min(first + CHUNKS_AT_ONCE, len(vectors))
        asked = [part for part in portions if only is None or ((only[part] >= first) & (only[part] < last)).any()]
        if asked:
            block = vectors[first:last]
            for part in asked:
                yield part, queries[part] @ block.T, first


def _note_bars(bars: FloatArray, rows: IndexArray, scores: FloatArray, truths: IndexArray, first: int) -> IndexArray:
    """Keep what the truths in this block score; returns the (R,) rows of `scores` that have theirs here."""
    columns = truths[rows] - first
    here = np.flatnonzero((columns >= 0) & (columns < scores.shape[1]))
    bars[rows[here]] = scores[here, columns[here]]
    return here
