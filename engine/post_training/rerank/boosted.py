"""Gradient-boosted trees over the features of pairs, stored by skops: a description of known types, never a pickle.

A file is not believed: types beyond scikit-learn's own and the one named here are refused before anything is built, and
trees whose nodes point outside of themselves before anything is scored, because scikit-learn follows them unchecked.

Legend: Q queries, K candidates, F features, P pairs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.post_training.headfile import Arrays
from engine.post_training.rerank.features import Pairs, column_names

TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
"""The one type in such a file that skops does not vouch for by itself: arrays of nodes."""
LEARNING_RATE = 0.05
LEAST_IN_LEAF = 50
"""Pairs; a list of 50 candidates has one truth."""
L2 = 10.0


@dataclass(frozen=True, slots=True)
class Boosted:
    """A fitted classifier."""

    names: tuple[str, ...]
    """F features."""
    classifier: Any
    """`HistGradientBoostingClassifier` over 2F columns; scikit-learn has no types."""

    def scores(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """(Q, K) log odds."""
        columns = pairs.matrix(self.names)
        with one_thread():
            flat = self.classifier.decision_function(columns.reshape(-1, columns.shape[2]))
        scores: npt.NDArray[np.float64] = flat.reshape(columns.shape[:2])
        return scores

    def arrays(self) -> Arrays:
        """As it is stored: (bytes,) uint8."""
        import skops.io

        return {"skops": np.frombuffer(skops.io.dumps(self.classifier), np.uint8)}

    @classmethod
    def read(cls, stored: npt.NDArray[np.uint8], names: tuple[str, ...]) -> Boosted:
        """Read what `arrays` stores.

        Raises:
            ValueError: it holds a foreign type, is damaged, or is no classifier of these features.
        """
        import skops.io
        from sklearn.ensemble import HistGradientBoostingClassifier

        data = stored.tobytes()
        try:
            foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
            if foreign:
                raise ValueError(f"holds the foreign type {foreign[0]}")
            classifier = skops.io.loads(data, trusted=TRUSTED)
        except ValueError:
            raise
        except Exception as error:  # whatever zip, json and constructors of a damaged archive trip over
            raise ValueError(f"its trees cannot be read ({type(error).__name__}: {error})") from None
        num_columns = len(column_names(names))
        if type(classifier) is not HistGradientBoostingClassifier or not _is_sound(classifier, num_columns):
            raise ValueError(f"its trees are damaged, or not of {num_columns} columns")
        return cls(names, classifier)


def fit_boosted(
    inputs: npt.NDArray[np.float64],
    labels: npt.NDArray[np.bool_],
    names: tuple[str, ...],
    *,
    trees: int,
    leaves: int,
    seed: int,
) -> Boosted:
    """Fit trees.

    Args:
        inputs: (P, 2F) features of pairs.
        labels: (P,) whether the candidate is the truth.
        names: the features.
        trees: how many, one after another.
        leaves: of a tree at most.
        seed: of the bins.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        max_iter=trees,
        max_leaf_nodes=leaves,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=LEAST_IN_LEAF,
        l2_regularization=L2,
        early_stopping=False,
        random_state=seed,
    )
    with one_thread():
        return Boosted(names, classifier.fit(inputs, labels.astype(np.int64)))


def one_thread() -> AbstractContextManager[object]:
    """One thread for scikit-learn, to be entered after its import.

    What is fitted here is so small that threads mostly wait for each other: all of `lvm-engine rerank` takes 34 s of
    processor time with two, 12 with one.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _is_sound(classifier: Any, num_columns: int) -> bool:
    """Whether every node's children come after it in its tree and every split is on a column that there is."""
    try:
        if classifier.n_features_in_ != num_columns:
            return False
        for (tree,) in classifier._predictors:
            nodes = tree.nodes
            inner = np.flatnonzero(nodes["is_leaf"] == 0)
            splits = nodes[inner]
            children = np.stack([splits["left"], splits["right"]]).astype(np.int64)
            inside = (children > inner).all() and (children < len(nodes)).all()
            known = (splits["feature_idx"] >= 0).all() and (splits["feature_idx"] < num_columns).all()
            if not (len(nodes) and inside and known and not nodes["is_categorical"].any()):
                return False
        return bool(np.isfinite(classifier.decision_function(np.zeros((1, num_columns)))).all())
    except Exception:  # parts that are missing or of another type, wherever scikit-learn comes upon them
        return False
