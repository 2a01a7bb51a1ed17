"""Leaks: articles, chunks and copies on both sides of the split are found, honest data are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.split import Split
from engine.data.windows import ArrayWindows, CorpusWindows
from engine.preflight.leaks import (
    exceeds,
    judge_articles,
    judge_chunks,
    judge_leaks,
    judge_near_duplicates,
    judge_unseen,
    row_keys,
)
from engine.preflight.subject import Side, Subject, open_subject, spread
from engine.run.preflight import PreflightItem
from engine.run.settings import DataConfig, Gate
from tests.reference.small_corpus import make_corpus, walk

LENGTHS = [9] * 30
DIM = 48
Vectors = npt.NDArray[np.float32]


def subject_of_corpus(folder: Path, vectors: Vectors | None = None) -> Subject:
    make_corpus(folder / "c", LENGTHS, walk(LENGTHS, dim=DIM) if vectors is None else vectors)
    return open_subject(DataConfig(corpus=str(folder / "c"), context=3, val_share=0.2), [Gate()], folder)


def write_windows(path: Path, vectors: Vectors, *, articles: bool, stride: int = 1) -> Path:
    """Windows of 3 + 1 chunks of articles of 9."""
    starts = [article * 9 + offset for article in range(len(vectors) // 9) for offset in range(0, 6, stride)]
    arrays = {
        "context_sequences": np.stack([vectors[start : start + 3] for start in starts]),
        "target_vectors": np.stack([vectors[start + 3] for start in starts]),
    }
    if articles:
        arrays["article_ids"] = np.array(starts) // 9
    np.savez(path, **arrays)
    return path


def subject_of_file(folder: Path, *, articles: bool, stride: int = 1, eval_npz: str = "") -> Subject:
    npz = write_windows(folder / "train.npz", walk(LENGTHS, dim=DIM), articles=articles, stride=stride)
    data = DataConfig(train_npz=str(npz), context=3, val_share=0.2, test_share=0.0, eval_npz=eval_npz)
    return open_subject(data, [Gate()], folder)


def found(items: list[PreflightItem], name: str) -> PreflightItem:
    return next(item for item in items if item.name == name)


def test_an_honest_corpus_has_no_leak(tmp_path: Path) -> None:
    items = judge_leaks(subject_of_corpus(tmp_path))
    assert {item.name: item.verdict for item in items} == {"articles_shared": "passed", "near_duplicates": "passed"}


def test_an_article_on_two_sides_blocks(tmp_path: Path) -> None:
    subject = subject_of_corpus(tmp_path)
    split = subject.split
    moved = Split(np.sort(np.append(split.train, split.val[0])), split.val[1:], split.test, article_disjoint=True)
    item = judge_articles(Subject(subject.data, subject.gates, subject.source, moved))
    assert (item.level, item.verdict, item.value) == ("must", "missed", 1)


def test_windows_split_one_by_one_share_their_chunks_and_block(tmp_path: Path) -> None:
    items = judge_leaks(subject_of_file(tmp_path, articles=False))
    assert (found(items, "articles_shared").level, found(items, "articles_shared").verdict) == ("should", "undecidable")
    shared = found(items, "chunks_shared")
    assert (shared.level, shared.verdict) == ("must", "missed")
    assert shared.value is not None
    assert shared.value > 0.3
    assert "Add article_ids" in shared.detail


def test_the_same_file_with_article_ids_is_split_by_article(tmp_path: Path) -> None:
    items = judge_leaks(subject_of_file(tmp_path, articles=True))
    assert {item.verdict for item in items} == {"passed"}
    assert found(items, "chunks_shared").value == 0


def test_article_ids_that_are_window_numbers_do_not_hide_a_leak(tmp_path: Path) -> None:
    npz = write_windows(tmp_path / "train.npz", walk(LENGTHS, dim=DIM), articles=False)
    with np.load(npz) as arrays:
        np.savez(npz, **arrays, article_ids=np.arange(len(arrays["target_vectors"])))
    data = DataConfig(train_npz=str(npz), context=3, val_share=0.2, test_share=0.0)
    items = judge_leaks(open_subject(data, [Gate()], tmp_path))
    assert found(items, "articles_shared").verdict == "passed"  # as far as the ids tell
    shared = found(items, "chunks_shared")
    assert (shared.level, shared.verdict) == ("must", "missed")
    assert "one id to all windows of an article" in shared.detail


def test_a_quotation_does_not_block_though_every_window_around_it_holds_it(tmp_path: Path) -> None:
    vectors = walk([9] * 30, dim=DIM)
    unseen = walk([9] * 6, dim=DIM, seed=5)
    unseen[4] = vectors[5]  # 1 chunk of 54, in 4 windows of 36
    npz = write_windows(tmp_path / "eval.npz", unseen, articles=True)
    item = judge_unseen(subject_of_file(tmp_path, articles=True, eval_npz=str(npz)))
    assert item.value == pytest.approx(1 / 54)
    assert item.verdict == "passed"


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03])
@pytest.mark.parametrize("total", [1, 50, 700, 20_000])
def test_more_than_chance_is_what_the_binomial_distribution_says(total: int, share: float) -> None:
    generator = np.random.default_rng(total)
    drawn = generator.binomial(total, share, 4000)
    for count in range(max(0, int(total * share) - 2), min(total, int(total * share) + 3) + 1):
        at_least = float((drawn >= count).mean())
        if abs(at_least - 0.05) > 0.015:  # clear enough to be told by drawing
            assert exceeds(count, total, bar=share) == (count / total > share and at_least < 0.05)


def test_windows_that_do_not_overlap_may_be_split_one_by_one(tmp_path: Path) -> None:
    item = judge_chunks(subject_of_file(tmp_path, articles=False, stride=4))
    assert (item.verdict, item.value) == ("passed", 0)


def test_a_shared_share_is_what_counting_every_pair_gives(tmp_path: Path) -> None:
    subject = subject_of_file(tmp_path, articles=False)
    contexts, targets = subject.source.gather(subject.split.val)
    trained = {row.tobytes() for row in subject.source.gather(subject.split.train)[1]}
    held_out = {row.tobytes() for row in (*contexts.reshape(-1, DIM), *targets)}
    assert judge_chunks(subject).value == pytest.approx(len(held_out & trained) / len(held_out))


@pytest.mark.parametrize(("vectors", "verdict"), [(lambda: walk(LENGTHS, dim=DIM), "missed"), (None, "passed")])
def test_an_evaluation_file_of_trained_articles_blocks(
    tmp_path: Path, vectors: Callable[[], Vectors] | None, verdict: str
) -> None:
    unseen = vectors() if vectors else walk([9] * 6, dim=DIM, seed=5)
    npz = write_windows(tmp_path / "eval.npz", unseen[: 9 * 6], articles=True)
    item = judge_unseen(subject_of_file(tmp_path, articles=True, eval_npz=str(npz)))
    assert (item.level, item.verdict) == ("must", verdict)


def test_copies_of_an_article_under_another_id_block_and_are_named(tmp_path: Path) -> None:
    vectors = walk(LENGTHS, dim=DIM)
    noise = np.random.default_rng(1).normal(scale=0.002, size=vectors.shape)
    copies = np.tile(vectors[: 9 * 15], (2, 1)) + noise
    subject = subject_of_corpus(tmp_path, (copies / np.linalg.norm(copies, axis=1, keepdims=True)).astype(np.float32))
    item = judge_near_duplicates(subject)
    assert (item.level, item.verdict) == ("must", "missed")
    assert "Article" in item.detail


def test_one_quotation_is_a_note(tmp_path: Path) -> None:
    honest = subject_of_corpus(tmp_path / "honest")
    vectors = walk(LENGTHS, dim=DIM)
    trained, judged = (Side.of(honest.source, side, 9999) for side in (honest.split.train, honest.split.val))
    vectors[judged.numbers[0]] = vectors[trained.numbers[0]]
    item = judge_near_duplicates(subject_of_corpus(tmp_path / "quoting", vectors))
    assert item.value is not None
    assert item.value > 0
    assert "1.000 Article" in item.detail
    assert item.value > 0.01  # 1 of 81 chunks: above the bar, and no more than chance
    assert (item.level, item.verdict) == ("should", "passed")


def test_foreign_text_cannot_command_the_terminal(tmp_path: Path) -> None:
    subject = subject_of_corpus(tmp_path)
    source = subject.source
    assert isinstance(source, CorpusWindows)
    source.corpus.titles[:] = ["\x1b]0;renamed\x07" for _ in source.corpus.titles]
    assert "\x1b" not in judge_near_duplicates(subject).detail


@given(st.integers(0, 2**32 - 1))
def test_keys_are_equal_for_equal_rows_and_differ_for_others(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(6, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    keys = row_keys(rows)
    assert keys.shape == (6,)
    assert len(set(keys.tolist())) == 6
    assert row_keys(rows.reshape(2, 3, 32)).tolist() == keys.reshape(2, 3).tolist()


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_spread_sample_is_ordered_and_never_larger(count: int, limit: int) -> None:
    numbers = np.arange(count, dtype=np.int64) * 3
    kept = spread(numbers, limit)
    assert len(kept) == min(count, limit)
    assert np.all(np.diff(kept) > 0)
    assert set(kept.tolist()) <= set(numbers.tolist())


def test_a_file_has_the_digest_of_its_content_and_not_of_its_name(tmp_path: Path) -> None:
    from engine.data.identity import source_digest

    first = ArrayWindows(write_windows(tmp_path / "a.npz", walk(LENGTHS, dim=DIM), articles=True))
    same = ArrayWindows(write_windows(tmp_path / "b.npz", walk(LENGTHS, dim=DIM), articles=True))
    other = ArrayWindows(write_windows(tmp_path / "c.npz", walk(LENGTHS, dim=DIM, seed=1), articles=True))
    assert source_digest(first) == source_digest(same) != source_digest(other)
