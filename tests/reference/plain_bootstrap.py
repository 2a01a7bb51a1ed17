"""A bootstrap of whole articles as it is told: draw articles with replacement, pool their queries, compute."""

from __future__ import annotations

import random

from tests.reference.plain_retrieval import share_within


def resampled_figures(ranks: list[int], articles: list[int], *, resamples: int, seed: int) -> dict[str, list[float]]:
    """Contain@50, R@5 and Eff@5 of each resample."""
    ranks_of: dict[int, list[int]] = {}
    for rank, article in zip(ranks, articles, strict=True):
        ranks_of.setdefault(article, []).append(rank)
    names, generator = list(ranks_of), random.Random(seed)
    figures: dict[str, list[float]] = {"contain50": [], "r5": [], "eff5": []}
    for _ in range(resamples):
        drawn = [rank for article in generator.choices(names, k=len(names)) for rank in ranks_of[article]]
        contain50, r5 = share_within(drawn, 50), share_within(drawn, 5)
        figures["contain50"].append(contain50)
        figures["r5"].append(r5)
        figures["eff5"].append(r5 / contain50 if contain50 else 0.0)
    return figures
