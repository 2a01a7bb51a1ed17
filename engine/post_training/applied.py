"""What was fitted after a training, applied: a head between model and search, a reranker behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.corpus import Corpus, FloatArray, IndexArray, Vectors, file_sha256
from engine.run.heads import TRAP

if TYPE_CHECKING:
    from engine.evaluation.baselines import Queries
    from engine.evaluation.evaluator import Predict
    from engine.evaluation.reranked import Rerank
    from engine.post_training.headfile import FittedMeta
    from engine.post_training.rerank.reranker import RerankerMeta


@dataclass(frozen=True, slots=True)
class Applied:
    """A predictor with a head behind it, and a reranker."""

    predict: Predict
    rerank: Rerank | None
    head: str = ""
    """File and sha256, as a report names them; empty for none."""
    reranker: str = ""
    """Likewise."""
    notes: list[str] = field(default_factory=list)
    """What they were fitted on, and what a reader should know of them."""


def apply_fitted(
    predict: Predict,
    *,
    head: Path | None,
    reranker: Path | None,
    checkpoint_sha256: str,
    corpus: Corpus,
    vectors: Vectors,
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
    notes = []
    if head is not None:
        from engine.post_training.alignment import load_head

        aligned = load_head(head, **fitted_to)
        apply, model = aligned.apply, predict
        meta = aligned.meta
        notes.append(f"every prediction goes through the head {head} ({meta.kind}, {meta.setting}){_fitted_on(meta)}")

        def predict(contexts: FloatArray) -> FloatArray:
            return apply(model(contexts))

    if reranker is not None:
        from engine.post_training.rerank.reranker import load_reranker

        reordering = load_reranker(reranker, **fitted_to)
        order = reordering.order
        notes += _reranker_notes(reranker, reordering.meta, behind_head=head is not None)

        def rerank(predicted: FloatArray, queries: Queries, candidates: IndexArray) -> IndexArray:
            return order(predicted, queries, candidates, vectors, corpus.article_of_chunk)

    return Applied(predict, rerank, _named(head), _named(reranker), notes)


def _reranker_notes(path: Path, meta: RerankerMeta, *, behind_head: bool) -> list[str]:
    """What a reader of the reranked row should know."""
    notes = [f"the reranked row is by {path} ({meta.model}, {meta.features}, {meta.setting}){_fitted_on(meta)}"]
    if meta.features != "content":
        notes.append(
            f"the gates say nothing of the model: the reranker looks at the features `{meta.features}`. {TRAP}"
        )
    if behind_head:
        notes.append("the reranker was fitted to the model's own predictions, and orders those of the head here")
    return notes


def _fitted_on(meta: FittedMeta) -> str:
    return f", fitted on {meta.num_fit_articles:,} validation articles"


def _named(path: Path | None) -> str:
    return f"{path.absolute()} {file_sha256(path)}" if path else ""
