"""A reranker: a model, the features it looks at, and where it was fitted. Reads and writes its file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.evaluation.baselines import Queries
from engine.post_training.headfile import FittedMeta, read_fitted, write_fitted
from engine.post_training.rerank.features import FEATURES, Pairs, pair_features
from engine.post_training.rerank.models import Scorer, read_scorer
from engine.run.convert import ConfigError
from engine.run.heads import FeatureSet, RerankModel


class RerankerMeta(FittedMeta, frozen=True, kw_only=True):
    """What a reranker's file says of itself."""

    model: RerankModel
    features: FeatureSet
    setting: str
    """The trial that won, such as `C=1`."""
    scikit_learn: str
    """Version that wrote it; boosted trees are read by that one alone."""


@dataclass(frozen=True, slots=True)
class Reranker:
    """Reorders the first candidates of queries. Made by `fit_reranker` or read by `load_reranker`."""

    scorer: Scorer
    meta: RerankerMeta

    def order(
        self,
        predicted: FloatArray,
        queries: Queries,
        candidates: IndexArray,
        vectors: Vectors,
        article_of_chunk: npt.NDArray[np.integer] | None = None,
    ) -> IndexArray:
        """Candidates in a better order; those with equal scores keep theirs.

        Args:
            predicted: (Q, D) float32 unit vectors.
            queries: what they answer. The truth is not looked at.
            candidates: (Q, K) int64, best first, as the search gave them, own context left out; -1 for none.
            vectors: (N, D) float32 unit vectors of all chunks.
            article_of_chunk: (N,) articles of the chunks; only the feature set `content` does without.

        Returns:
            (Q, K) int64: the same candidates; -1 last.

        Raises:
            ConfigError: articles are needed, or the vectors have another width.
        """
        if predicted.shape[1] != self.meta.dim:
            raise ConfigError(
                f"the reranker was fitted to vectors of {self.meta.dim} dimensions, these have {predicted.shape[1]}: "
                "they come from another model. Fit one to its checkpoint with `lvm-engine rerank`."
            )
        if article_of_chunk is None and self.meta.features != "content":
            raise ConfigError(
                f"the reranker's features `{self.meta.features}` need the article of every chunk, which is not known "
                "here. Use one that was fitted with `lvm-engine rerank --features content`."
            )
        pairs = pair_features(predicted, queries, candidates, vectors, article_of_chunk)
        return reorder(candidates, self.scorer, pairs)

    def save(self, path: Path) -> None:
        """Write it as safetensors; boosted trees within as skops writes them."""
        write_fitted(path, self.scorer.arrays(), self.meta)


def reorder(candidates: IndexArray, scorer: Scorer, pairs: Pairs) -> IndexArray:
    """(Q, K) candidates by falling score, equal ones in the order they had, -1 last."""
    falling = np.where(pairs.valid, -scorer.scores(pairs), np.inf)
    return np.take_along_axis(candidates, np.argsort(falling, axis=1, kind="stable"), axis=1)


def load_reranker(path: Path, *, checkpoint_sha256: str = "", corpus_sha256: str = "") -> Reranker:
    """Read a reranker.

    Args:
        path: its file.
        checkpoint_sha256: of the weights whose predictions it shall order candidates for; empty for no check.
        corpus_sha256: of the corpus they are candidates of; empty for no check.

    Raises:
        ConfigError: it is missing, damaged, holds a type that is not trusted, was written by another scikit-learn, or
            was fitted to another checkpoint or corpus.
    """
    arrays, meta = read_fitted(
        path, RerankerMeta, verb="rerank", checkpoint_sha256=checkpoint_sha256, corpus_sha256=corpus_sha256
    )
    if meta.model == "gbdt" and meta.scikit_learn != metadata.version("scikit-learn"):
        raise ConfigError(
            f"{path}: its trees were written by scikit-learn {meta.scikit_learn}, here is "
            f"{metadata.version('scikit-learn')}, which may read them differently. Fit again with `lvm-engine rerank`."
        )
    try:
        scorer = read_scorer(meta.model, arrays, FEATURES[meta.features])
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"{path}: not a {meta.model} reranker: {error}. Do not use it; fit again with `lvm-engine rerank`."
        ) from None
    return Reranker(scorer, meta)
