"""Product quantisation with fast-scan, and exact refinement of what it finds.

Lists of four-bit codes are scanned in registers, which is several times faster than reading vectors but only roughly
right; what is coded is the way from the list's centroid to the vector. A few times as many candidates as asked for are
taken, and ranked again by their exact inner products with the corpus's own vectors: nothing but the codes is stored
beside them. Lists are chosen by centroids in half precision, since reading thousands of them is a third of a query's
time.

Legend: Q queries, N chunks, D vector width, C candidates, K results.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.run.convert import ConfigError

IndexKind = Literal["flat", "fastscan"]
IndexChoice = Literal["auto", "flat", "fastscan"]

K_FACTOR = 8
"""Candidates that are refined for each result asked for. On 584,000 x 768 vectors at nprobe 64 a factor of 4, 6, 8, 12
finds .946, .962, .968, .973 of the exact first 50, out of .977 that lie in the lists visited."""
FAST_FROM = 65_000
"""Chunks from which fast-scan is worth its approximation. The flat index at nprobe 64 and 768 dimensions has a P95 of
1.2 ms at 50,000 chunks and 2.5 ms at 100,000, and the gate is 1.45 ms; this one 0.7 ms at either."""
MIN_CHUNKS = 39 * 16
"""Below this FAISS warns that the 16 centroids of a code are badly estimated."""


def resolve_kind(choice: IndexChoice, num_chunks: int) -> IndexKind:
    """The kind of index a choice comes to: fast-scan for `auto` where there are FAST_FROM chunks or more.

    Raises:
        ConfigError: fast-scan was chosen for too few chunks to learn its codes from.
    """
    if choice == "auto":
        return "fastscan" if num_chunks >= FAST_FROM else "flat"
    if choice == "fastscan" and num_chunks < MIN_CHUNKS:
        raise ConfigError(
            f"--index fastscan: learning its codes takes {MIN_CHUNKS} chunks, and the corpus has {num_chunks}. "
            "Use --index flat, which is fast enough for so few."
        )
    return choice


def factory_string(kind: IndexKind, nlist: int, dim: int) -> str:
    """What FAISS calls an index, and the k factor of its refinement."""
    if kind == "flat":
        return f"IVF{nlist},Flat"
    return f"IVF{nlist}(SQfp16),PQ{num_codes(dim)}x4fsr,RFlat k_factor={K_FACTOR}"


def num_codes(dim: int) -> int:
    """Four-bit codes a vector: one for two dimensions, or one for each where they are odd in number."""
    return dim // 2 if dim % 2 == 0 else dim


def train_fastscan(vectors: FloatArray, quantizer: Any, nlist: int) -> Any:
    """A FAISS index of four-bit codes, empty, without refinement. Halve its centroids when it is filled.

    Args:
        vectors: (N, D) float32 unit vectors to learn from; at least MIN_CHUNKS of them.
        quantizer: FAISS index of the nlist centroids, trained.
        nlist: its lists.
    """
    import faiss

    dim = vectors.shape[1]
    index = faiss.IndexIVFPQFastScan(quantizer, dim, nlist, num_codes(dim), 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # codes of the way from the centroid: coding the vectors themselves finds .88, not .946
    # Hundreds of tiny k-means: on a busy machine two threads took 19-48 s for what one does in 2 s.
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.train(vectors)
    finally:
        faiss.omp_set_num_threads(before)
    return index


def halve_centroids(index: Any) -> None:
    """Choose lists by centroids in half precision from now on; what is in them stays."""
    import faiss

    whole = index.quantizer
    whole.thisown = whole.thisown or index.own_fields  # one that was read from a file would never be freed
    centroids = whole.reconstruct_n(0, index.nlist)
    halved = faiss.IndexScalarQuantizer(index.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    halved.train(centroids)
    halved.add(centroids)
    index.quantizer = halved
    halved.this.disown()  # type: ignore[attr-defined]  # the index frees it
    index.own_fields = True


class RefinedIndex:
    """A FAISS index whose candidates are ranked again by their exact inner products."""

    def __init__(self, coarse: Any, vectors: Vectors) -> None:
        self._coarse = coarse
        self._vectors = np.ascontiguousarray(vectors, np.float32) if isinstance(vectors, np.ndarray) else vectors

    @property
    def nprobe(self) -> int:
        """Lists visited by a query."""
        return int(self._coarse.nprobe)

    @nprobe.setter
    def nprobe(self, lists: int) -> None:
        self._coarse.nprobe = lists

    def search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IndexArray]:
        """The k best of the candidates, best first, as FAISS's own `search` gives them.

        Args:
            queries: (Q, D) float32.
            k: results a query.

        Returns:
            (Q, k) float32 inner products, and (Q, k) int64 chunks; -1 where fewer were found.
        """
        queries = np.ascontiguousarray(queries, np.float32)  # its address is handed over
        num_candidates = max(k, min(K_FACTOR * k, len(self._vectors)))
        found: IndexArray = self._coarse.search(queries, num_candidates)[1]  # (Q, C)
        scores = self._score(queries, found)
        best = np.argpartition(scores, num_candidates - k, axis=1)[:, num_candidates - k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(best, order, axis=1)
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)

    def _score(self, queries: FloatArray, found: IndexArray) -> FloatArray:
        """(Q, C) exact inner products with candidates; -inf for those of -1."""
        import faiss

        scores = np.full(found.shape, -np.inf, np.float32)  # what FAISS leaves as it is: candidates of -1
        if not isinstance(self._vectors, np.ndarray):
            for query, row, candidates in zip(queries, scores, found, strict=True):
                known = np.flatnonzero(candidates >= 0)
                row[known] = self._vectors[candidates[known]] @ query
            return scores
        faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]  # FAISS has it, its stubs lack it
            faiss.swig_ptr(scores),
            faiss.swig_ptr(queries),
            faiss.swig_ptr(self._vectors),
            faiss.swig_ptr(found),
            self._vectors.shape[1],
            len(queries),
            found.shape[1],
        )
        return scores
