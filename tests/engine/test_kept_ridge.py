"""The kept ridge: the same as one fitted anew, and never believed where anything it depends on differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data.corpus import FloatArray
from engine.data.windows import CorpusWindows
from engine.models import kept_ridge as module
from engine.models.floors import fit_ridge
from engine.models.kept_ridge import kept_ridge
from tests.reference.small_corpus import make_corpus, walk

LENGTHS = [9, 8, 12, 10]


@pytest.fixture
def source(tmp_path: Path) -> CorpusWindows:
    return CorpusWindows(make_corpus(tmp_path / "corpus", LENGTHS), 3)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[FloatArray]:
    """Every ridge that is fitted rather than read."""
    fitted: list[FloatArray] = []

    def fit(*given: object) -> object:
        ridge = fit_ridge(*given)  # type: ignore[arg-type]
        fitted.append(ridge.weights)
        return ridge

    monkeypatch.setattr(module, "fit_ridge", fit)
    return fitted


def test_it_is_fitted_once_and_read_after(source: CorpusWindows, tmp_path: Path, fits: list[FloatArray]) -> None:
    train = np.arange(source.num_windows - 5)
    first, second = (kept_ridge(source, train, tmp_path / "ridge") for _ in range(2))
    assert len(fits) == 1
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.weights, fit_ridge(source, train).weights)


def test_other_windows_or_other_data_are_fitted_anew(
    source: CorpusWindows, tmp_path: Path, fits: list[FloatArray]
) -> None:
    train = np.arange(source.num_windows)
    other = CorpusWindows(make_corpus(tmp_path / "other", LENGTHS, walk(LENGTHS, seed=1)), 3)
    for data, windows in (
        (source, train),
        (source, train[1:]),
        (other, train),
        (CorpusWindows(source.corpus, 2), train),
    ):
        kept_ridge(data, windows, tmp_path / "ridge")
    assert len(fits) == 4


@pytest.mark.parametrize("damage", [b"", b"no ridge", None])
def test_a_damaged_file_is_fitted_anew(
    source: CorpusWindows, tmp_path: Path, fits: list[FloatArray], damage: bytes | None
) -> None:
    train = np.arange(source.num_windows)
    whole = kept_ridge(source, train, tmp_path / "ridge")
    (file,) = (tmp_path / "ridge").iterdir()
    flipped = bytearray(file.read_bytes())
    flipped[-5] ^= 1
    file.write_bytes(bytes(flipped) if damage is None else damage)
    assert np.array_equal(kept_ridge(source, train, tmp_path / "ridge").weights, whole.weights)
    assert len(fits) == 2


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(source: CorpusWindows, tmp_path: Path) -> None:
    (tmp_path / "ridge").write_text("a file")
    assert kept_ridge(source, np.arange(source.num_windows), tmp_path / "ridge").weights.any()
