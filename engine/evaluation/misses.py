"""Misses: queries whose truth is not among the first 5, and what was found instead.

Legend: Q queries, K results.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.data.corpus import Corpus, IndexArray
from engine.evaluation.baselines import Queries
from engine.evaluation.metrics import Ranks
from engine.run.evals import Miss, MissMode, Retrieved

SHOWN = 5
MAX_MISSES = 100


def find_misses(ranks: Ranks) -> IndexArray:
    """The queries whose truth is not among the first 5, by their (Q,) ranks."""
    return np.flatnonzero((ranks == 0) | (ranks > SHOWN))


def count_modes(
    corpus: Corpus, queries: Queries, ranks: Ranks, candidates: IndexArray, best: IndexArray
) -> dict[MissMode, int]:
    """How many queries missed, by where their first candidate comes from, most frequent first.

    "own context" is counted in addition to the others: misses at whose head a chunk of the own context would stand.

    Args:
        corpus: what is searched.
        queries: all of them.
        ranks: (Q,) int64 of the truths.
        candidates: (Q, K) int64, best first, own context left out; -1 behind the last.
        best: (Q,) int64 the best chunk with the own context left in; -1 for none.
    """
    counts: Counter[MissMode] = Counter()
    for query in find_misses(ranks).tolist():
        without, with_context = _modes(corpus, queries, query, int(candidates[query, 0]), int(best[query]))
        counts[without] += 1
        if with_context == "own context":
            counts["own context"] += 1
    return dict(counts.most_common())


def describe_misses(
    corpus: Corpus, queries: Queries, ranks: Ranks, candidates: IndexArray, best: IndexArray, seed: int
) -> list[Miss]:
    """A sample of at most 100 misses, with the texts of what was found instead; arguments as `count_modes`."""
    missed = find_misses(ranks)
    if len(missed) > MAX_MISSES:
        missed = np.sort(np.random.default_rng(seed).choice(missed, MAX_MISSES, replace=False))
    shown = [queries.truth_chunks[missed, None], queries.context_chunks[missed, -1:], candidates[missed, :SHOWN]]
    texts = corpus.texts([chunk for chunk in np.concatenate(shown, axis=1).ravel().tolist() if chunk >= 0])
    misses = []
    for query in missed.tolist():
        truth, last = int(queries.truth_chunks[query]), int(queries.context_chunks[query, -1])
        article = int(queries.articles[query])
        mode, with_context = _modes(corpus, queries, query, int(candidates[query, 0]), int(best[query]))
        misses.append(
            Miss(
                title=corpus.titles[article],
                topic=queries.topics[query],
                rank=int(ranks[query]),
                mode=mode,
                mode_with_context=with_context,
                context_last=texts[last] if last >= 0 else "",
                truth=texts[truth],
                retrieved=[
                    Retrieved(chunk=chunk, title=corpus.titles[corpus.article_of_chunk[chunk]], text=texts[chunk])
                    for chunk in candidates[query, :SHOWN].tolist()
                    if chunk >= 0
                ],
            )
        )
    return misses


def _modes(corpus: Corpus, queries: Queries, query: int, first: int, best: int) -> tuple[MissMode, MissMode]:
    """Where the first candidate comes from, with the own context left out and left in."""
    without = _mode(corpus, int(queries.articles[query]), first)
    return without, "own context" if best >= 0 and best in queries.context_chunks[query] else without


def _mode(corpus: Corpus, article: int, chunk: int) -> MissMode:
    """Where a chunk comes from, as seen from an article; -1 is none."""
    if chunk < 0:
        return "not finite"
    other = int(corpus.article_of_chunk[chunk])
    if other == article:
        return "own article"
    topic = int(corpus.topic_of_article[article])
    is_same = corpus.topic_of_article[other] == topic and corpus.topics[topic]  # a payload names no topics
    return "same topic" if is_same else "unrelated"
