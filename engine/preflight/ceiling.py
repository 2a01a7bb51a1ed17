"""The highest mean cosine that any predictor can be expected to reach: how much of a chunk its past can tell.

A chunk is taken as x = u + e, u the signal that its neighbours share and e noise of its own. Cosines between
neighbours are free of e, because noises of different chunks are orthogonal on average. So the cosine of chunks h apart,
extrapolated to h = 0, is E|u|^2 = c0, what a variogram calls one minus the nugget, and no prediction m of u has a
mean cosine E[m.x / |m|] above sqrt(E|u|^2) = sqrt(c0).

The signal may also move in a way that plain cosines do not see, such as turning. So chunks are first carried h steps
forward by the rotation that fits best: Q_h = argmax_Q E[x_{t+h} . Q x_t], an orthogonal Procrustes problem, solved in
the leading principal directions and drawn towards "no turn" by a small penalty. It is fitted on one half of the
articles and applied to the other, so that it cannot fit noise.

What it cannot see: a signal that moves in a way no rotation describes. Such data are told to have a lower ceiling than
they have.

Legend: K principal directions, H lags, G groups (articles).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.preflight.stretches import Figures, Stretches

NUM_RESAMPLES = 500
NUM_SECTIONS = 8
"""Of the data, in their order, taken in turn for the two halves: where articles are unknown, all but those at the seams
stand in one half, and what was learned of an article is not applied to it."""
LEAST_GROUPS = 20
LEAST_PAIRS = 200
LAGS = (1, 2, 3)
"""c(0) = 3 c(1) - 3 c(2) + c(3), the parabola through the first three."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An estimate of the highest mean cosine, and its 95 % interval over articles."""

    value: float
    low: float
    high: float
    turned: bool
    """Chunks were carried forward by a rotation; else plain cosines gave more."""


def estimate_ceiling(stretches: Stretches) -> Ceiling | None:
    """The highest mean cosine any predictor from the past can be expected to reach; None where too little is known.

    Of plain and carried cosines the one that allows more is believed, so that hope is not taken away lightly.
    """
    if stretches.num_groups < LEAST_GROUPS or len(stretches.pairs(LAGS[-1])) < LEAST_PAIRS:
        return None
    plain = [stretches.sums(lag, stretches.cosines(lag)) for lag in LAGS]
    carried = [stretches.sums(lag, carried_cosines(stretches, lag)) for lag in LAGS]
    return max(_ceiling(plain, turned=False), _ceiling(carried, turned=True), key=lambda ceiling: ceiling.value)


def carried_cosines(stretches: Stretches, lag: int) -> Figures:
    """x_{t+h} . Q_h x_t for the pairs at a lag h, Q_h fitted on the groups of the other half.

    Q_h acts on the K leading directions and is the identity elsewhere: with U S V^T the decomposition of
    E[y_{t+h} y_t^T] + I / D, y the coordinates in those directions, it is U V^T.
    """
    left = stretches.pairs(lag)
    coordinates = stretches.vectors @ stretches.basis  # (M, K)
    past, future = coordinates[left], coordinates[left + lag]
    section = stretches.group[stretches.stretch_of_chunk[left]] * NUM_SECTIONS // stretches.num_groups
    half = section % 2
    cosines: Figures = stretches.cosines(lag) - np.einsum("pk,pk->p", past, future)
    penalty = np.eye(past.shape[1], dtype=np.float32) / stretches.vectors.shape[1]
    for judged in (0, 1):
        fitted, applied = half != judged, half == judged
        covariance = future[fitted].T @ past[fitted] / max(1, int(fitted.sum()))
        left_vectors, _, right_vectors = np.linalg.svd(covariance + penalty)
        turned = past[applied] @ (left_vectors @ right_vectors).T
        cosines[applied] += np.einsum("pk,pk->p", turned, future[applied])
    return cosines


def _ceiling(sums: list[tuple[Figures, Figures]], *, turned: bool) -> Ceiling:
    """sqrt of the extrapolated curve, with a bootstrap over groups. `sums` has of each lag (G,) sums and counts."""
    totals = np.stack([total for total, _ in sums])  # (H, G)
    counts = np.stack([count for _, count in sums])
    num_groups = totals.shape[1]
    drawn = np.random.default_rng(0).multinomial(num_groups, np.full(num_groups, 1 / num_groups), NUM_RESAMPLES)
    resampled = _extrapolate(drawn @ totals.T / np.maximum(drawn @ counts.T, 1))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Ceiling(float(_extrapolate(totals.sum(axis=1) / counts.sum(axis=1))), float(low), float(high), turned)


def _extrapolate(curve: Figures) -> Figures:
    """(..., 3) mean cosines at lags 1, 2, 3 to sqrt(c(0)), (...,); 0 below, 1 above what a cosine can be."""
    at_zero = 3 * curve[..., 0] - 3 * curve[..., 1] + curve[..., 2]
    return np.sqrt(np.clip(at_zero, 0, 1))
