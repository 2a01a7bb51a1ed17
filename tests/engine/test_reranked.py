"""Reranked rows, the candidates they are made of, and misses by what was found instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.split import split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation.baselines import POOL, Payload
from engine.evaluation.evaluator import Evaluation, evaluate
from engine.evaluation.reranked import Rerank, first_without
from engine.evaluation.retrieval import open_index
from engine.run.evals import Miss
from engine.run.settings import EvalConfig
from tests.reference.small_corpus import make_corpus

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 5
CONTEXT = 3


@pytest.fixture
def source(tmp_path: Path) -> CorpusWindows:
    return CorpusWindows(make_corpus(tmp_path / "corpus", LENGTHS), CONTEXT)


def context_mean(contexts: Any) -> Any:
    return contexts.mean(axis=1)


def evaluation_of(source: CorpusWindows, rerank: Rerank | None, predict: Any = context_mean) -> Evaluation:
    vectors = source.corpus.all_vectors()
    return evaluate(
        source,
        split_windows(source, val_share=0.1, test_share=0.3, seed=0),
        predict,
        payload=Payload(vectors, open_index(source.corpus, vectors, None), 64),
        config=EvalConfig(limit=0),
        threads=1,
        rerank=rerank,
    )


def worst_first(predicted: Any, queries: Any, top: Any) -> Any:
    filled = (top >= 0).sum(axis=1)
    return np.stack([np.r_[row[:n][::-1], row[n:]] for row, n in zip(top, filled, strict=True)])


def truth_first(predicted: Any, queries: Any, top: Any) -> Any:
    order = np.argsort(top != queries.truth_chunks[:, None], axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)


_candidates = st.lists(st.integers(0, 80), unique=True, min_size=1, max_size=60)


@given(_candidates, st.integers(0, 5), st.lists(st.integers(-1, 80), min_size=1, max_size=5))
def test_candidates_keep_their_order_and_lose_their_own_context(
    candidates: list[int], missing: int, own: list[int]
) -> None:
    row = [*candidates, *[-1] * missing]
    first = first_without(np.array([row]), np.array([own]))[0].tolist()
    expected = [chunk for chunk in candidates if chunk not in own][:POOL]
    assert first[: len(expected)] == expected
    assert set(first[len(expected) :]) <= {-1}


def test_a_miss_says_whether_own_context_would_stand_first(source: CorpusWindows) -> None:
    def last(contexts: Any) -> Any:  # finds the last context chunk before anything else
        return contexts[:, -1]

    evaluation = evaluation_of(source, None, last)
    assert {miss.mode_with_context for miss in evaluation.misses} == {"own context"}
    assert "own context" not in {miss.mode for miss in evaluation.misses}
    missed = round((1 - evaluation.rows["model"].exact.r5) * evaluation.num_queries)
    modes = dict(evaluation.miss_modes)
    assert modes.pop("own context") == missed
    assert sum(modes.values()) == missed

    def away(contexts: Any) -> Any:  # finds the own context last of all
        return -contexts.mean(axis=1)

    away_from_it = evaluation_of(source, None, away)
    assert "own context" not in away_from_it.miss_modes
    assert all(miss.mode_with_context == miss.mode for miss in away_from_it.misses)


def test_a_miss_of_an_older_report_is_still_read() -> None:
    old = b'{"title":"t","topic":"A","rank":9,"mode":"unrelated","context_last":"","truth":"x","retrieved":[]}'
    assert msgspec.json.decode(old, type=Miss).mode_with_context is None


def test_a_reranker_holds_the_gates_and_leaves_the_models_row_alone(source: CorpusWindows) -> None:
    plain = evaluation_of(source, None)
    for rerank, r1 in ((worst_first, None), (truth_first, plain.rows["model"].exact.contain50)):
        evaluation = evaluation_of(source, rerank)
        assert evaluation.rows["model"] == plain.rows["model"]
        reranked = evaluation.rows["reranked"]
        assert reranked.exact.contain50 == plain.rows["model"].exact.contain50
        assert {gate.name: gate.value for gate in evaluation.gates}["r5"] == reranked.exact.r5
        assert any("reranked row" in note for note in evaluation.notes)
        if r1 is None:
            assert reranked.exact.r5 < plain.rows["model"].exact.r5
        else:
            assert reranked.exact.r1 == r1
    assert list(evaluation.rows)[:2] == ["model", "reranked"]


def test_containment_is_of_the_search_whatever_a_reranker_does(source: CorpusWindows) -> None:
    rows = evaluation_of(source, truth_first).rows
    searched, reranked = rows["model"].exact, rows["reranked"].exact
    assert searched.contain20 < reranked.r1 == searched.contain50
    for name in ("exact", "exact_with_context", "on_index"):
        before, after = getattr(rows["model"], name), getattr(rows["reranked"], name)
        assert (after.contain20, after.contain50) == (before.contain20, before.contain50)


def test_a_reranker_sees_no_own_context_and_must_give_back_what_it_got(source: CorpusWindows) -> None:
    seen: list[Any] = []

    def look(predicted: Any, queries: Any, top: Any) -> Any:
        seen.append((queries.context_chunks, top))
        return top

    kept = evaluation_of(source, look)
    assert kept.rows["reranked"].exact == kept.rows["model"].exact
    assert kept.rows["reranked"].on_index == kept.rows["model"].on_index
    contexts, top = seen[0]
    assert not (top[:, :, None] == contexts[:, None, :]).any()
    with pytest.raises(ValueError, match="did not give back"):
        evaluation_of(source, lambda predicted, queries, top: top + 1)


def test_a_reranker_is_not_asked_about_predictions_that_are_not_finite(source: CorpusWindows) -> None:
    def broken(contexts: Any) -> Any:
        return np.full(contexts[:, 0].shape, np.nan, np.float32)

    calls: list[int] = []

    def count(predicted: Any, queries: Any, top: Any) -> Any:
        calls.append(1)
        return top

    evaluation = evaluation_of(source, count, broken)
    assert calls == []
    assert {gate.verdict for gate in evaluation.gates} == {"undecidable"}
