"""Topics: the corpus's own, or clusters of the training targets that a resume finds again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.topics import NO_TOPIC, topics_of_windows
from engine.data.windows import ArrayWindows, CorpusWindows
from tests.reference.small_corpus import make_corpus


def planted(path: Path, *, centres: int = 3, each: int = 20) -> tuple[ArrayWindows, np.ndarray]:
    """Windows whose targets stand around a few centres, and which one each stands around."""
    generator = np.random.default_rng(0)
    around = np.repeat(np.arange(centres), each)
    targets = np.eye(centres, 16)[around] + 0.1 * generator.normal(size=(len(around), 16))
    np.savez(path, sequences=generator.normal(size=(len(around), 2, 16)), targets=targets)
    return ArrayWindows(path), around


def test_a_corpus_that_names_topics_keeps_them(tmp_path: Path) -> None:
    source = CorpusWindows(make_corpus(tmp_path / "c", [9, 7, 8]), 3)
    train = np.arange(2, source.num_windows)
    topics = topics_of_windows(source, train, count=5, seed=0)
    assert topics.dtype == np.int32
    assert topics[:2].tolist() == [NO_TOPIC] * 2
    assert topics[train].tolist() == (source.articles[train] % 2).tolist()  # the small corpus's topics take turns


def test_windows_without_topics_get_the_clusters_they_stand_in(tmp_path: Path) -> None:
    source, around = planted(tmp_path / "w.npz")
    topics = topics_of_windows(source, np.arange(60), count=3, seed=4)
    pairs = set(zip(around.tolist(), topics.tolist(), strict=True))
    assert len(pairs) == 3
    assert len({topic for _, topic in pairs}) == 3


def test_equal_seeds_find_equal_topics(tmp_path: Path) -> None:
    source, _ = planted(tmp_path / "w.npz", centres=12, each=5)
    train = np.arange(0, 60, 2)
    first, second = (topics_of_windows(source, train, count=7, seed=3) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert set(first[1::2].tolist()) == {NO_TOPIC}
    assert len(set(topics_of_windows(source, train, count=500, seed=3)[train].tolist())) <= 30
