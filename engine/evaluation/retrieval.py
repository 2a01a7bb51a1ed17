"""Search over all chunks of a corpus on a FAISS index.

Exact search judges the model; the index is what a service would use, so it is timed and held against exact search.
An index is cached in a folder with a manifest that names the corpus and the digest of the index file: an index of other
vectors, or a damaged one, is built anew and never searched.

Legend: Q queries, N chunks, D vector width, L context length, K results.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from engine.data.corpus import Corpus, FloatArray, IndexArray, Vectors, file_sha256
from engine.evaluation.fastscan import (
    IndexChoice,
    IndexKind,
    RefinedIndex,
    factory_string,
    halve_centroids,
    resolve_kind,
    train_fastscan,
)
from engine.evaluation.metrics import Ranks
from engine.evaluation.parted import build_parts, open_parts
from engine.run.convert import ConfigError
from engine.run.evals import IndexOrigin
from engine.run.files import clear_temporaries, write_atomically

INDEX_FILE = "index.faiss"
POINTS_PER_LIST = 39
"""Below this FAISS warns that centroids are badly estimated; also the sample it is trained on, per list."""
MAX_LISTS = 1 << 15
"""Learning their centroids takes 4 GB of memory at 768 dimensions, however many chunks there are."""
ROUNDS = 5
"""Of k-means. FAISS's default of 10 takes twice as long for .974 instead of .973 recall on the embedded corpus."""
LEAST_SAMPLE = 1 << 16
"""Chunks that an index in parts learns from, if there are so many: as many as FAISS takes for codes."""
_INDEX_NAME = re.compile(r"index\.faiss|part-[0-9]{4,}\.faiss")
_WARM_UP = 20


class IndexManifest(Struct, frozen=True, kw_only=True):
    """What an index was built from; `manifest.json` beside it."""

    schema: Literal[1] = 1
    corpus_sha256: str
    kind: str
    nlist: int
    dim: int
    num_chunks: int
    index_sha256: str = ""
    parts_sha256: dict[str, str] = {}
    """By file name, of an index in parts; in their order."""


class ChunkIndex:
    """An inverted-file index over all chunks of a corpus."""

    def __init__(
        self,
        index: Any,
        *,
        kind: str,
        nlist: int,
        origin: IndexOrigin,
        reason: str = "",
        chunk_of_label: IndexArray | None = None,
        identity: str = "",
    ) -> None:
        self._index = index
        self.kind = kind
        self.nlist = nlist
        self.origin = origin
        self.reason = reason
        """Why it was built; empty for one that was not."""
        self.identity = identity or kind
        """Tells it from other indexes of the same vectors."""
        self._chunk_of_label = chunk_of_label
        """(M,) int64: the chunk that each label of the index stands for; None where labels are chunks."""

    def search(self, queries: FloatArray, k: int, *, nprobe: int) -> IndexArray:
        """The k best chunks of every query, best first.

        Args:
            queries: (Q, D) float32.
            k: results a query.
            nprobe: lists visited; more than there are means all.

        Returns:
            (Q, k) int64; -1 where fewer were found, and for queries that are not finite.
        """
        found = np.full((len(queries), k), -1, np.int64)
        finite = np.isfinite(queries).all(axis=1)
        self._index.nprobe = min(nprobe, self.nlist)
        if finite.any():
            found[finite] = self._index.search(np.ascontiguousarray(queries[finite]), k)[1]
        if self._chunk_of_label is None:
            return found
        known = (found >= 0) & (found < len(self._chunk_of_label))
        return np.where(known, self._chunk_of_label[np.where(known, found, 0)], -1)

    def time_single_queries(self, queries: FloatArray, k: int, *, nprobe: int, threads: int) -> npt.NDArray[np.float64]:
        """Milliseconds of each query searched by itself: (Q,) float64. Queries that are not finite are left out."""
        import faiss

        self._index.nprobe = min(nprobe, self.nlist)
        single = [np.ascontiguousarray(query[None]) for query in queries if np.isfinite(query).all()]
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(threads)
        try:
            for query in single[:_WARM_UP]:
                self._index.search(query, k)
            latencies = np.empty(len(single))
            for number, query in enumerate(single):
                began = time.perf_counter_ns()
                self._index.search(query, k)
                latencies[number] = time.perf_counter_ns() - began
        finally:
            faiss.omp_set_num_threads(before)
        return latencies / 1e6


def open_index(
    corpus: Corpus,
    vectors: Vectors,
    folder: Path | None,
    *,
    choice: IndexChoice = "auto",
    nlist: int | None = None,
) -> ChunkIndex:
    """The index of a corpus: the cached one if it is of these vectors and whole, else a new one, which is cached.

    Args:
        corpus: what to search.
        vectors: (N, D) float32, its `searchable()`. Those that are read from the disk are indexed in parts, which
            takes a folder.
        folder: where indexes are kept, one subfolder a corpus and kind; None to keep none.
        choice: lists of vectors, lists of codes with exact refinement, or what suits the number of chunks.
        nlist: lists; what suits the number of chunks by default.

    Raises:
        ConfigError: the corpus is too small for the kind that was chosen.
    """

    kind, usual = resolve_kind(choice, corpus.num_chunks), choose_nlist(corpus.num_chunks)
    nlist = nlist or usual
    wanted = IndexManifest(
        corpus_sha256=corpus.sha256,
        kind=factory_string(kind, nlist, corpus.dim),
        nlist=nlist,
        dim=corpus.dim,
        num_chunks=corpus.num_chunks,
    )
    subfolder = "-".join(
        [corpus.sha256[:16], *([] if kind == "flat" else [kind]), *([] if nlist == usual else [str(nlist)])]
    )
    home = folder / subfolder if folder else None
    reason = _why_not_cached(home, wanted) if home else "no folder to keep it in"
    if home and not reason:
        index = _open_kept(home)
        return ChunkIndex(_searchable(index, kind, vectors), kind=wanted.kind, nlist=nlist, origin="cached")
    if not isinstance(vectors, np.ndarray):
        index = _build_in_parts(vectors, kind, nlist, wanted, home)
        return ChunkIndex(
            _searchable(index, kind, vectors), kind=wanted.kind, nlist=nlist, origin="built", reason=reason
        )
    index = _build(vectors, kind, nlist)
    if home:
        try:
            _keep(index, wanted, home)
        except (OSError, RuntimeError) as error:  # FAISS reports a full or read-only disk as RuntimeError
            reason = f"{reason}, and it could not be kept: {error}"
    return ChunkIndex(_searchable(index, kind, vectors), kind=wanted.kind, nlist=nlist, origin="built", reason=reason)


def build_index(vectors: FloatArray, *, choice: IndexChoice = "auto", nlist: int | None = None) -> ChunkIndex:
    """An index of vectors that belong to no corpus folder, kept nowhere; otherwise as `open_index`.

    Args:
        vectors: (N, D) float32 unit vectors.
        choice: see `open_index`.
        nlist: see `open_index`.
    """
    kind, nlist = resolve_kind(choice, len(vectors)), nlist or choose_nlist(len(vectors))
    index = _searchable(_build(vectors, kind, nlist), kind, vectors)
    return ChunkIndex(index, kind=factory_string(kind, nlist, vectors.shape[1]), nlist=nlist, origin="built")


def choose_nlist(num_chunks: int) -> int:
    """Lists of an index: the power of two nearest to 4 sqrt(N), at most MAX_LISTS, fewer where lists would be too small
    to train."""
    nlist = min(MAX_LISTS, 1 << max(0, round(np.log2(4 * np.sqrt(num_chunks)))))
    while nlist > 1 and nlist * POINTS_PER_LIST > num_chunks:
        nlist //= 2
    return int(nlist)


def ranks_of(found: IndexArray, truths: IndexArray, contexts: IndexArray, *, k: int) -> Ranks:
    """Ranks of the truth in lists of results, own context chunks left out.

    Args:
        found: (Q, K) int64 chunks, best first; -1 for none.
        truths: (Q,) int64.
        contexts: (Q, L) int64, -1 for one that is no chunk.
        k: only the first k that are left count.

    Returns:
        (Q,) int64; 0 where the truth is not among them.
    """
    own = (found[:, :, None] == contexts[:, None, :]).any(axis=2)  # (Q, K)
    position = np.cumsum(~own, axis=1)
    hit = (found == truths[:, None]) & (position <= k)
    return np.where(hit.any(axis=1), np.take_along_axis(position, hit.argmax(axis=1)[:, None], axis=1)[:, 0], 0)


def shared_share(found: IndexArray, exact: IndexArray) -> float | None:
    """Mean share of the exact results that were found; None without a query. Both (Q, K) int64, -1 for none."""
    shares = [np.isin(right, left).mean() for left, right in zip(found, exact, strict=True) if (right >= 0).all()]
    return float(np.mean(shares)) if shares else None


def _searchable(index: Any, kind: IndexKind, vectors: Vectors) -> Any:
    """What is searched: an index of codes only with its refinement, which is not stored with it."""
    return index if kind == "flat" else RefinedIndex(index, vectors)


def _build(vectors: FloatArray, kind: IndexKind, nlist: int) -> Any:
    index = _train(vectors, kind, nlist)
    index.add(vectors)
    _finish(index)
    return index


def _build_in_parts(vectors: Vectors, kind: IndexKind, nlist: int, wanted: IndexManifest, home: Path | None) -> Any:
    def write_manifest(folder: Path, digests: dict[str, str]) -> None:
        kept = msgspec.structs.replace(wanted, parts_sha256=digests)
        write_atomically(folder / "manifest.json", msgspec.json.encode(kept))

    if not home:
        raise ConfigError(
            f"an index of {len(vectors):,} vectors that are read from the disk is built on the disk. Name a folder for "
            "it with --index-dir."
        )
    try:
        build_parts(
            vectors,
            home,
            train=lambda sample: _train(sample, kind, nlist),
            finish=_finish,
            num_sampled=max(nlist * POINTS_PER_LIST, LEAST_SAMPLE),
            write_manifest=write_manifest,
        )
    except (OSError, RuntimeError) as error:  # FAISS reports a full or read-only disk as RuntimeError
        raise ConfigError(
            f"{home}: the index could not be built there ({error}). Free space, or name another folder with "
            "--index-dir."
        ) from None
    return _open_kept(home)


def _open_kept(home: Path) -> Any:
    """The index of a folder whose manifest was held against it."""
    import faiss

    kept = msgspec.json.decode((home / "manifest.json").read_bytes(), type=IndexManifest)
    if kept.parts_sha256:
        return open_parts([home / name for name in kept.parts_sha256])
    return faiss.read_index(str(home / INDEX_FILE))


def _train(vectors: FloatArray, kind: IndexKind, nlist: int) -> Any:
    """An empty index that has learned its centroids and codes."""
    import faiss

    dim = vectors.shape[1]
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFFlat(quantizer, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 0
    index.cp.niter = ROUNDS
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    index.train(vectors)  # the centroids; both kinds have the same
    return index if kind == "flat" else train_fastscan(vectors, quantizer, nlist)


def _finish(index: Any) -> None:
    """What is left to do when an index is filled."""
    import faiss

    if isinstance(index, faiss.IndexIVFPQFastScan):
        halve_centroids(index)


def _keep(index: Any, manifest: IndexManifest, home: Path) -> None:
    """Write index and manifest. What a power cut may leave of the index is found by the manifest's digest."""
    import faiss

    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    clear_temporaries(home)
    temporary = home / f".{INDEX_FILE}.{os.getpid()}.tmp"
    try:
        faiss.write_index(index, str(temporary))
        digest = file_sha256(temporary)
        temporary.replace(home / INDEX_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    for part in home.glob("part-*.faiss"):  # of an index that was built when the corpus did not fit into memory
        part.unlink()
    kept = msgspec.structs.replace(manifest, index_sha256=digest)
    write_atomically(home / "manifest.json", msgspec.json.encode(kept))


def _why_not_cached(home: Path, wanted: IndexManifest) -> str:
    """Why the index kept in `home` cannot be used; empty if it can."""
    try:
        kept = msgspec.json.decode((home / "manifest.json").read_bytes(), type=IndexManifest)
        if msgspec.structs.replace(kept, index_sha256="", parts_sha256={}) != wanted:
            return "the kept index is of another corpus or has other parameters"
        for name, digest in (kept.parts_sha256 or {INDEX_FILE: kept.index_sha256}).items():
            if not _INDEX_NAME.fullmatch(name):
                return f"{home / 'manifest.json'} names {name!r}, which is no part of an index"
            if file_sha256(home / name) != digest:
                return f"{home / name} was damaged: its sha256 is not the recorded one"
    except FileNotFoundError:
        return "none was kept"
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"the kept index cannot be read ({error})"
    return ""
