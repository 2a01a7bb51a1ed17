"""What an evaluation searches and asks: the test windows of a corpus, or the playbook's files.

Legend: T tuning queries, Q queries, L context length, D vector width, N chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.data.corpus import Corpus, FloatArray, IndexArray, Vectors, check_digests
from engine.data.npz import check_whole
from engine.data.payload_corpus import UNKNOWN_EMBEDDER, open_payload, payload_keys
from engine.data.playbook_files import (
    MEAN_AT_LEAST,
    P5_AT_LEAST,
    EvalWindows,
    alignment,
    check_provenance,
    find_contexts,
    find_truths,
    open_eval_windows,
)
from engine.data.split import Split
from engine.data.windows import CorpusWindows
from engine.evaluation.baselines import Queries
from engine.evaluation.evaluator import sample_queries
from engine.evaluation.fastscan import IndexChoice
from engine.evaluation.foreign_index import open_given_index
from engine.evaluation.retrieval import ChunkIndex, open_index
from engine.evaluation.tuner import QUERIES
from engine.run.convert import ConfigError
from engine.run.settings import EvalConfig

OpenIndex = Callable[[IndexChoice, int | None], ChunkIndex]
"""Kind and nlist (None for the usual) to an index of the corpus."""


@dataclass(frozen=True, slots=True)
class EvalInputs:
    """All that an evaluation needs besides the model."""

    source: CorpusWindows
    """Windows of the corpus that is searched."""
    queries: Queries
    train: IndexArray
    """(W,) int64 windows of `source` that fit the ridge."""
    tuning: FloatArray
    """(T, L, D) contexts of windows that are not among the queries."""
    vectors: Vectors
    """(N, D) float32 unit vectors of the corpus."""
    open_index: OpenIndex
    embedder: str
    index_is_given: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlaybookFiles:
    """The files that the playbook's command names."""

    eval_npz: Path
    payload: Path
    faiss: Path | None
    trusted: bool
    """Whether a payload may be unpickled."""
    allow_misaligned: bool


def corpus_inputs(source: CorpusWindows, split: Split, config: EvalConfig, cache: Path) -> EvalInputs:
    """Query the test windows of a corpus.

    Raises:
        ConfigError: there is none, or the corpus is not what was imported.
    """
    corpus = source.corpus
    check_digests(corpus)  # retrieval is measured on every vector, and a flipped bit is none that looks wrong
    windows = sample_queries(split.test, config.limit, config.seed)
    unasked = np.setdiff1d(split.test, windows)
    others = unasked if len(unasked) >= QUERIES else np.concatenate([unasked, split.val])
    vectors = corpus.searchable()
    return EvalInputs(
        source=source,
        queries=Queries.gather(source, windows),
        train=split.train,
        tuning=_tuning_contexts(source, others, config),
        vectors=vectors,
        open_index=lambda choice, nlist: open_index(corpus, vectors, cache, choice=choice, nlist=nlist),
        embedder=corpus.manifest.embedder,
        notes=_note_disk(vectors),
    )


def playbook_inputs(files: PlaybookFiles, *, dim: int, context: int, config: EvalConfig, cache: Path) -> EvalInputs:
    """Query the windows of an evaluation file against a payload.

    Args:
        files: what was named.
        dim: width of the model's vectors.
        context: chunks that the model looks at.
        config: how many queries, and how the index is searched.
        cache: folder that keeps converted payloads and indexes.

    Raises:
        ConfigError: a file is damaged, the files do not belong together, or the model does not fit them.
    """
    if files.faiss and config.index != "auto":
        raise ConfigError(f"--index {config.index}: {files.faiss} is searched as it is. Leave out --index or --faiss.")
    windows = open_eval_windows(files.eval_npz)
    _num, length, width = windows.contexts.shape
    if width != dim or length < context:
        raise ConfigError(
            f"{files.eval_npz}: holds contexts of {length} chunks in {width} dimensions, and the checkpoint looks at "
            f"{context} in {dim}. Evaluate a checkpoint that was trained on such windows."
        )
    corpus = open_payload(files.payload, trusted=files.trusted, kept=cache)
    if corpus.dim != dim:
        raise ConfigError(
            f"{files.payload}: holds vectors of {corpus.dim} dimensions, and the checkpoint predicts {dim}: they come "
            "from different encoders. Name the payload of the checkpoint's encoder."
        )
    check_digests(corpus)
    check_whole(files.eval_npz)
    keys, vectors = payload_keys(corpus), corpus.searchable()
    truths = find_truths(windows, keys)
    notes = [*_doubts(files, windows, corpus, truths, vectors), *_note_disk(vectors)]
    asked = sample_queries(np.flatnonzero(truths >= 0), config.limit, config.seed)
    contexts, targets = windows.gather(asked)
    contexts = contexts[:, -context:]
    context_chunks = find_contexts(contexts, truths[asked], keys, vectors)
    lost = int((context_chunks < 0).sum())
    if lost:
        notes.append(
            f"{lost:,} of {context_chunks.size:,} own context chunks are not in the payload (or occur twice), so they "
            "could not be left out"
        )
    source = CorpusWindows(corpus, context)
    articles = corpus.article_of_chunk[truths[asked]].astype(np.int64)
    train = np.flatnonzero(~np.isin(source.articles, corpus.article_of_chunk[truths[truths >= 0]]))
    if not len(train):
        notes.append("every article of the payload is queried, so there is no window to fit the ridge on")
    others = train if len(train) else np.flatnonzero(~np.isin(source.target_chunks, truths[asked]))
    given = files.faiss

    def open_any(choice: IndexChoice, nlist: int | None) -> ChunkIndex:
        if given:
            return open_given_index(given, vectors, keys, nprobe=config.nprobe)
        return open_index(corpus, vectors, cache, choice=choice, nlist=nlist)

    return EvalInputs(
        source=source,
        queries=Queries(
            contexts=contexts,
            targets=targets,
            truth_chunks=truths[asked],
            context_chunks=context_chunks,
            articles=articles,
            topics=[corpus.topics[topic] for topic in corpus.topic_of_article[articles].tolist()],
        ),
        train=train,
        tuning=_tuning_contexts(source, others, config),
        vectors=vectors,
        open_index=open_any,
        embedder=_encoder(windows, corpus),
        index_is_given=given is not None,
        notes=notes,
    )


def _doubts(
    files: PlaybookFiles, windows: EvalWindows, corpus: Corpus, truths: IndexArray, vectors: Vectors
) -> list[str]:
    """Why windows and payload may not belong together, as notes where that was allowed.

    Raises:
        ConfigError: they do not, and it was not allowed; or not a single truth is in the payload.
    """
    known = np.flatnonzero(truths >= 0)
    doubts = check_provenance(windows, str(files.payload), corpus.manifest.embedder)
    if not len(known):
        raise ConfigError(
            f"{files.eval_npz}: none of its {len(truths):,} truth_keys is in {files.payload} (the first is "
            f"{windows.truth_keys[0].tolist()!r}). Name the payload that the windows were made from."
        )
    if len(known) < len(truths):
        first = windows.truth_keys[int(np.flatnonzero(truths < 0)[0])].tolist()
        doubts.append(
            f"{files.eval_npz}: {len(truths) - len(known):,} of {len(truths):,} truth_keys are not in {files.payload}, "
            f"the first of them {first!r}"
        )
    mean, p5 = alignment(windows.targets_of(known), vectors[truths[known]])
    if mean < MEAN_AT_LEAST or p5 < P5_AT_LEAST:
        doubts.append(
            f"{files.eval_npz}: its targets are not the vectors of {files.payload} under the same keys: cosine mean "
            f"{mean:.3f} (bar {MEAN_AT_LEAST}), 5th percentile {p5:.3f} (bar {P5_AT_LEAST}), as with another encoder "
            "or shifted keys, and retrieval would be low whatever the model is worth"
        )
    if doubts and not files.allow_misaligned:
        raise ConfigError(
            f"{'; '.join(doubts)}. Write the windows again from this payload, name the payload they were made from, or "
            "say --allow-misaligned to evaluate all the same."
        )
    return [*doubts, f"truth to payload cosine: mean {mean:.3f}, 5th percentile {p5:.3f}"]


def _note_disk(vectors: Vectors) -> list[str]:
    """What a reader of the latency should know."""
    if isinstance(vectors, np.ndarray):
        return []
    return [
        f"the vectors would take {4 * vectors.size / 1e9:.1f} GB of memory, so they are searched from the disk: the "
        "latency of an index of codes includes reading its candidates"
    ]


def _encoder(windows: EvalWindows, corpus: Corpus) -> str:
    said = corpus.manifest.embedder
    return windows.provenance.encoder or said if said == UNKNOWN_EMBEDDER else said


def _tuning_contexts(source: CorpusWindows, windows: IndexArray, config: EvalConfig) -> FloatArray:
    """(T, L, D) a sample of windows; none unless tuning was asked for."""
    if not config.tune:
        return np.empty((0, source.context, source.dim), np.float32)
    if not len(windows):
        raise ConfigError("--tune: every window is queried, so none is left to tune with. Take a smaller --limit.")
    return source.gather(sample_queries(windows, QUERIES, config.seed + 1))[0]
