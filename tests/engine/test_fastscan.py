"""The fast-scan index with exact refinement: what it finds, when it is chosen, and its cache."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from engine.data.corpus import Corpus
from engine.evaluation.exact import search_exactly
from engine.evaluation.fastscan import FAST_FROM, K_FACTOR, MIN_CHUNKS, RefinedIndex, num_codes, resolve_kind
from engine.evaluation.retrieval import open_index, shared_share
from engine.run.convert import ConfigError
from tests.reference.small_corpus import make_corpus, walk

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 12  # 960 chunks


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "c", LENGTHS)


def test_refinement_gives_what_faiss_gives_that_keeps_a_copy_of_every_vector(corpus: Corpus) -> None:
    vectors, queries = corpus.all_vectors(), walk([40], seed=5)
    codes = faiss.index_factory(corpus.dim, "IVF8,PQ8x4fs", faiss.METRIC_INNER_PRODUCT)
    codes.train(vectors)
    codes.add(vectors)
    theirs = faiss.IndexRefineFlat(codes, faiss.swig_ptr(vectors))
    theirs.k_factor = K_FACTOR
    ours = RefinedIndex(codes, vectors)
    ours.nprobe = 3
    assert codes.nprobe == ours.nprobe == 3
    for expected, found in zip(theirs.search(queries, 10), ours.search(queries, 10), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_refinement_finds_more_than_the_codes_alone_and_its_scores_are_exact(corpus: Corpus) -> None:
    vectors, queries = corpus.all_vectors(), walk([40], seed=5)
    exact = search_exactly(vectors, queries, np.zeros(40, np.int64), np.ones((40, 1), np.int64), k=10).top
    codes = faiss.index_factory(corpus.dim, "IVF8,PQ8x4fs", faiss.METRIC_INNER_PRODUCT)
    codes.train(vectors)
    codes.add(vectors)
    codes.nprobe = 8
    scores, found = RefinedIndex(codes, vectors).search(queries, 10)
    alone, refined = shared_share(codes.search(queries, 10)[1], exact), shared_share(found, exact)
    assert alone is not None
    assert refined is not None
    assert alone < 0.9 < refined
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[found]), rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_where_few_chunks_are_visited_the_rest_is_none(corpus: Corpus) -> None:
    vectors = corpus.all_vectors()
    index = open_index(corpus, vectors, None, choice="fastscan")
    found = index.search(walk([5], seed=5), 200, nprobe=1)
    assert (found[:, -1] == -1).all()
    for row in found:
        kept = row[row >= 0]
        assert len(set(kept.tolist())) == len(kept) > 0
        assert (row[len(kept) :] == -1).all()


def test_a_query_that_is_not_finite_finds_nothing_and_is_not_timed(corpus: Corpus) -> None:
    index = open_index(corpus, corpus.all_vectors(), None, choice="fastscan")
    queries = walk([6], seed=5)
    queries[2] = np.nan
    found = index.search(queries, 3, nprobe=8)
    assert found[2].tolist() == [-1, -1, -1]
    assert (found[[0, 1, 3, 4, 5]] >= 0).all()
    assert index.time_single_queries(queries, 3, nprobe=8, threads=1).shape == (5,)


def test_auto_takes_fast_scan_for_many_chunks_only() -> None:
    assert [resolve_kind("auto", n) for n in (10, FAST_FROM - 1, FAST_FROM, 584_000)] == [
        "flat",
        "flat",
        "fastscan",
        "fastscan",
    ]
    assert (resolve_kind("flat", 584_000), resolve_kind("fastscan", MIN_CHUNKS)) == ("flat", "fastscan")


def test_fast_scan_of_too_few_chunks_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"takes 624 chunks, and the corpus has 400\. Use --index flat"):
        resolve_kind("fastscan", 400)


def test_both_kinds_are_kept_side_by_side(corpus: Corpus, tmp_path: Path) -> None:
    vectors, queries = corpus.all_vectors(), walk([9], seed=2)
    built = {kind: open_index(corpus, vectors, tmp_path / "i", choice=kind) for kind in ("flat", "fastscan")}  # type: ignore[arg-type]
    assert {kind: index.kind for kind, index in built.items()} == {
        "flat": "IVF16,Flat",
        "fastscan": "IVF16(SQfp16),PQ8x4fsr,RFlat k_factor=8",
    }
    for kind, index in built.items():
        kept = open_index(corpus, vectors, tmp_path / "i", choice=kind)  # type: ignore[arg-type]
        assert (index.origin, kept.origin, kept.kind) == ("built", "cached", index.kind)
        np.testing.assert_array_equal(index.search(queries, 5, nprobe=3), kept.search(queries, 5, nprobe=3))


def test_the_index_of_codes_is_kept_without_the_vectors(corpus: Corpus, tmp_path: Path) -> None:
    for kind in ("flat", "fastscan"):
        open_index(corpus, corpus.all_vectors(), tmp_path / kind, choice=kind)  # type: ignore[arg-type]
    flat, fast = (next((tmp_path / kind).glob("*/index.faiss")).stat().st_size for kind in ("flat", "fastscan"))
    assert fast < flat


def test_training_the_codes_leaves_the_number_of_threads_as_it_was(corpus: Corpus) -> None:
    before = faiss.omp_get_max_threads()
    open_index(corpus, corpus.all_vectors(), None, choice="fastscan")
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize(("dim", "codes"), [(768, 384), (16, 8), (15, 15), (1, 1)])
def test_codes_share_out_the_dimensions(dim: int, codes: int) -> None:
    assert num_codes(dim) == codes
    assert dim % codes == 0


def test_vectors_of_an_odd_number_of_dimensions_can_be_indexed(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "odd", LENGTHS, walk(LENGTHS, dim=7))
    index = open_index(corpus, corpus.all_vectors(), None, choice="fastscan")
    assert index.search(corpus.vectors(np.array([17])), 1, nprobe=100).tolist() == [[17]]
