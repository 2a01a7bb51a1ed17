"""What a change of the ranking is worth: figures before and after on the same queries, with paired intervals.

Both sides are resampled with the same draws of articles, so what is hard about an article cancels out: the interval of
the difference is far narrower than the two intervals of the figures.

Legend: Q queries, A articles, R resamples, M measures.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engine.evaluation.metrics import RESAMPLES, Ranks
from engine.run.evals import Interval
from engine.run.heads import Figure, Lift

Measures = Mapping[Figure, npt.NDArray[np.float64]]
"""By figure, its value for each query: (Q,) float64. The figure is the mean."""
_TAILS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


def measures_of(ranks: Ranks, cosines: npt.NDArray[np.float64] | None = None) -> dict[Figure, npt.NDArray[np.float64]]:
    """The measures of each query.

    Args:
        ranks: (Q,) int64, 1 for the first candidate, 0 for a truth that was not found.
        cosines: (Q,) float64 of prediction and truth; left out where there is no prediction to speak of.
    """
    found = ranks >= 1
    measures: dict[Figure, npt.NDArray[np.float64]] = {
        "r1": (ranks == 1).astype(np.float64),
        "r5": (found & (ranks <= 5)).astype(np.float64),
        "contain50": (found & (ranks <= 50)).astype(np.float64),
        "mrr10": np.where(found & (ranks <= 10), 1.0 / np.maximum(ranks, 1), 0.0),
    }
    return measures if cosines is None else {"cosine": cosines, **measures}


def paired_lifts(
    before: Measures, after: Measures, articles: npt.NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Figure, Lift]:
    """Every figure before and after, and Eff@5 = R@5 / Contain@50, with 95 % intervals of the differences.

    Whole articles are drawn with replacement, as many as there are, each with all of its queries, and the same ones for
    both sides; see `engine.evaluation.metrics.bootstrap_intervals`.

    Args:
        before: `measures_of` the ranking as it was.
        after: the same of the changed ranking, of the same queries.
        articles: (Q,) int64, the article of each query; Q >= 1.
        resamples: how many to draw.
        seed: of the draws.
    """
    names, article_of_query = np.unique(articles, return_inverse=True)
    # How often each article was drawn: the counts of A draws with replacement are multinomial.
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    times = np.vstack([np.ones(len(names), times.dtype), times])  # (1 + R, A); the first row is what was measured
    left, right = (_figures(side, article_of_query, times) for side in (before, after))
    lifts = {}
    for name in left:
        differences = right[name] - left[name]
        interval = None
        if len(names) > 1:
            low, high = np.percentile(differences[1:], _TAILS).tolist()
            interval = Interval(low=low, high=high)
        lifts[name] = Lift(
            before=float(left[name][0]),
            after=float(right[name][0]),
            difference=float(differences[0]),
            interval=interval,
        )
    return lifts


def _figures(
    measures: Measures, article_of_query: npt.NDArray[np.int64], times: npt.NDArray[np.int64]
) -> dict[Figure, npt.NDArray[np.float64]]:
    """Each figure in each resample: (R,) by name."""
    columns = np.stack([np.ones(len(article_of_query)), *measures.values()], axis=1)  # (Q, 1 + M)
    totals = np.zeros((times.shape[1], columns.shape[1]))
    np.add.at(totals, article_of_query, columns)
    queries, *sums = (times @ totals).T
    figures: dict[Figure, npt.NDArray[np.float64]] = {
        name: total / queries for name, total in zip(measures, sums, strict=True)
    }
    contained = figures["contain50"]
    figures["eff5"] = np.divide(figures["r5"], contained, out=np.zeros(len(times)), where=contained > 0)
    return figures
