"""What was fitted after a training, applied: a head between model and search, a reranker behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.corpus import Corpus, FloatArray, IndexArray, file_sha256

if TYPE_CHECKING:
    from engine.evaluation.baselines import Queries
    from engine.evaluation.evaluator import Predict
    from engine.evaluation.reranked import Rerank


@dataclass(frozen=True, slots=True)
class Applied:
    """A predictor with a head behind it, and a reranker."""

    predict: Predict
    rerank: Rerank | None
    head: str = ""
    """File and sha256, as a report names them; empty for none."""
    reranker: str = ""
    """Likewise."""


def apply_fitted(
    predict: Predict,
    *,
    head: Path | None,
    reranker: Path | None,
    checkpoint_sha256: str,
    corpus: Corpus,
    vectors: FloatArray,
) -> Applied:
    """Put a head and a reranker behind a model.

    Args:
        predict: the model.
        head: file of `lvm-engine align`; None for none.
        reranker: file of `lvm-engine rerank`; None for none.
        checkpoint_sha256: of the model's weights, which both must have been fitted to.
        corpus: what is searched, which both must have been fitted in.
        vectors: (N, D) float32, its vectors.

    Raises:
        ConfigError: a file is damaged, or was fitted to another checkpoint or corpus.
    """
    fitted_to = {"checkpoint_sha256": checkpoint_sha256, "corpus_sha256": corpus.sha256}
    rerank: Rerank | None = None
    if head is not None:
        from engine.post_training.alignment import load_head

        apply = load_head(head, **fitted_to).apply
        model = predict

        def predict(contexts: FloatArray) -> FloatArray:
            return apply(model(contexts))

    if reranker is not None:
        from engine.post_training.rerank.reranker import load_reranker

        order = load_reranker(reranker, **fitted_to).order

        def rerank(predicted: FloatArray, queries: Queries, candidates: IndexArray) -> IndexArray:
            return order(predicted, queries, candidates, vectors, corpus.article_of_chunk)

    return Applied(predict, rerank, _named(head), _named(reranker))


def _named(path: Path | None) -> str:
    return f"{path.absolute()} {file_sha256(path)}" if path else ""
