"""Tuning: it takes the best recall within the gate, else the fastest, and says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.evaluation.retrieval import build_index
from engine.evaluation.tuner import MANY_CHUNKS, candidates, tune
from engine.run.convert import ConfigError
from tests.reference.small_corpus import walk

VECTORS = walk([50] * 20)


class Planted:
    """An index whose latency and recall are known: both grow with nprobe."""

    kind, nlist = "planted", 64

    def time_single_queries(self, queries: Any, k: int, *, nprobe: int, threads: int) -> Any:
        return np.full(len(queries), nprobe / 10)

    def search(self, queries: Any, k: int, *, nprobe: int) -> Any:
        found = np.argsort(-(queries @ VECTORS.T), axis=1)[:, :k]
        found[:, nprobe * k // 64 :] = -1
        return found


def planted(p95_ms: float) -> Any:
    return tune([Planted()], VECTORS[:9], VECTORS, p95_ms=p95_ms, locked=64, threads=1)  # type: ignore[list-item]


def test_the_best_recall_within_the_gate_is_taken() -> None:
    tuned = planted(3.5)
    assert tuned.nprobe == 32
    assert [trial.nprobe for trial in tuned.trials] == [8, 16, 32, 64]
    assert [trial.recall50 for trial in tuned.trials] == pytest.approx([0.12, 0.24, 0.5, 1.0], abs=0.01)
    assert "not the locked 64" in tuned.note
    assert "within 3.5 ms" in tuned.note


def test_where_nothing_meets_the_gate_the_fastest_is_taken_and_it_says_so() -> None:
    tuned = planted(0.1)
    assert tuned.nprobe == 8
    assert "none of 4 settings meets 0.1 ms" in tuned.note


def test_real_indexes_are_measured_against_exact_search() -> None:
    indexes = [build_index(VECTORS, choice="flat", nlist=nlist) for nlist in (4, 16)]
    tuned = tune(indexes, VECTORS[:20], VECTORS, p95_ms=1e4, locked=64, threads=1)
    assert {trial.nlist for trial in tuned.trials} == {4, 16}
    assert max(trial.recall50 for trial in tuned.trials) == 1.0


def test_predictions_that_are_not_finite_cannot_tune() -> None:
    with pytest.raises(ConfigError, match="no prediction for the tuning queries is finite"):
        tune([build_index(VECTORS, nlist=4)], VECTORS[:3] * np.nan, VECTORS, p95_ms=1, locked=64, threads=1)


def test_large_payloads_are_tried_with_one_number_of_lists() -> None:
    assert candidates("auto", MANY_CHUNKS) == [("fastscan", 2048)]
    assert candidates("flat", 1000) == [("flat", 4), ("flat", 8), ("flat", 16)]
    assert {kind for kind, _nlist in candidates("auto", 20_000)} == {"flat", "fastscan"}
    assert {kind for kind, _nlist in candidates("auto", 300)} == {"flat"}
