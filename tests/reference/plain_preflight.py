"""What the preflight measures, once more: pair by pair, without blocks, samples or shared sums."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def plain_lag_curve(articles: list[Array], num_lags: int) -> list[float | None]:
    """Mean cosine of chunks 1, 2, ... apart in (C, D) articles."""
    curve: list[float | None] = []
    for lag in range(1, num_lags + 1):
        cosines = [float(a[i] @ a[i + lag]) for a in articles for i in range(len(a) - lag)]
        curve.append(float(np.mean(cosines)) if cosines else None)
    return curve


def plain_carried_cosines(articles: list[Array], lag: int) -> list[float]:
    """x_{t+h} . Q x_t with the rotation Q fitted on the articles of the other parity, in all directions."""
    dim = articles[0].shape[1]
    rotations = []
    for parity in (0, 1):
        pairs = [(a[i], a[i + lag]) for a in articles[1 - parity :: 2] for i in range(len(a) - lag)]
        covariance = sum(np.outer(later, earlier) for earlier, later in pairs) / len(pairs) + np.eye(dim) / dim
        left, _, right = np.linalg.svd(covariance)
        rotations.append(left @ right)
    cosines = []
    for number, article in enumerate(articles):
        cosines += [float(article[i + lag] @ rotations[number % 2] @ article[i]) for i in range(len(article) - lag)]
    return cosines


def plain_ridge_cosine(train: Array, judged: Array, penalty: float) -> float:
    """Mean cosine of a ridge's prediction of the last chunk of (W, L + 1, D) windows from those before it."""
    inputs, outputs = train[:, :-1].reshape(len(train), -1), train[:, -1]
    weights = np.linalg.solve(inputs.T @ inputs + penalty * np.eye(inputs.shape[1]), inputs.T @ outputs)
    predicted = judged[:, :-1].reshape(len(judged), -1) @ weights
    return float(np.mean([p @ t / np.linalg.norm(p) for p, t in zip(predicted, judged[:, -1], strict=True)]))


def plain_pairwise_cosine(vectors: Array) -> float:
    """Mean cosine of two different rows of (N, D) unit vectors."""
    cosines = vectors @ vectors.T
    return float(cosines[~np.eye(len(vectors), dtype=bool)].mean())
