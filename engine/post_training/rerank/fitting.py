"""Fitting rerankers on the fitting articles, and judging them on the others.

Much of what a reranker adds it takes from the context, and would add to any prediction. So the same is done to the
candidates of the context mean, the floor that needs no model: what is left between the two is the model's.

Legend: Q queries, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from typing import get_args

import numpy as np
import numpy.typing as npt

from engine.data.corpus import IndexArray
from engine.evaluation.metrics import Ranks, mrr_at_k
from engine.evaluation.paired import measures_of, paired_lifts
from engine.models.floors import floor_predictions
from engine.post_training.heldout import HeldOut, Sample, article_folds, first_candidates, positions_of
from engine.post_training.rerank.features import FEATURES, Pairs, pair_features
from engine.post_training.rerank.models import GRIDS, Logistic, Setting, fit_scorer
from engine.post_training.rerank.reranker import Reranker, RerankerMeta, reorder
from engine.run.heads import FeatureSet, Figure, FittedReranker, Lift, RerankModel, Trial

MAX_FIT = 4096
"""Fitting queries taken at most; 50 candidates each teach some twenty weights."""
SETS: tuple[FeatureSet, ...] = get_args(FeatureSet)


@dataclass(frozen=True, slots=True)
class Lists:
    """Candidates of a sample, best first by cosine, and all that may be known of them."""

    sample: Sample
    candidates: IndexArray
    """(Q, K) int64; -1 for none."""
    pairs: Pairs
    truth_at: IndexArray
    """(Q,) int64 rank of the truth by cosine; 0 where it is not among them."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A reranker, and how it was judged."""

    reranker: Reranker
    report: FittedReranker
    ranks: Ranks
    """(Q,) int64 of the judging queries' truths after reranking; 0 where they are not among the candidates."""


def floor_of(data: HeldOut) -> HeldOut:
    """The same queries, answered by the mean of their context."""
    fit, judge = (
        Sample(sample.queries, floor_predictions("context_mean", sample.queries.contexts))
        for sample in (data.fit, data.judge)
    )
    return replace(data, fit=fit, judge=judge)


def over_floor(fitted: Fitted, floor: Fitted, judge: Lists, *, seed: int) -> dict[Figure, Lift]:
    """What the reranked model has over the reranked floor, on the same queries."""
    return paired_lifts(measures_of(floor.ranks), measures_of(fitted.ranks), judge.sample.queries.articles, seed=seed)


def list_candidates(data: HeldOut, sample: Sample) -> Lists:
    """The exactly best 50 candidates of every query, with their features."""
    candidates = first_candidates(data.vectors, sample)
    pairs = pair_features(sample.predicted, sample.queries, candidates, data.vectors, data.corpus.article_of_chunk)
    return Lists(sample, candidates, pairs, positions_of(candidates, sample.queries.truth_chunks))


def fit_reranker(
    data: HeldOut, fit: Lists, judge: Lists, model: RerankModel, features: FeatureSet, *, seed: int
) -> Fitted:
    """Choose a setting by cross-validation by article, fit it on all fitting articles, and judge it on the others.

    Args:
        data: where both lists are from.
        fit: candidates of the fitting queries.
        judge: candidates of the judging queries.
        model: which.
        features: what it may look at; `content` for MMR, which looks at vectors alone.
        seed: of folds, trees and intervals.

    Raises:
        ConfigError: no fitting query has its truth among its candidates.
    """
    names = FEATURES[features]
    trials = [_try(fit, model, setting, names, seed) for setting in GRIDS[model]]
    best = int(np.argmax([trial.mrr10 for trial in trials]))  # the first of equals: the least change
    scorer = fit_scorer(model, GRIDS[model][best], fit.pairs, fit.truth_at, names, seed=seed)
    meta = RerankerMeta(
        checkpoint_sha256=data.weights_sha256,
        corpus_sha256=data.corpus.sha256,
        dim=data.vectors.shape[1],
        num_fit_articles=fit.sample.num_articles,
        model=model,
        features=features,
        setting=trials[best].setting,
        scikit_learn=metadata.version("scikit-learn"),
    )
    queries = judge.sample.queries
    after = positions_of(reorder(judge.candidates, scorer, judge.pairs), queries.truth_chunks)
    report = FittedReranker(
        model=model,
        features=features,
        setting=trials[best].setting,
        trials=trials,
        mrr10=trials[best].mrr10,
        weights=scorer.by_name() if isinstance(scorer, Logistic) else {},
        lifts=paired_lifts(measures_of(judge.truth_at), measures_of(after), queries.articles, seed=seed),
    )
    return Fitted(Reranker(scorer, meta), report, after)


def _try(fit: Lists, model: RerankModel, setting: Setting, names: tuple[str, ...], seed: int) -> Trial:
    """MRR@10 of a setting over the fitting queries, each ordered by what was fitted without its article."""
    ranks: npt.NDArray[np.int64] = np.zeros(len(fit.candidates), np.int64)
    for known, tried in article_folds(fit.sample.queries.articles, seed):
        scorer = fit_scorer(model, setting, fit.pairs.take(known), fit.truth_at[known], names, seed=seed)
        ordered = reorder(fit.candidates[tried], scorer, fit.pairs.take(tried))
        ranks[tried] = positions_of(ordered, fit.sample.queries.truth_chunks[tried])
    return Trial(setting=", ".join(f"{key}={value:g}" for key, value in setting.items()), mrr10=mrr_at_k(ranks, 10))
