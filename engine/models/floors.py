"""Floors: what needs no training, on the same windows as the model. A curve means little without them beside it.

- `copy_last`: the last context vector.
- `context_mean`: the normalised mean of the context. It scores about as well as many a trained model.
- `ridge`: linear regression of the target on the concatenated context, fitted on the training windows.

Legend: B batch, L context length, D vector width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.data.corpus import FloatArray, IndexArray
from engine.data.vector_files import SHORTEST
from engine.data.windows import WindowSource

FLOORS = ("copy_last", "context_mean", "ridge")
RIDGE_L2 = 30.0
"""The penalty is the ratio of noise to signal variance, so it does not grow with the number of windows. Measured on the
embedded corpus: validation cosine .485 at 1, .552 at 10, .559 at 30, .540 at 100."""
MAX_RIDGE_WINDOWS = 16_384
"""The ridge is fitted on at most this many training windows, evenly spaced: seconds, not minutes, at any size."""
MAX_RIDGE_FEATURES = 8192
"""Longer contexts are cut to their newest chunks, so that the normal equations stay below 270 MB."""
_WINDOWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fitted linear predictor of the next chunk."""

    weights: FloatArray
    """(K * D, D) float32: of the newest K <= L context chunks, concatenated in reading order."""

    def predict(self, contexts: FloatArray) -> FloatArray:
        """(B, L, D) contexts to (B, D) unit vectors."""
        num_chunks = len(self.weights) // contexts.shape[-1]
        return _unit(_flatten(contexts, num_chunks) @ self.weights)


def fit_ridge(source: WindowSource, train: IndexArray, *, l2: float = RIDGE_L2) -> Ridge:
    """Least squares with an L2 penalty, from normal equations summed over blocks of windows.

    Args:
        source: where the windows are.
        train: (W,) int64 training windows.
        l2: penalty, above 0, for unit vectors.
    """
    import torch

    num_chunks = min(source.context, max(1, MAX_RIDGE_FEATURES // source.dim))
    num_features = num_chunks * source.dim
    gram = np.zeros((num_features, num_features), np.float32)
    moments = np.zeros((num_features, source.dim), np.float32)
    stride = -(-len(train) // MAX_RIDGE_WINDOWS)
    for windows in _blocks(train[::stride]):
        contexts, targets = source.gather(windows)
        inputs = _flatten(contexts, num_chunks)
        gram += inputs.T @ inputs
        moments += inputs.T @ targets
    gram[np.diag_indices_from(gram)] += l2
    # torch's Cholesky takes 0.5 s where numpy's general solver takes 1.7 (3840 features, one thread)
    factor = torch.linalg.cholesky(torch.from_numpy(gram))
    return Ridge(torch.cholesky_solve(torch.from_numpy(moments), factor).numpy())


def floor_predictions(name: str, contexts: FloatArray, ridge: Ridge | None = None) -> FloatArray:
    """What a floor predicts.

    Args:
        name: one of `FLOORS`.
        contexts: (B, L, D) float32 unit vectors.
        ridge: fitted by `fit_ridge`; needed for `ridge` only.

    Returns:
        (B, D) float32 unit vectors; a zero row where a context's mean is zero.
    """
    if name == "copy_last":
        return contexts[:, -1]
    if name == "context_mean":
        return _unit(contexts.mean(axis=1))
    assert name == "ridge", name
    assert ridge is not None
    return ridge.predict(contexts)


def measure_floors(source: WindowSource, ridge: Ridge, val: IndexArray) -> dict[str, float]:
    """Mean cosine of each floor with the targets of the validation windows, by name.

    Args:
        source: where the windows are.
        ridge: fitted on training windows.
        val: (V,) int64 windows to measure on.
    """
    sums = dict.fromkeys(FLOORS, 0.0)
    for windows in _blocks(val):
        contexts, targets = source.gather(windows)
        for name in FLOORS:
            predictions = floor_predictions(name, contexts, ridge)
            sums[name] += float(np.einsum("bd,bd->", predictions, targets, dtype=np.float64))
    return {name: total / len(val) for name, total in sums.items()}


def _flatten(contexts: FloatArray, num_chunks: int) -> FloatArray:
    """(B, L, D) to (B, K * D): the newest K chunks."""
    return contexts[:, -num_chunks:].reshape(len(contexts), -1)


def _unit(vectors: FloatArray) -> FloatArray:
    """(B, D), each row divided by its length; rows without a direction become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > SHORTEST, vectors / np.maximum(lengths, SHORTEST), 0).astype(np.float32)


def _blocks(windows: IndexArray) -> list[IndexArray]:
    return [windows[start : start + _WINDOWS_AT_ONCE] for start in range(0, len(windows), _WINDOWS_AT_ONCE)]
