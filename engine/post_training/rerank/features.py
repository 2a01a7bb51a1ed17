"""What a reranker may look at: features of a query and each of its candidates.

Three sets, each holding the one before it:

- `content`: nothing but vectors.
- `article`: and whether a candidate is of the query's article.
- `playbook`: and whether it is the chunk right after the last context chunk ("+1 gap").

The last two are a trap. A query's truth *is* the chunk after its context, in its article; a corpus that holds it gives
it away, and any model that is shown these features finds it without having learned anything of the text. They serve a
product that may know where its user is reading; they say nothing of the model.

Among the content features `crowding` is the mean cosine of a candidate to all of them: a chunk near to everything is
found for every query, and the truth is less often such a chunk. On the embedded corpus it brings the lift of R@5 from
+.038 to +.069. A little of that comes from the rule that the own context is left out, since the truth's article then
stands among the candidates with fewer chunks: taken over chunks of other articles alone, +.059 is left.

Legend: Q queries, K candidates, L context length, D vector width, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray, IndexArray, Vectors
from engine.data.vector_files import SHORTEST
from engine.evaluation.baselines import Queries
from engine.run.heads import FeatureSet

Feature = npt.NDArray[np.float64]

CONTENT = (
    "cosine",
    "gap to first",
    "local rank",
    "direction",
    "cosine to last",
    "cosine to mean",
    "cosine to nearest",
    "crowding",
)
FEATURES: dict[FeatureSet, tuple[str, ...]] = {
    "content": CONTENT,
    "article": (*CONTENT, "same article"),
    "playbook": (*CONTENT, "same article", "next chunk"),
}
_QUERIES_AT_ONCE = 128
"""Candidates' vectors are gathered for so many: 128 * 50 * 768 float32 are 20 MB."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Features of every query and candidate."""

    features: dict[str, Feature]
    """By name, (Q, K); 0 where there is no candidate."""
    similarity: FloatArray
    """(Q, K, K) float32 cosines between the candidates of a query."""
    valid: npt.NDArray[np.bool_]
    """(Q, K): whether there is a candidate."""

    def matrix(self, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """(Q, K, 2F): each feature, then each less its mean over the query's candidates.

        The mean says what kind of query it is, and no candidate is better for that; the difference is what orders them.
        """
        values = np.stack([self.features[name] for name in names], axis=2)
        count = np.maximum(self.valid.sum(axis=1), 1)[:, None, None]
        relative = np.where(self.valid[:, :, None], values - values.sum(axis=1, keepdims=True) / count, 0)
        return np.concatenate([values, relative], axis=2)

    def take(self, rows: IndexArray) -> Pairs:
        """Of some queries."""
        features = {name: values[rows] for name, values in self.features.items()}
        return Pairs(features, self.similarity[rows], self.valid[rows])


def column_names(names: tuple[str, ...]) -> list[str]:
    """Names of the columns of `Pairs.matrix`."""
    return [*names, *(f"{name}, relative" for name in names)]


def pair_features(
    predicted: FloatArray,
    queries: Queries,
    candidates: IndexArray,
    vectors: Vectors,
    article_of_chunk: npt.NDArray[np.integer] | None = None,
) -> Pairs:
    """All features of queries and their candidates.

    Args:
        predicted: (Q, D) float32 unit vectors.
        queries: what they answer; the truth is not looked at.
        candidates: (Q, K) int64 chunks in any order; -1 for none.
        vectors: (N, D) float32 unit vectors of all chunks.
        article_of_chunk: (N,) articles of the chunks; None leaves out all that is not content.
    """
    blocks = [
        _content(predicted[rows], queries.contexts[rows], candidates[rows], vectors)
        for rows in np.array_split(np.arange(len(candidates)), max(1, -(-len(candidates) // _QUERIES_AT_ONCE)))
    ]
    features = {name: np.concatenate([block[0][name] for block in blocks]) for name in CONTENT}
    valid = candidates >= 0
    if article_of_chunk is not None:
        articles = article_of_chunk[np.maximum(candidates, 0)]
        last = queries.context_chunks[:, -1:]
        features["same article"] = ((articles == queries.articles[:, None]) & valid).astype(np.float64)
        features["next chunk"] = ((candidates == last + 1) & (last >= 0) & valid).astype(np.float64)
    return Pairs(features, np.concatenate([block[1] for block in blocks]), valid)


def _content(
    predicted: FloatArray, contexts: FloatArray, candidates: IndexArray, vectors: Vectors
) -> tuple[dict[str, Feature], FloatArray]:
    """Features that come from vectors alone, and the cosines between candidates."""
    valid = candidates >= 0
    found = vectors[np.maximum(candidates, 0)] * valid[:, :, None]  # (Q, K, D)
    cosine = _dot(found, predicted)
    last = contexts[:, -1]
    to_context = np.matmul(found, contexts.transpose(0, 2, 1)).astype(np.float64)  # (Q, K, L)
    similarity = np.matmul(found, found.transpose(0, 2, 1))  # (Q, K, K)
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    first = np.where(valid, cosine, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + np.argsort(np.argsort(np.where(valid, -cosine, np.inf), axis=1, kind="stable"), axis=1, kind="stable")
    values = {
        "cosine": cosine,
        "gap to first": np.where(valid, first, 0) - cosine,
        "local rank": np.log(ranks),
        "direction": _direction(found, predicted, last),
        "cosine to last": to_context[:, :, -1],
        "cosine to mean": _dot(found, _unit(contexts.mean(axis=1))),
        "cosine to nearest": to_context.max(axis=2),
        "crowding": similarity.sum(axis=2, dtype=np.float64) / count,  # mean cosine to all candidates, itself too
    }
    return {name: np.where(valid, value, 0) for name, value in values.items()}, similarity


def _direction(found: FloatArray, predicted: FloatArray, last: FloatArray) -> Feature:
    """(Q, K) cosine of the step from the last context chunk to a candidate with the step that was predicted.

    0 where either step has no length.
    """
    steps, step = found - last[:, None], predicted - last
    lengths = np.linalg.norm(steps, axis=2) * np.linalg.norm(step, axis=1)[:, None]
    along = _dot(steps, step)
    directions: Feature = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > SHORTEST)
    return directions


def _dot(left: FloatArray, right: FloatArray) -> Feature:
    """(Q, K, D) by (Q, D) to (Q, K)."""
    product: Feature = np.matmul(left, right[:, :, None])[:, :, 0].astype(np.float64)
    return product


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > SHORTEST, rows / np.maximum(lengths, SHORTEST), 0)
