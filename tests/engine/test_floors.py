"""Floors against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data.split import split_windows
from engine.data.windows import CorpusWindows, open_windows
from engine.models import floors
from engine.models.floors import FLOORS, fit_ridge, floor_predictions, measure_floors
from engine.run.settings import DataConfig
from tests.reference.plain_retrieval import ridge_weights
from tests.reference.small_corpus import make_corpus


@pytest.fixture
def source(tmp_path: Path) -> CorpusWindows:
    return CorpusWindows(make_corpus(tmp_path / "c", [9, 12, 7, 10, 8]), 3)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_ridge_equals_least_squares_whatever_the_blocks(
    source: CorpusWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = np.arange(source.num_windows)
    contexts, targets = source.gather(train)
    expected = ridge_weights(contexts.reshape(len(train), -1), targets, 3.0)
    whole = fit_ridge(source, train, l2=3.0)
    monkeypatch.setattr(floors, "_WINDOWS_AT_ONCE", 4)
    for fitted in (whole, fit_ridge(source, train, l2=3.0)):
        np.testing.assert_allclose(fitted.weights, expected, atol=1e-5)
    predicted = unit(contexts.reshape(len(train), -1) @ expected)
    np.testing.assert_allclose(whole.predict(contexts), predicted, atol=1e-5)
    assert not np.allclose(fit_ridge(source, train, l2=0.3).weights, expected, atol=1e-3)


def test_a_long_context_is_cut_to_its_newest_chunks(source: CorpusWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "MAX_RIDGE_FEATURES", 2 * source.dim + 1)
    train = np.arange(source.num_windows)
    contexts, targets = source.gather(train)
    expected = ridge_weights(contexts[:, 1:].reshape(len(train), -1), targets, 1.0)
    np.testing.assert_allclose(fit_ridge(source, train, l2=1.0).weights, expected, atol=1e-5)


def test_many_windows_are_thinned_evenly(source: CorpusWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "MAX_RIDGE_WINDOWS", 16)
    thinned = fit_ridge(source, np.arange(source.num_windows)[::2])
    np.testing.assert_array_equal(fit_ridge(source, np.arange(source.num_windows)).weights, thinned.weights)


def test_copy_last_and_context_mean_are_what_they_say(source: CorpusWindows) -> None:
    contexts, _ = source.gather(np.arange(5))
    np.testing.assert_array_equal(floor_predictions("copy_last", contexts), contexts[:, -1])
    np.testing.assert_allclose(floor_predictions("context_mean", contexts), unit(contexts.mean(axis=1)), atol=1e-6)


def test_a_context_whose_mean_is_zero_predicts_nothing() -> None:
    one = np.eye(4, dtype=np.float32)[:1]
    assert floor_predictions("context_mean", np.stack([one, -one], axis=1)).tolist() == [[0.0] * 4]


def test_measured_floors_are_mean_cosines_on_the_validation_windows(source: CorpusWindows) -> None:
    train, val = np.arange(20), np.arange(20, source.num_windows)
    measured = measure_floors(source, fit_ridge(source, train, l2=2.0), val)
    contexts, targets = source.gather(val)
    ridge = fit_ridge(source, train, l2=2.0)
    for name in FLOORS:
        cosines = (floor_predictions(name, contexts, ridge) * targets).sum(axis=1)
        assert measured[name] == pytest.approx(cosines.mean(), abs=1e-6)


def test_the_floors_of_the_embedded_corpus_are_the_recorded_ones() -> None:
    source = open_windows(DataConfig(), Path())
    split = split_windows(source, val_share=0.1, test_share=0.1, seed=0)
    measured = measure_floors(source, fit_ridge(source, split.train), split.val)
    assert measured == pytest.approx({"copy_last": 0.477, "context_mean": 0.569, "ridge": 0.559}, abs=2e-3)
