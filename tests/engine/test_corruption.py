"""Corruption of contexts: what it may touch, how often, and that it is a function of its place in the training."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.run.settings import SamplerConfig
from engine.training.corruption import corrupt_contexts

HIDE = SamplerConfig(article_dropout=1.0, span_corruption=0.0)
REPLACE = SamplerConfig(article_dropout=0.0, span_corruption=1.0)


def labelled(num_windows: int, length: int) -> np.ndarray:
    """Chunk p of window w is the vector (w + 1, p + 1)."""
    windows, positions = np.meshgrid(np.arange(num_windows), np.arange(length), indexing="ij")
    return np.stack([windows + 1, positions + 1], axis=-1).astype(np.float32)


def corrupt(contexts: np.ndarray, articles: np.ndarray, config: SamplerConfig, step: int = 0) -> np.ndarray:
    return corrupt_contexts(contexts, articles, config, seed=0, step=step, micro_batch=0)


@given(num_windows=st.integers(1, 20), length=st.integers(2, 9), step=st.integers(0, 1000))
def test_dropout_hides_the_oldest_chunks_and_never_the_newest(num_windows: int, length: int, step: int) -> None:
    contexts = labelled(num_windows, length)
    corrupted = corrupt(contexts, np.arange(num_windows), HIDE, step)
    hidden = (corrupted == 0).all(-1)
    assert hidden[:, 0].all()
    assert not hidden[:, -1].any()
    assert (np.diff(hidden.astype(int), axis=1) <= 0).all()  # hidden first, then visible
    assert np.array_equal(corrupted[~hidden], contexts[~hidden])


@given(
    articles=st.lists(st.integers(-1, 3), min_size=1, max_size=20), length=st.integers(2, 9), step=st.integers(0, 1000)
)
def test_spans_come_from_another_article_at_the_same_place(articles: list[int], length: int, step: int) -> None:
    contexts = labelled(len(articles), length)
    corrupted = corrupt(contexts, np.array(articles), REPLACE, step)
    for window, article in enumerate(articles):
        changed = np.flatnonzero((corrupted[window] != contexts[window]).any(-1))
        if len(changed) == 0:
            continue
        assert len(changed) <= length // 2
        assert np.array_equal(changed, np.arange(changed[0], changed[-1] + 1))
        donors = {int(label) - 1 for label in corrupted[window, changed, 0]}
        assert len(donors) == 1
        donor = donors.pop()
        assert donor != window
        assert articles[donor] != article or article == -1
        assert np.array_equal(corrupted[window, changed, 1], changed + 1)


def test_a_batch_of_one_article_keeps_its_contexts_whole() -> None:
    contexts = labelled(8, 5)
    assert np.array_equal(corrupt(contexts, np.zeros(8, int), REPLACE), contexts)


def test_the_shares_are_the_ones_asked_for() -> None:
    contexts = labelled(20_000, 5)
    corrupted = corrupt(contexts, np.arange(20_000), SamplerConfig(article_dropout=0.2, span_corruption=0.1))
    hidden = (corrupted[:, 0] == 0).all(-1)
    replaced = ((corrupted != contexts) & (corrupted != 0)).any((1, 2))
    assert abs(hidden.mean() - 0.2) < 0.01
    assert 0.08 < replaced.mean() < 0.105  # a few replaced spans are hidden by the dropout


def test_it_is_a_function_of_seed_step_and_micro_batch() -> None:
    contexts, articles, config = labelled(64, 5), np.arange(64), SamplerConfig()

    def at(seed: int, step: int, micro_batch: int) -> np.ndarray:
        return corrupt_contexts(contexts, articles, config, seed=seed, step=step, micro_batch=micro_batch)

    assert np.array_equal(at(1, 2, 3), at(1, 2, 3))
    assert not any(np.array_equal(at(1, 2, 3), other) for other in (at(0, 2, 3), at(1, 0, 3), at(1, 2, 0)))


def test_nothing_is_copied_where_nothing_is_to_be_done_and_the_input_is_never_changed() -> None:
    contexts = labelled(8, 5)
    assert corrupt(contexts, np.arange(8), SamplerConfig(article_dropout=0, span_corruption=0)) is contexts
    assert corrupt(labelled(8, 1), np.arange(8), HIDE).shape == (8, 1, 2)
    corrupt(contexts, np.arange(8), HIDE)
    assert np.array_equal(contexts, labelled(8, 5))
