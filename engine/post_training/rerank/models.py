"""Models that score a query's candidates: logistic regression, boosted trees, and MMR as the baseline without learning.

A learned model tells the truth from the other candidates of its query. Only queries whose truth is among their
candidates have something to teach.

Legend: Q queries, K candidates, F features, P pairs of a query and a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.data.corpus import IndexArray
from engine.post_training.headfile import Arrays
from engine.post_training.rerank.boosted import Boosted, fit_boosted, one_thread
from engine.post_training.rerank.features import Pairs, column_names
from engine.post_training.rerank.mmr import GRID as MMR_GRID
from engine.post_training.rerank.mmr import Mmr
from engine.run.convert import ConfigError
from engine.run.heads import RerankModel

Setting = Mapping[str, float]

GRIDS: dict[RerankModel, tuple[Setting, ...]] = {
    "logistic": tuple({"C": c} for c in (0.01, 0.1, 1.0, 10.0)),
    "gbdt": tuple({"trees": trees, "leaves": 4} for trees in (50, 150)),
    "mmr": MMR_GRID,
}
"""What is tried, from the least change to the largest. C is the inverse of the L2 penalty."""
_MAX_ITERATIONS = 5000


class Scorer(Protocol):
    """Scores candidates."""

    def scores(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """(Q, K) float64; the higher, the earlier. What stands where there is no candidate is of no matter."""
        ...

    def arrays(self) -> Arrays:
        """As it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression on standardised features; the intercept, which orders nothing, is left out."""

    names: tuple[str, ...]
    """F features."""
    mean: npt.NDArray[np.float64]
    """(2F,)"""
    scale: npt.NDArray[np.float64]
    """(2F,) standard deviations; 1 for a feature that never varies."""
    weights: npt.NDArray[np.float64]
    """(2F,)"""

    def scores(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """(Q, K) log odds, apart from a constant."""
        scores: npt.NDArray[np.float64] = ((pairs.matrix(self.names) - self.mean) / self.scale) @ self.weights
        return scores

    def arrays(self) -> Arrays:
        """As it is stored."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights}

    def by_name(self) -> dict[str, float]:
        """The weight of each column."""
        return dict(zip(column_names(self.names), self.weights.tolist(), strict=True))


def fit_scorer(
    model: RerankModel, setting: Setting, pairs: Pairs, truth_at: IndexArray, names: tuple[str, ...], *, seed: int
) -> Scorer:
    """Fit a model.

    Args:
        model: which.
        setting: one of `GRIDS`.
        pairs: Q queries.
        truth_at: (Q,) int64 ranks of the truth among the candidates, from 1; 0 where it is not.
        names: the features it may look at.
        seed: of the boosted trees.

    Raises:
        ConfigError: no query has its truth among its candidates.
    """
    if model == "mmr":
        return Mmr(trade=setting["trade"], directional=setting["directional"])
    rows = np.flatnonzero(truth_at > 0)
    if not len(rows):
        raise ConfigError(
            f"none of the {len(truth_at):,} fitting queries has its truth among its first candidates: there is nothing "
            "to learn an order from. Train the model further first."
        )
    taught = pairs.take(rows)
    is_truth = np.arange(1, taught.valid.shape[1] + 1) == truth_at[rows, None]
    inputs, labels = taught.matrix(names)[taught.valid], is_truth[taught.valid]  # (P, 2F), (P,)
    if model == "gbdt":
        return fit_boosted(inputs, labels, names, trees=int(setting["trees"]), leaves=int(setting["leaves"]), seed=seed)
    return _fit_logistic(inputs, labels, names, setting["C"])


def _fit_logistic(
    inputs: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], names: tuple[str, ...], c: float
) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > np.finfo(np.float32).eps, scale, 1.0)
    with one_thread():
        fitted = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS).fit((inputs - mean) / scale, labels)
    return Logistic(names, mean, scale, fitted.coef_[0].astype(np.float64))


def read_scorer(model: RerankModel, arrays: Arrays, names: tuple[str, ...]) -> Scorer:
    """A model from its arrays.

    Raises:
        KeyError, ValueError: they are not what the model stores.
    """
    if model == "gbdt":
        return Boosted.read(arrays["skops"], names)
    if model == "mmr":
        return Mmr(trade=float(arrays["trade"].item()), directional=float(arrays["directional"].item()))
    columns = (len(column_names(names)),)
    mean, scale, weights = (arrays[name].astype(np.float64) for name in ("mean", "scale", "weights"))
    if not mean.shape == scale.shape == weights.shape == columns or not (scale > 0).all():
        raise ValueError(f"weights of {weights.shape} do not fit {columns[0]} columns")
    return Logistic(names, mean, scale, weights)
