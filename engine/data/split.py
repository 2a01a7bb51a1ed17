"""Which windows train, which validate and which nobody sees until an evaluation.

Overlapping windows of one article are nearly copies of each other. Drawn at random they put the answers of validation
into training, so the split is by article: every window of an article falls on the same side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.data.corpus import IndexArray
from engine.data.windows import WindowSource
from engine.run.convert import ConfigError


@dataclass(frozen=True, slots=True)
class Split:
    """Window numbers by use; together every window once, each in ascending order."""

    train: IndexArray
    """int64."""
    val: IndexArray
    """int64."""
    test: IndexArray
    """int64; empty with a test share of 0."""
    article_disjoint: bool
    """No article has windows in two of them. False where the source names no articles."""


def split_windows(source: WindowSource, *, val_share: float, test_share: float, seed: int) -> Split:
    """Split by article; by window where articles are unknown, which `article_disjoint` then says.

    Args:
        source: what to split.
        val_share: share of the articles for validation, in (0, 1); at least one article.
        test_share: share of the articles for evaluation, in [0, 1); at least one article unless 0.
        seed: decides which; equal seeds and sources give equal splits.

    Raises:
        ConfigError: there are too few articles for that.
    """
    groups = source.articles if source.has_articles else np.arange(source.num_windows)
    names, group_of_window = np.unique(groups, return_inverse=True)
    num_val = max(1, round(val_share * len(names)))
    num_test = max(1, round(test_share * len(names))) if test_share else 0
    if num_val + num_test >= len(names):
        what = "articles" if source.has_articles else "windows"
        raise ConfigError(
            f"[data] val_share = {val_share}, test_share = {test_share}: {len(names)} {what} leave nothing to train "
            "on. Take smaller shares, or more data."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    side_of_group = np.zeros(len(names), np.int8)
    side_of_group[order[:num_val]] = 1
    side_of_group[order[num_val : num_val + num_test]] = 2
    side = side_of_group[group_of_window.reshape(-1)]
    train, val, test = (np.flatnonzero(side == number).astype(np.int64) for number in range(3))
    return Split(train, val, test, article_disjoint=source.has_articles)
