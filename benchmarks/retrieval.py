"""Reach of the index: latency of single queries and recall against exact search on many synthetic vectors.

    OMP_NUM_THREADS=2 python benchmarks/retrieval.py --chunks 584000 --dim 768

Vectors are drawn as chunks of texts lie: around their article, which lies around its topic. Queries are further chunks
of articles that are there. Building may take every thread; what is timed takes one. Needs about 8 * chunks * dim bytes
of memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import faiss
import numpy as np
import numpy.typing as npt

from engine.evaluation.retrieval import build_index, shared_share

T = TypeVar("T")
FloatArray = npt.NDArray[np.float32]
K = 50
BAR_P95_MS = 1.45
BAR_RECALL = 0.955
CHUNKS_AN_ARTICLE = 20
ARTICLES_A_TOPIC = 50
_ROWS_AT_ONCE = 50_000


def main() -> int:
    """Print the figures and whether they reach the bars; exit code 1 if they do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=584_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--kind", choices=["auto", "flat", "fastscan"], default="auto")
    parser.add_argument("--nlist", type=int, default=None, help="by default what the engine takes")
    parser.add_argument("--nprobe", type=int, nargs="+", default=[64])
    parser.add_argument("--rounds", type=int, default=5, help="of timing; the one with the lowest P95 counts")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    vectors, queries = draw(given.chunks, given.dim, given.queries, given.seed)
    print(f"{given.chunks:,} x {given.dim} float32, seed {given.seed}, faiss {faiss.__version__}")
    exact = timed("exact search of all queries at once", lambda: search_flat(vectors, queries))
    index = timed("building", lambda: build_index(vectors, choice=given.kind, nlist=given.nlist))
    print(f"{index.kind}; top {K}, single queries, one thread, best of {given.rounds} rounds")
    reached = True
    for nprobe in given.nprobe:
        p95, p50 = min(
            (np.percentile(index.time_single_queries(queries, K, nprobe=nprobe, threads=1), [95, 50]).tolist())
            for _ in range(given.rounds)
        )
        recall = shared_share(index.search(queries, K, nprobe=nprobe), exact)
        assert recall is not None
        holds = p95 <= BAR_P95_MS and recall >= BAR_RECALL
        reached = reached and holds
        print(
            f"nprobe {nprobe:4}: P50 {p50:.2f} ms, P95 {p95:.2f} ms (bar {BAR_P95_MS}), "
            f"recall@{K} {recall:.3f} (bar {BAR_RECALL}): {'reached' if holds else 'not reached'}"
        )
    return 0 if reached else 1


def draw(num_chunks: int, dim: int, num_queries: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """(N, D) chunks and (Q, D) queries, unit vectors: normalise(topic + article + chunk), each part of length about 1.

    Topics, articles and what a chunk adds have as many directions as there are dimensions, but falling weights, as the
    directions of sentence vectors do: the standard deviation of direction i is proportional to (i + 1)^-0.5.
    """
    generator = np.random.default_rng(seed)
    weights = (np.arange(dim) + 1.0) ** -0.5
    weights = (weights / np.linalg.norm(weights)).astype(np.float32)
    num_articles = -(-num_chunks // CHUNKS_AN_ARTICLE)
    num_topics = -(-num_articles // ARTICLES_A_TOPIC)

    def parts(count: int) -> FloatArray:
        return generator.standard_normal((count, dim), np.float32) * weights

    articles = parts(num_topics)[np.arange(num_articles) // ARTICLES_A_TOPIC] + parts(num_articles)
    vectors = np.empty((num_chunks + num_queries, dim), np.float32)
    article = np.arange(num_chunks + num_queries) // CHUNKS_AN_ARTICLE
    article[num_chunks:] = generator.integers(num_articles, size=num_queries)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        block = articles[article[start : start + _ROWS_AT_ONCE]]
        block += parts(len(block))
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        vectors[start : start + len(block)] = block
    return vectors[:num_chunks], vectors[num_chunks:]


def search_flat(vectors: FloatArray, queries: FloatArray) -> npt.NDArray[np.int64]:
    """(Q, K) exact results."""
    found: npt.NDArray[np.int64] = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return found


def timed(what: str, body: Callable[[], T]) -> T:
    """The value of `body`, and how long it took, printed."""
    began = time.perf_counter()
    value = body()
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)
    return value


if __name__ == "__main__":
    raise SystemExit(main())
