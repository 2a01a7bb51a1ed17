"""Vectors, floors, the oracle and the direction of the data: against plain re-implementations, and both ways."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine.data.corpus import open_corpus
from engine.data.windows import CorpusWindows
from engine.evaluation.exact import search_exactly
from engine.models.floors import RIDGE_L2
from engine.preflight.references import (
    describe_direction,
    describe_floors,
    judge_oracle,
    oracle_ranks,
    ridge_cosines,
)
from engine.preflight.stretches import lag_curve, read_stretches
from engine.preflight.subject import Subject, open_subject
from engine.preflight.vectors import describe_spread, judge_duplicates, judge_finite, judge_lengths
from engine.run.settings import DataConfig, Gate
from tests.reference.plain_preflight import plain_lag_curve, plain_pairwise_cosine, plain_ridge_cosine
from tests.reference.small_corpus import make_corpus, walk

LENGTHS = [7, 9, 12, 8, 10, 7, 9, 11, 8, 12]
Vectors = npt.NDArray[np.float32]


def subject(folder: Path, vectors: Vectors | None = None, *, dtype: str = "float32") -> Subject:
    make_corpus(folder / "c", LENGTHS, walk(LENGTHS) if vectors is None else vectors, dtype=dtype)
    return reopened(folder)


def reopened(folder: Path) -> Subject:
    data = DataConfig(corpus=str(folder / "c"), context=3, val_share=0.2)
    return open_subject(data, [Gate()], folder)


def test_healthy_vectors_pass(tmp_path: Path) -> None:
    healthy = subject(tmp_path)
    item, lengths = judge_finite(healthy)
    assert (item.level, item.verdict, item.value) == ("must", "passed", 0)
    assert len(lengths) == sum(LENGTHS)
    assert judge_lengths(healthy, lengths).verdict == "passed"


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_a_direction_blocks_and_is_named(tmp_path: Path, value: float) -> None:
    subject(tmp_path)
    corpus = open_corpus(tmp_path / "c")
    stored = np.load(corpus.parts[0].vectors)
    stored[[5, 20]] = value
    np.save(corpus.parts[0].vectors, stored)
    item, _ = judge_finite(reopened(tmp_path))
    assert (item.level, item.verdict, item.value) == ("must", "missed", 2)
    assert f"row 5 of {corpus.parts[0].vectors}" in item.detail


def test_windows_of_a_file_are_looked_at_whole(tmp_path: Path) -> None:
    vectors = walk([4] * 12)
    contexts, targets = vectors.reshape(12, 4, -1)[:, :3].copy(), vectors.reshape(12, 4, -1)[:, 3].copy()
    contexts[7, 1] = 0
    np.savez(tmp_path / "w.npz", sequences=contexts, targets=targets, article_ids=np.arange(12))
    data = DataConfig(train_npz=str(tmp_path / "w.npz"), context=3, val_share=0.2, test_share=0.0)
    item, lengths = judge_finite(open_subject(data, [Gate()], tmp_path))
    assert (item.verdict, item.value, len(lengths)) == ("missed", 1, 48)
    assert f"The first is context of window 7 of {tmp_path / 'w.npz'}." in item.detail


def test_vectors_that_were_not_normalised_although_the_manifest_says_so_are_a_warning(tmp_path: Path) -> None:
    subject(tmp_path)
    corpus = open_corpus(tmp_path / "c")
    np.save(corpus.parts[0].vectors, np.load(corpus.parts[0].vectors) * 3)
    stretched = reopened(tmp_path)
    item = judge_lengths(stretched, judge_finite(stretched)[1])
    assert (item.level, item.verdict, item.value) == ("should", "missed", pytest.approx(2))


def test_raw_vectors_are_a_fact_and_not_a_fault(tmp_path: Path) -> None:
    raw = subject(tmp_path, walk(LENGTHS) * 4)
    item = judge_lengths(raw, judge_finite(raw)[1])
    assert (item.level, item.verdict, item.value) == ("info", "passed", pytest.approx(4))


def test_copies_are_counted(tmp_path: Path) -> None:
    assert judge_duplicates(subject(tmp_path / "honest")).value == 0
    vectors = walk(LENGTHS)
    vectors[10:20] = vectors[0]
    item = judge_duplicates(subject(tmp_path / "copied", vectors))
    assert (item.verdict, item.value) == ("missed", pytest.approx(10 / sum(LENGTHS)))


def test_anisotropy_is_the_mean_over_all_pairs(tmp_path: Path) -> None:
    vectors = walk(LENGTHS) + np.float32(0.3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    item = describe_spread(subject(tmp_path, vectors))
    assert item.value == pytest.approx(plain_pairwise_cosine(vectors), abs=1e-5)
    assert item.value != pytest.approx(plain_pairwise_cosine(walk(LENGTHS)), abs=1e-2)


def test_the_oracle_finds_every_truth_of_an_honest_payload(tmp_path: Path) -> None:
    item = judge_oracle(subject(tmp_path))
    assert (item.level, item.verdict, item.value) == ("should", "passed", 1)


def test_copies_in_the_payload_lower_the_ceiling_of_retrieval(tmp_path: Path) -> None:
    vectors = walk(LENGTHS)
    vectors[::3] = vectors[0]
    copied = subject(tmp_path, vectors)
    item = judge_oracle(copied)
    assert item.verdict == "missed"
    source = copied.source
    assert isinstance(source, CorpusWindows)
    truths = source.target_chunks[copied.split.test]
    payload = source.corpus.all_vectors()
    exact = search_exactly(payload, payload[truths], truths, truths[:, None] - np.arange(1, 4), k=0)
    assert oracle_ranks(source, copied.split.test).tolist() == exact.ranks.tolist()


def test_a_file_of_windows_has_no_payload_to_search(tmp_path: Path) -> None:
    vectors = walk([4] * 12).reshape(12, 4, -1)
    np.savez(tmp_path / "w.npz", sequences=vectors[:, :3], targets=vectors[:, 3], article_ids=np.arange(12))
    data = DataConfig(train_npz=str(tmp_path / "w.npz"), context=3, val_share=0.2, test_share=0.0)
    item = judge_oracle(open_subject(data, [Gate()], tmp_path))
    assert (item.level, item.verdict) == ("info", "undecidable")


def test_floors_inform() -> None:
    item = describe_floors({"copy_last": 0.4, "context_mean": 0.6, "ridge": 0.5}, 100)
    assert (item.level, item.verdict, item.value) == ("info", "passed", 0.6)


def test_the_lag_curve_is_the_mean_over_pairs(tmp_path: Path) -> None:
    vectors = walk(LENGTHS)
    bounds = np.concatenate([[0], np.cumsum(LENGTHS)])
    articles = [vectors[start:end] for start, end in itertools.pairwise(bounds)]
    curve = lag_curve(read_stretches(subject(tmp_path).source))
    assert curve == [pytest.approx(cosine, abs=1e-6) for cosine in plain_lag_curve(articles, 10)]


def test_windows_have_no_cosines_beyond_their_length(tmp_path: Path) -> None:
    vectors = walk([4] * 12).reshape(12, 4, -1)
    np.savez(tmp_path / "w.npz", sequences=vectors[:, :3], targets=vectors[:, 3], article_ids=np.arange(12))
    data = DataConfig(train_npz=str(tmp_path / "w.npz"), context=3, val_share=0.2, test_share=0.0)
    curve = lag_curve(read_stretches(open_subject(data, [Gate()], tmp_path).source))
    assert [cosine is None for cosine in curve] == [False] * 3 + [True] * 7


def test_one_gram_matrix_serves_both_ridges(tmp_path: Path) -> None:
    whole = subject(tmp_path)
    basis = np.eye(16, dtype=np.float32)  # all directions: the plain ridge
    forward, backward = ridge_cosines(whole.source, whole.split.train, whole.split.val, basis)
    windows = {}
    for name, numbers in (("train", whole.split.train), ("val", whole.split.val)):
        contexts, targets = whole.source.gather(numbers)
        windows[name] = np.concatenate([contexts, targets[:, None]], axis=1).astype(np.float64)
    plain = plain_ridge_cosine(windows["train"], windows["val"], RIDGE_L2)
    reversed_ = plain_ridge_cosine(windows["train"][:, ::-1], windows["val"][:, ::-1], RIDGE_L2)
    assert (forward, backward) == (pytest.approx(plain, abs=1e-5), pytest.approx(reversed_, abs=1e-5))
    assert plain != pytest.approx(reversed_, abs=1e-4)


def test_direction_informs_and_never_judges(tmp_path: Path) -> None:
    whole = subject(tmp_path)
    stretches = read_stretches(whole.source)
    item = describe_direction(whole, stretches, lag_curve(stretches))
    assert (item.level, item.verdict) == ("info", "passed")
    assert "forward" in item.detail
