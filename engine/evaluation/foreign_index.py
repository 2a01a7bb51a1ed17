"""An index that somebody else built, opened only after it has proved to hold the payload's vectors.

An index of other vectors gives answers all the same, and every one of them is wrong. So before it is searched, some of
the payload's own vectors are looked up in it, and they must find themselves. Before that a child has opened it.

Legend: N chunks, D vector width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.data.payload_corpus import PayloadKeys
from engine.evaluation.retrieval import ChunkIndex
from engine.quarantine import why_unopenable
from engine.run.convert import ConfigError

FOUND_AT_LEAST = 0.5
"""Share of the payload's vectors that must find themselves. Codes blur some; an index of other vectors finds none."""
_PROBES = 200
_AMONG = 50
"""An own vector counts as found among this many results."""
_MOST_BYTES_A_NUMBER = 12
"""Bytes a number of a vector, at most: three times float32. Graphs and ids need more than the vectors alone."""
_OVERHEAD = 1 << 30


def open_given_index(path: Path, vectors: Vectors, keys: PayloadKeys, *, nprobe: int) -> ChunkIndex:
    """Open a FAISS index and hold it against the payload.

    Its labels may be payload ids, or rows of the payload's file; whichever finds the payload's vectors is taken.

    Args:
        path: the index file.
        vectors: (N, D) float32 unit vectors of the payload, in the order of the corpus.
        keys: names of its chunks.
        nprobe: lists that the check visits.

    Raises:
        ConfigError: it is missing, damaged, far too large, or of other vectors; the message says which.
    """
    index = _read(path, vectors)
    num_chunks, dim = vectors.shape
    remedy = "Give the index that was built from this payload, or leave --faiss out: one is then built and kept."
    if index.d != dim:
        raise ConfigError(f"{path}: holds vectors of {index.d} dimensions, the payload {dim}. {remedy}")
    if index.ntotal != num_chunks:
        raise ConfigError(f"{path}: holds {index.ntotal:,} vectors, the payload {num_chunks:,}. {remedy}")
    lists = _lists_of(index)
    best = 0.0
    for chunk_of_label in _labellings(keys):
        opened = ChunkIndex(
            _Probed(index, lists),
            kind=_describe(index, lists),
            nlist=int(lists.nlist) if lists is not None else 1,
            origin="given",
            identity=_identity(path),
            chunk_of_label=chunk_of_label,
        )
        found = _share_found(opened, vectors, nprobe)
        if found >= FOUND_AT_LEAST:
            return opened
        best = max(best, found)
    raise ConfigError(
        f"{path}: is an index of other vectors, or labels them by neither the payload's ids nor its rows: of "
        f"{min(_PROBES, num_chunks)} vectors of the payload {best:.0%} find themselves in it (bar: "
        f"{FOUND_AT_LEAST:.0%}). {remedy}"
    )


class _Probed:
    """A FAISS index whose number of visited lists is set where its lists are, however it is wrapped."""

    def __init__(self, index: Any, lists: Any) -> None:
        self._index = index
        self._lists = lists
        self.nprobe = 1

    def search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IndexArray]:
        """As FAISS's own."""
        if self._lists is not None:
            self._lists.nprobe = self.nprobe
        scores, labels = self._index.search(queries, k)
        return scores, labels


def _read(path: Path, vectors: Vectors) -> Any:
    import faiss

    try:
        num_bytes = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). --faiss is a FAISS index file.") from None
    limit = _MOST_BYTES_A_NUMBER * vectors.size + _OVERHEAD
    if not path.is_file() or num_bytes > limit:
        raise ConfigError(
            f"{path}: is no index of the payload: it has {num_bytes / 1e9:.1f} GB, and {limit / 1e9:.1f} GB would be "
            "much for these vectors. Give the index that was built from the payload."
        )
    reason = why_unopenable("faiss", path)
    if reason:
        raise ConfigError(
            f"{path}: is no whole FAISS index ({reason}). Copy it again, or leave --faiss out: one is then built."
        )
    index = faiss.read_index(str(path))
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ConfigError(
            f"{path}: does not search by inner product. Build it with faiss.METRIC_INNER_PRODUCT from unit vectors, or "
            "leave --faiss out: one is then built."
        )
    return index


def _lists_of(index: Any) -> Any:
    """The inverted lists inside an index; None where it has none."""
    import faiss

    try:
        return faiss.downcast_index(faiss.extract_index_ivf(index))
    except RuntimeError:
        return None


def _describe(index: Any, lists: Any) -> str:
    inner = type(index if lists is None else lists).__name__
    return inner if lists is None else f"{inner}({lists.nlist})"


def _identity(path: Path) -> str:
    """Changes whenever the file does; reading gigabytes for a digest would take longer than the search."""
    state = path.stat()
    return f"{path.absolute()} {state.st_size} {state.st_mtime_ns}"


def _labellings(keys: PayloadKeys) -> list[IndexArray]:
    """What the labels of the index may mean: (M,) chunks by label, one array for each meaning."""
    meanings = [keys.rows]
    ids = keys.ids
    if ids.dtype.kind in "iu" and ids.min() >= 0 and ids.max() < 4 * len(ids) and not np.array_equal(ids, keys.rows):
        meanings.insert(0, ids)
    labellings = []
    for labels in meanings:
        chunk_of_label = np.full(max(int(labels.max()) + 1, len(labels)), -1, np.int64)
        chunk_of_label[labels] = np.arange(len(labels))
        labellings.append(chunk_of_label)
    return labellings


def _share_found(index: ChunkIndex, vectors: Vectors, nprobe: int) -> float:
    """Share of a sample of the payload's vectors that find themselves, or a vector equal to themselves."""
    rows = np.unique(np.linspace(0, len(vectors) - 1, _PROBES).astype(np.int64))
    found = index.search(vectors[rows], min(_AMONG, len(vectors)), nprobe=nprobe)  # (P, K)
    cosines = np.einsum("pd,pkd->pk", vectors[rows], vectors[np.maximum(found, 0)])
    return float(((found >= 0) & (cosines > 1 - 1e-5)).any(axis=1).mean())
