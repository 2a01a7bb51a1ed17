"""Splits by article."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.split import Split, split_windows
from engine.data.windows import open_windows
from engine.run.convert import ConfigError
from engine.run.settings import DataConfig


def source(articles: list[int]) -> Any:
    """The part of a window source that a split looks at."""
    known = all(article >= 0 for article in articles)
    return SimpleNamespace(articles=np.array(articles, np.int64), num_windows=len(articles), has_articles=known)


def sides(split: Split) -> list[list[int]]:
    return [split.train.tolist(), split.val.tolist(), split.test.tolist()]


@given(
    st.lists(st.integers(0, 12), min_size=8, max_size=80).filter(lambda articles: len(set(articles)) >= 5),
    st.floats(0.01, 0.35),
    st.floats(0, 0.35),
    st.integers(0, 9),
)
def test_every_window_is_on_one_side_and_no_article_on_two(
    articles: list[int], val_share: float, test_share: float, seed: int
) -> None:
    split = split_windows(source(articles), val_share=val_share, test_share=test_share, seed=seed)
    assert sorted(chain.from_iterable(sides(split))) == list(range(len(articles)))
    names = [{articles[window] for window in side} for side in sides(split)]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert names[0]
    assert names[1]
    assert bool(names[2]) == (test_share > 0)
    assert split.article_disjoint


def test_a_seed_decides_the_split() -> None:
    articles = source([window // 3 for window in range(300)])
    first, again, other = (split_windows(articles, val_share=0.2, test_share=0.2, seed=seed) for seed in (1, 1, 2))
    assert sides(first) == sides(again) != sides(other)


def test_the_embedded_corpus_splits_into_tenths_of_its_articles() -> None:
    windows = open_windows(DataConfig(), Path())
    split = split_windows(windows, val_share=0.1, test_share=0.1, seed=0)
    assert [len(side) for side in sides(split)] == [5_324, 639, 682]
    shares = [len(np.unique(windows.articles[side])) for side in (split.val, split.test)]
    assert shares == [round(0.1 * len(np.unique(windows.articles)))] * 2


def test_without_articles_windows_are_split_and_the_split_says_so() -> None:
    split = split_windows(source([-1] * 100), val_share=0.2, test_share=0.1, seed=0)
    assert [len(side) for side in sides(split)] == [70, 20, 10]
    assert not split.article_disjoint


@pytest.mark.parametrize("articles", [[0] * 50, [0, 1], [-1, -1]])
def test_too_few_to_split_is_refused_in_words(articles: list[int]) -> None:
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        split_windows(source(articles), val_share=0.1, test_share=0.1, seed=0)
