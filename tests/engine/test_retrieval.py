"""Exact search, and the index with its cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import corpus as corpus_module
from engine.data.corpus import Corpus, LazyVectors
from engine.data.importers import import_corpus
from engine.evaluation import exact as exact_search
from engine.evaluation.exact import search_exactly, search_flat
from engine.evaluation.retrieval import choose_nlist, open_index, ranks_of, shared_share
from tests.reference.plain_retrieval import rank_of_truth
from tests.reference.small_corpus import make_corpus, walk

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 5


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "c", LENGTHS)


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_exact_ranks_equal_the_definition(seed: int, num_context: int) -> None:
    vectors = walk([6, 7, 8], seed=seed)
    generator = np.random.default_rng(seed)
    chunks = np.array([generator.choice(21, num_context + 1, replace=False) for _ in range(5)])
    queries = generator.normal(size=(5, 16)).astype(np.float32)
    queries[1] = vectors[chunks[1, 0]]
    queries[2, 3] = np.nan
    exact = search_exactly(vectors, queries, chunks[:, 0], chunks[:, 1:], k=6)
    for row in range(5):
        truth, context = int(chunks[row, 0]), chunks[row, 1:].tolist()
        assert exact.ranks[row] == rank_of_truth(vectors, queries[row], truth, context)
        assert exact.ranks_with_context[row] == rank_of_truth(vectors, queries[row], truth, [])
        if row != 2:
            assert exact.top[row].tolist() == np.argsort(-(vectors @ queries[row]), kind="stable")[:6].tolist()
    assert exact.top[2].tolist() == [-1] * 6


def test_own_context_is_left_out_of_the_rank() -> None:
    vectors = np.eye(4, dtype=np.float32)
    query = np.array([[0.9, 0.5, 0.3, 0.0]], np.float32)
    exact = search_exactly(vectors, query, np.array([2]), np.array([[0, 3]]), k=0)
    assert (exact.ranks.tolist(), exact.ranks_with_context.tolist()) == ([2], [3])


def test_a_query_that_cannot_tell_chunks_apart_ranks_the_truth_last() -> None:
    vectors = walk([5, 5])
    exact = search_exactly(vectors, np.zeros((1, 16), np.float32), np.array([3]), np.array([[0]]), k=0)
    assert (exact.ranks.tolist(), exact.ranks_with_context.tolist()) == ([9], [10])


def test_the_truth_stands_where_its_rank_says_though_others_score_the_same() -> None:
    vectors = walk([12])
    vectors[[2, 5, 9]] = vectors[7]
    exact = search_exactly(vectors, vectors[[7, 2]], np.array([2, 2]), np.array([[0], [5]]), k=6)
    assert exact.ranks.tolist() == [4, 3]
    assert [row.index(2) + 1 for row in exact.top.tolist()] == exact.ranks_with_context.tolist() == [4, 4]


def test_blocks_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = walk([20, 20])
    queries, truths = walk([15], seed=3), np.arange(15)
    contexts = truths[:, None] + np.arange(1, 4)
    whole = search_exactly(vectors, queries, truths, contexts, k=5)
    monkeypatch.setattr(exact_search, "SCORES_AT_ONCE", 80)
    parts = search_exactly(vectors, queries, truths, contexts, k=5)
    assert whole.ranks.tolist() == parts.ranks.tolist()
    assert whole.top.tolist() == parts.top.tolist()


@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_blocks_of_chunks_do_not_change_what_is_found_or_how_ties_are_broken(
    tmp_path_factory: pytest.TempPathFactory, seed: int, at_once: int, k: int
) -> None:
    """Small whole numbers: products are exact and many chunks score the same."""
    generator = np.random.default_rng(seed)
    num_chunks, num_context = int(generator.integers(12, 60)), 3
    vectors = generator.integers(-1, 2, (num_chunks, 4)).astype(np.float32)
    queries = generator.integers(-2, 3, (9, 4)).astype(np.float32)
    queries[4] = np.nan
    chunks = np.array([generator.choice(num_chunks, num_context + 1, replace=False) for _ in range(9)])
    chunks[generator.random((9, 4)) < 0.1] = -1
    truths, contexts = np.maximum(chunks[:, 0], 0), chunks[:, 1:]
    contexts[contexts == truths[:, None]] = -1
    whole, flat = search_exactly(vectors, queries, truths, contexts, k=k), search_flat(vectors, queries, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_search, "CHUNKS_AT_ONCE", at_once)
        patch.setattr(exact_search, "SCORES_AT_ONCE", 2 * at_once)
        cut, cut_flat = search_exactly(vectors, queries, truths, contexts, k=k), search_flat(vectors, queries, k)
    for name in ("ranks", "ranks_with_context", "top"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name)), name
    assert np.array_equal(flat, cut_flat)
    for query in (0, 3, 8):
        assert flat[query].tolist() == np.argsort(-(vectors @ queries[query]), kind="stable")[:k].tolist()


@pytest.mark.parametrize("at_once", [30, 1 << 16])
def test_shards_read_from_the_disk_are_searched_as_one_file_in_memory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(exact_search, "CHUNKS_AT_ONCE", at_once)
    whole = make_corpus(tmp_path / "c", LENGTHS)
    files = whole.folder.with_suffix(".vectors.npy"), whole.folder.with_suffix(".articles.jsonl")
    cut = import_corpus(*files, tmp_path / "cut", embedder="test-encoder", shard_rows=25)
    queries, truths = walk([40], seed=3), np.arange(5, 45)
    contexts = truths[:, None] - np.arange(1, 4)
    found = [
        search_exactly(vectors, queries, truths, contexts, k=10)
        for vectors in (whole.all_vectors(), LazyVectors(whole), LazyVectors(cut), cut.all_vectors())
    ]
    for other in found[1:]:
        for name in ("ranks", "ranks_with_context", "top"):
            assert np.array_equal(getattr(found[0], name), getattr(other, name)), name


def test_a_corpus_beyond_the_limit_is_searched_without_being_loaded(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(corpus.searchable(), np.ndarray)
    monkeypatch.setattr(corpus_module, "IN_MEMORY", 4 * corpus.num_chunks * corpus.dim - 1)
    assert isinstance(corpus.searchable(), LazyVectors)


def test_the_index_finds_what_exact_search_finds_when_it_visits_every_list(corpus: Corpus) -> None:
    vectors = corpus.all_vectors()
    index = open_index(corpus, vectors, None)
    assert index.nlist > 1
    queries = walk([30], seed=5)
    truths = np.zeros(30, np.int64)
    exact = search_exactly(vectors, queries, truths, truths[:, None] + 1, k=10)
    assert shared_share(index.search(queries, 10, nprobe=10_000), exact.top) == 1.0
    partial = shared_share(index.search(queries, 10, nprobe=1), exact.top)
    assert partial is not None
    assert partial < 1.0


def test_a_query_that_is_not_finite_finds_nothing_and_is_not_timed(corpus: Corpus) -> None:
    index = open_index(corpus, corpus.all_vectors(), None)
    queries = walk([6], seed=5)
    queries[2] = np.inf
    found = index.search(queries, 3, nprobe=4)
    assert found[2].tolist() == [-1, -1, -1]
    assert (found[[0, 1, 3, 4, 5]] >= 0).all()
    latencies = index.time_single_queries(queries, 3, nprobe=4, threads=1)
    assert latencies.shape == (5,)
    assert (latencies > 0).all()


def test_an_index_is_kept_and_found_again(corpus: Corpus, tmp_path: Path) -> None:
    vectors, folder = corpus.all_vectors(), tmp_path / "indexes"
    built = open_index(corpus, vectors, folder)
    kept = open_index(corpus, vectors, folder)
    assert (built.origin, kept.origin, kept.reason) == ("built", "cached", "")
    queries = walk([9], seed=2)
    np.testing.assert_array_equal(built.search(queries, 5, nprobe=3), kept.search(queries, 5, nprobe=3))


def test_a_damaged_index_is_built_anew_and_named(corpus: Corpus, tmp_path: Path) -> None:
    vectors = corpus.all_vectors()
    open_index(corpus, vectors, tmp_path / "i")
    (file,) = (tmp_path / "i").glob("*/index.faiss")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    rebuilt = open_index(corpus, vectors, tmp_path / "i")
    assert rebuilt.origin == "built"
    assert "damaged" in rebuilt.reason
    assert open_index(corpus, vectors, tmp_path / "i").origin == "cached"


def test_an_index_of_another_corpus_is_never_searched(corpus: Corpus, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "o" / "c", LENGTHS, walk(LENGTHS, seed=9))
    for one in (corpus, other):
        open_index(one, one.all_vectors(), tmp_path / "i")
    ours, theirs = (tmp_path / "i" / one.sha256[:16] for one in (corpus, other))
    for name in ("index.faiss", "manifest.json"):
        (theirs / name).replace(ours / name)
    opened = open_index(corpus, corpus.all_vectors(), tmp_path / "i")
    assert opened.origin == "built"
    assert "another corpus" in opened.reason
    assert opened.search(corpus.vectors(np.array([17])), 1, nprobe=100).tolist() == [[17]]


def test_an_index_that_cannot_be_kept_is_still_searched(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "i").write_text("a file where the folder should be")
    index = open_index(corpus, corpus.all_vectors(), tmp_path / "i")
    assert "could not be kept" in index.reason
    assert index.search(corpus.vectors(np.array([17])), 1, nprobe=100).tolist() == [[17]]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_damaged_index_manifest_means_a_new_index(corpus: Corpus, tmp_path: Path, content: bytes) -> None:
    open_index(corpus, corpus.all_vectors(), tmp_path / "i")
    (manifest,) = (tmp_path / "i").glob("*/manifest.json")
    manifest.write_bytes(content)
    assert open_index(corpus, corpus.all_vectors(), tmp_path / "i").origin == "built"


def test_the_number_of_lists_grows_with_the_root_of_the_chunks() -> None:
    assert [choose_nlist(n) for n in (2, 100, 400, 21_805, 584_000)] == [1, 2, 8, 512, 4096]


def test_ranks_in_lists_skip_the_own_context() -> None:
    found = np.array([[7, 3, 9, 5], [7, 3, 9, 5], [-1, -1, -1, -1], [1, 2, 3, 4]])
    ranks = ranks_of(found, np.array([9, 8, 9, 4]), np.array([[7], [7], [7], [2]]), k=2)
    assert ranks.tolist() == [2, 0, 0, 0]
    assert ranks_of(found, np.array([9, 8, 9, 4]), np.array([[7], [7], [7], [2]]), k=3).tolist() == [2, 0, 0, 3]


def test_shared_share_leaves_out_queries_without_exact_results() -> None:
    exact = np.array([[1, 2], [3, 4], [-1, -1]])
    assert shared_share(np.array([[2, 9], [4, 3], [-1, -1]]), exact) == 0.75
    assert shared_share(exact[2:], exact[2:]) is None
