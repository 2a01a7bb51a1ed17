"""Two samples of a checkpoint's predictions: one to fit a head or a reranker on, one to judge it by.

What is fitted sees the validation articles, which the training never learned from: predictions on training articles are
better than any that a user will get, and a correction learned there would be one of the wrong errors. What is judged
is the test articles, which nothing saw. (The best checkpoint was chosen by its cosine on the validation articles; that
favours none of them over another.)

Legend: Q queries, L context length, D vector width, N chunks, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.corpus import Corpus, FloatArray, IndexArray, Vectors
from engine.evaluation.baselines import POOL, Queries
from engine.evaluation.evaluator import Predict, predict_all, sample_queries
from engine.evaluation.exact import search_exactly
from engine.evaluation.metrics import Ranks
from engine.evaluation.reranked import first_without
from engine.evaluation.searched import open_searched
from engine.run.convert import ConfigError
from engine.run.heads import Judged
from engine.training.checkpoint import CheckpointMeta, load_model, try_first

FOLDS = 5
"""Of cross-validation on the fitting articles."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries, and what the model predicts for them."""

    queries: Queries
    predicted: FloatArray
    """(Q, D) float32 unit vectors."""

    @property
    def num_articles(self) -> int:
        """Articles the queries come from."""
        return len(np.unique(self.queries.articles))

    def cosines(self, predicted: FloatArray) -> npt.NDArray[np.float64]:
        """(Q,) cosines of (Q, D) predictions for the same queries with the truth."""
        cosines: npt.NDArray[np.float64] = np.einsum("qd,qd->q", predicted, self.queries.targets, dtype=np.float64)
        return cosines


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A checkpoint's two samples, and the corpus that is searched."""

    fit: Sample
    """Of validation articles."""
    judge: Sample
    """Of test articles; none of them is among the former."""
    corpus: Corpus
    vectors: Vectors
    """(N, D) float32 unit vectors of the corpus."""
    checkpoint: Path
    meta: CheckpointMeta
    notes: list[str]

    @property
    def weights_sha256(self) -> str:
        """Identity of the checkpoint's weights."""
        return self.meta.sha256["model.safetensors"]

    @property
    def payload_rule(self) -> str:
        """What is searched and what is left out, in words."""
        return f"all {self.corpus.num_chunks:,} chunks, without the query's own {self.meta.context} context chunks"

    def judged(self, *, argv: list[str], seed: int, seconds: float) -> Judged:
        """What a report says of both samples."""
        return Judged(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            argv=argv,
            checkpoint=str(self.checkpoint.absolute()),
            checkpoint_sha256=self.weights_sha256,
            corpus=self.corpus.manifest.name,
            corpus_sha256=self.corpus.sha256,
            payload_rule=self.payload_rule,
            num_fit_articles=self.fit.num_articles,
            num_fit_queries=len(self.fit.predicted),
            num_judge_articles=self.judge.num_articles,
            num_judge_queries=len(self.judge.predicted),
            seed=seed,
            seconds=round(seconds, 3),
            notes=self.notes,
        )


def open_held_out(checkpoint: Path, corpus_name: str, *, fit_limit: int, limit: int, seed: int) -> HeldOut:
    """Predict for the fitting and the judging queries of a checkpoint.

    Args:
        checkpoint: its folder.
        corpus_name: folder or `embedded:NAME`; empty for the one it was trained on.
        fit_limit: fitting queries at most.
        limit: judging queries at most; 0 takes all.
        seed: of the samples.

    Raises:
        ConfigError: there is no such checkpoint or corpus, they do not fit together, the split keeps no test articles
            or too few validation articles, or a prediction is not finite.
    """
    from engine.device import pick_device

    try_first(checkpoint)
    loaded = load_model(checkpoint, pick_device("cpu"))
    meta = loaded.meta
    searched = open_searched(checkpoint, meta, corpus_name)
    source, split, corpus = searched.source, searched.split, searched.source.corpus
    judge = sample_queries(split.test, limit, seed)
    fit = sample_queries(split.val, fit_limit, seed)
    num_fit_articles = len(np.unique(source.articles[fit]))
    if num_fit_articles < FOLDS:
        raise ConfigError(
            f"[data] val_share: {num_fit_articles} validation articles are too few to fit on; "
            f"cross-validation needs {FOLDS}. Train with a larger val_share, or name a larger corpus with --corpus."
        )
    return HeldOut(
        fit=_predict(loaded.predict, checkpoint, Queries.gather(source, fit)),
        judge=_predict(loaded.predict, checkpoint, Queries.gather(source, judge)),
        corpus=corpus,
        vectors=corpus.searchable(),
        checkpoint=checkpoint,
        meta=meta,
        notes=searched.notes,
    )


def article_folds(articles: IndexArray, seed: int) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Rows to fit on and rows to try on, `FOLDS` times: no article is on both sides, and every row is tried once.

    Args:
        articles: (Q,) int64, of at least `FOLDS` articles.
        seed: of the deal.
    """
    names, article_of_row = np.unique(articles, return_inverse=True)
    fold_of_article = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold_of_row = fold_of_article[article_of_row]
    for fold in range(FOLDS):
        yield np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)


def first_candidates(vectors: Vectors, sample: Sample) -> IndexArray:
    """The exactly best 50 chunks of every query, best first, its own context left out.

    Returns:
        (Q, K) int64; -1, at the end of a row, where a small corpus has no more.
    """
    queries = sample.queries
    asked = min(POOL + int(queries.context_chunks.shape[1]), len(vectors))
    top = search_exactly(vectors, sample.predicted, queries.truth_chunks, queries.context_chunks, k=asked).top
    return first_without(top, queries.context_chunks)


def positions_of(candidates: IndexArray, truths: IndexArray) -> Ranks:
    """(Q,) int64 ranks of the truths (Q,) in lists of candidates (Q, K); 0 where a list has it not."""
    hit = candidates == truths[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def _predict(predict: Predict, checkpoint: Path, queries: Queries) -> Sample:
    predicted = predict_all(predict, queries.contexts)
    healthy = np.logical_and(np.isfinite(predicted).all(axis=1), predicted.any(axis=1))
    if not healthy.all():
        raise ConfigError(
            f"{checkpoint}: {np.count_nonzero(~healthy):,} of {len(healthy):,} predictions are zero or not finite; "
            "nothing can be fitted to them. Use a checkpoint of an earlier epoch, or train again."
        )
    return Sample(queries, predicted)
