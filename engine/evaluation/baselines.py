"""Rows of an evaluation: how one predictor is measured, and the floors and the ceiling, which no model changes.

Floors and ceiling depend on the corpus, the split, the sample of queries and the index alone. They take longer than the
model itself, so they are kept beside the index and measured once.

Legend: Q queries, L context length, D vector width, N chunks.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.data.windows import CorpusWindows
from engine.evaluation.exact import ExactResult, search_exactly
from engine.evaluation.metrics import bootstrap_intervals, figures_by_topic, retrieval_figures
from engine.evaluation.retrieval import ChunkIndex, ranks_of
from engine.models.floors import FLOORS, RIDGE_L2, floor_predictions
from engine.models.kept_ridge import kept_ridge, ridge_cache
from engine.run.evals import EvalRow
from engine.run.files import write_atomically

POOL = 50
"""Candidates that count as contained."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Test windows, and the chunks they are made of."""

    contexts: FloatArray
    """(Q, L, D)"""
    targets: FloatArray
    """(Q, D)"""
    truth_chunks: IndexArray
    """(Q,)"""
    context_chunks: IndexArray
    """(Q, L); -1 for one that the payload does not hold."""
    articles: IndexArray
    """(Q,) article of each"""
    topics: list[str]
    """(Q,) topic of each"""

    @classmethod
    def gather(cls, source: CorpusWindows, windows: IndexArray) -> Queries:
        """The queries of (Q,) int64 windows."""
        contexts, targets = source.gather(windows)
        truth_chunks = source.target_chunks[windows]
        corpus, articles = source.corpus, source.articles[windows]
        return cls(
            contexts=contexts,
            targets=targets,
            truth_chunks=truth_chunks,
            context_chunks=truth_chunks[:, None] + np.arange(-source.context, 0),
            articles=articles,
            topics=[corpus.topics[topic] for topic in corpus.topic_of_article[articles].tolist()],
        )

    def take(self, rows: IndexArray) -> Queries:
        """Those of (R,) int64 rows, in that order."""
        return Queries(
            contexts=self.contexts[rows],
            targets=self.targets[rows],
            truth_chunks=self.truth_chunks[rows],
            context_chunks=self.context_chunks[rows],
            articles=self.articles[rows],
            topics=[self.topics[row] for row in rows.tolist()],
        )

    def sha256(self) -> str:
        """Identity of what is asked, and of what counts as an answer."""
        digest = hashlib.sha256()
        for array in (self.contexts, self.targets, self.truth_chunks, self.context_chunks):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Payload:
    """What is searched, and how."""

    vectors: Vectors
    """(N, D) float32 unit vectors: exact search."""
    index: ChunkIndex
    """The same vectors, indexed."""
    nprobe: int

    def pool(self, queries: Queries) -> int:
        """Results to ask for so that 50 are left without the own context."""
        return min(POOL + int(queries.context_chunks.shape[1]), len(self.vectors))


@dataclass(frozen=True, slots=True)
class Measured:
    """A row, and the results it was made from."""

    row: EvalRow
    exact: ExactResult
    found: IndexArray
    """(Q, K) int64: what the index found, best first, own context chunks among them."""


class BaselineKey(Struct, frozen=True, kw_only=True):
    """All that floors and ceiling depend on."""

    schema: Literal[3] = 3
    """Raised when rows or keys are made otherwise than they were, so that older ones are measured anew."""
    corpus_sha256: str
    context: int
    queries_sha256: str
    train_sha256: str
    ridge_l2: float
    index: str
    nprobe: int


class _Kept(Struct, frozen=True, kw_only=True):
    key: BaselineKey
    rows: dict[str, EvalRow]
    sha256: str
    """Of the encoded rows: a damaged file is measured anew."""


def measure(predicted: FloatArray, queries: Queries, payload: Payload, *, top: int = 0) -> Measured:
    """Search with predictions.

    Args:
        predicted: (Q, D) float32.
        queries: what they answer.
        payload: what is searched.
        top: how many of the exactly best chunks to keep.
    """
    exact = search_exactly(payload.vectors, predicted, queries.truth_chunks, queries.context_chunks, k=top)
    found = payload.index.search(predicted, payload.pool(queries), nprobe=payload.nprobe)
    non_finite = int(np.count_nonzero(~np.isfinite(predicted).all(axis=1)))
    cosines = np.einsum("qd,qd->q", predicted, queries.targets, dtype=np.float64)
    row = EvalRow(
        cosine=None if non_finite else float(cosines.mean()),
        exact=retrieval_figures(exact.ranks),
        exact_with_context=retrieval_figures(exact.ranks_with_context),
        on_index=retrieval_figures(ranks_of(found, queries.truth_chunks, queries.context_chunks, k=POOL)),
        num_non_finite=non_finite,
        intervals=bootstrap_intervals(exact.ranks, queries.articles),
        by_topic=figures_by_topic(exact.ranks, queries.articles, queries.topics),
    )
    return Measured(row, exact, found)


def measure_baselines(
    source: CorpusWindows, train: IndexArray, queries: Queries, payload: Payload, ridges: Path | None = None
) -> dict[str, EvalRow]:
    """Rows of the floors, and of the truth vectors as queries: `oracle`, the ceiling of this retrieval.

    Args:
        source: windows of the corpus.
        train: (W,) int64 windows to fit the ridge on; without one there is no row for it.
        queries: the sample.
        payload: what is searched.
        ridges: folder that keeps fitted ridges; None for none.
    """
    floors = FLOORS if len(train) else [name for name in FLOORS if name != "ridge"]
    ridge = kept_ridge(source, train, ridges) if len(train) else None
    predictions = {name: floor_predictions(name, queries.contexts, ridge) for name in floors}
    predictions["oracle"] = queries.targets
    return {name: measure(predicted, queries, payload).row for name, predicted in predictions.items()}


def cached_baselines(
    source: CorpusWindows,
    train: IndexArray,
    queries: Queries,
    payload: Payload,
    folder: Path | None,
) -> dict[str, EvalRow]:
    """`measure_baselines`, kept in a folder by all that it depends on.

    Args:
        source: windows of the corpus.
        train: (W,) int64 windows to fit the ridge on.
        queries: the sample.
        payload: what is searched.
        folder: where to keep them; None to measure every time.
    """
    if folder is None:
        return measure_baselines(source, train, queries, payload)
    key = BaselineKey(
        corpus_sha256=source.corpus.sha256,
        context=source.context,
        queries_sha256=queries.sha256(),
        train_sha256=hashlib.sha256(train.tobytes()).hexdigest(),
        ridge_l2=RIDGE_L2,
        index=payload.index.identity,
        nprobe=payload.nprobe,
    )
    name = hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]
    file = folder / f"baselines-{name}.json"
    kept = _read(file)
    if kept and kept.key == key and kept.sha256 == _digest(kept.rows):
        return kept.rows
    rows = measure_baselines(source, train, queries, payload, ridge_cache())
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the evaluation
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, msgspec.json.encode(_Kept(key=key, rows=rows, sha256=_digest(rows))))
    return rows


def _read(file: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _digest(rows: dict[str, EvalRow]) -> str:
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
