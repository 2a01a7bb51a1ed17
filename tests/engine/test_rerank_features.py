"""Features of candidates, and MMR, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.baselines import Queries
from engine.post_training.heldout import HeldOut, first_candidates, positions_of
from engine.post_training.rerank.features import CONTENT, FEATURES, Pairs, column_names, pair_features
from engine.post_training.rerank.fitting import list_candidates
from engine.post_training.rerank.mmr import Mmr
from engine.post_training.rerank.reranker import reorder
from tests.reference.plain_rerank import features_of, mmr_order
from tests.reference.planted_heldout import CONTEXT, plant, unit, wandering

LENGTH = 9


@pytest.fixture
def data(tmp_path: Path) -> HeldOut:
    generator = np.random.default_rng(1)

    def predict(queries: Queries) -> np.ndarray:
        return queries.targets + unit(generator.normal(size=queries.targets.shape))

    return plant(tmp_path / "corpus", wandering(30, LENGTH, step=0.8), LENGTH, predict)


def test_every_feature_equals_its_definition(data: HeldOut) -> None:
    lists = list_candidates(data, data.judge)
    queries = data.judge.queries
    for row in range(0, len(lists.candidates), 7):
        plain = features_of(
            data.judge.predicted[row],
            queries.contexts[row],
            lists.candidates[row].tolist(),
            data.vectors,
            data.corpus.article_of_chunk,
            queries.context_chunks[row].tolist(),
        )
        assert set(plain) == set(lists.pairs.features)
        for name, values in plain.items():
            assert lists.pairs.features[name][row] == pytest.approx(values, abs=1e-5), name


def test_candidates_are_the_first_50_by_cosine_without_the_own_context(data: HeldOut) -> None:
    candidates = first_candidates(data.vectors, data.judge)
    for row, own in enumerate(data.judge.queries.context_chunks.tolist()):
        cosines = data.vectors @ data.judge.predicted[row]
        expected = [chunk for chunk in np.argsort(-cosines, kind="stable").tolist() if chunk not in own][:50]
        assert candidates[row].tolist() == expected


def test_a_small_corpus_fills_up_with_no_candidate_at_the_end(tmp_path: Path) -> None:
    tiny = plant(tmp_path / "corpus", wandering(6, 6, step=0.5), 6, lambda queries: queries.targets)
    candidates = first_candidates(tiny.vectors, tiny.judge)
    assert candidates.shape[1] == 36
    assert ((candidates == -1).sum(axis=1) == CONTEXT).all()
    assert (np.diff((candidates == -1).astype(int), axis=1) >= 0).all()


def test_the_next_chunk_names_the_truth_by_construction(data: HeldOut) -> None:
    lists = list_candidates(data, data.judge)
    truth = lists.candidates == data.judge.queries.truth_chunks[:, None]
    assert np.array_equal(lists.pairs.features["next chunk"] == 1, truth)
    assert (lists.pairs.features["same article"][truth] == 1).all()


def test_an_unknown_last_chunk_has_no_next_one(data: HeldOut) -> None:
    queries = replace(data.judge.queries, context_chunks=np.full_like(data.judge.queries.context_chunks, -1))
    everything = np.tile(np.arange(50), (len(queries.contexts), 1))
    pairs = pair_features(data.judge.predicted, queries, everything, data.vectors, data.corpus.article_of_chunk)
    assert not pairs.features["next chunk"].any()


def test_content_needs_no_article_and_never_looks_at_the_truth(data: HeldOut) -> None:
    queries = data.judge.queries
    blind = replace(
        queries, targets=np.full_like(queries.targets, np.nan), truth_chunks=np.full_like(queries.truth_chunks, -7)
    )
    candidates = first_candidates(data.vectors, data.judge)
    seeing, unseeing = (pair_features(data.judge.predicted, one, candidates, data.vectors) for one in (queries, blind))
    assert tuple(seeing.features) == CONTENT
    assert np.array_equal(seeing.matrix(CONTENT), unseeing.matrix(CONTENT))


def test_missing_candidates_change_nothing_for_the_others(data: HeldOut) -> None:
    candidates = first_candidates(data.vectors, data.judge)[:5, :10]
    padded = np.concatenate([candidates, np.full((5, 4), -1)], axis=1)
    queries = data.judge.queries.take(np.arange(5))
    predicted = data.judge.predicted[:5]
    articles = data.corpus.article_of_chunk
    whole, more = (
        pair_features(predicted, queries, one, data.vectors, articles).matrix(FEATURES["playbook"])
        for one in (candidates, padded)
    )
    assert np.allclose(more[:, :10], whole, atol=1e-6)
    assert (more[:, 10:] == 0).all()


def test_columns_are_the_features_and_what_is_left_without_their_mean(data: HeldOut) -> None:
    pairs = list_candidates(data, data.judge).pairs
    columns = pairs.matrix(CONTENT)
    assert columns.shape[2] == len(column_names(CONTENT)) == 2 * len(CONTENT)
    for at, name in enumerate(CONTENT):
        values = pairs.features[name]
        assert np.array_equal(columns[:, :, at], values)
        assert np.allclose(columns[:, :, len(CONTENT) + at], values - values.mean(axis=1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize(("trade", "directional"), [(0.6, 0.05), (0.9, 0.2), (0.0, 0.0)])
def test_mmr_takes_candidates_as_its_definition_says(data: HeldOut, trade: float, directional: float) -> None:
    lists = list_candidates(data, data.judge)
    mmr = Mmr(trade=trade, directional=directional)
    ordered = reorder(lists.candidates, mmr, lists.pairs)
    relevance = lists.pairs.features["cosine"] + directional * lists.pairs.features["direction"]
    for row in range(0, len(ordered), 11):
        taken = mmr_order(relevance[row].tolist(), lists.pairs.similarity[row], trade)
        assert ordered[row].tolist() == lists.candidates[row, taken].tolist()


def test_mmr_with_all_trade_and_no_direction_leaves_the_order(data: HeldOut) -> None:
    lists = list_candidates(data, data.judge)
    assert np.array_equal(reorder(lists.candidates, Mmr(trade=1.0, directional=0.0), lists.pairs), lists.candidates)


@given(st.data())
def test_reordering_keeps_the_candidates_puts_none_last_and_ties_as_they_were(drawn: st.DataObject) -> None:
    width = drawn.draw(st.integers(1, 12))
    found = drawn.draw(st.integers(0, width))
    candidates = np.array([[*drawn.draw(st.permutations(range(found))), *[-1] * (width - found)]])
    scores = np.array([drawn.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=width, max_size=width))])

    class Given:
        def scores(self, pairs: Pairs) -> np.ndarray:
            return scores

        def arrays(self) -> dict[str, np.ndarray]:
            return {}

    pairs = Pairs({}, np.zeros((1, width, width), np.float32), candidates >= 0)
    ordered = reorder(candidates, Given(), pairs)[0].tolist()
    assert ordered[found:] == [-1] * (width - found)
    expected = sorted(range(found), key=lambda at: -scores[0, at])
    assert ordered[:found] == [int(candidates[0, at]) for at in expected]


def test_positions_count_from_one_and_zero_is_not_there() -> None:
    assert positions_of(np.array([[4, 2], [3, -1], [5, 6]]), np.array([2, 3, 9])).tolist() == [2, 1, 0]
