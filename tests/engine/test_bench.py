"""The benchmark: what it compares, what it calls within reach, and what it cannot measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import bench
from engine.bench import Comparison, run_benchmarks
from engine.cli import main
from engine.data.windows import CorpusWindows
from tests.reference.small_corpus import make_corpus


@pytest.mark.parametrize(("ratio", "reach", "within"), [(1.1, 1.1, True), (1.2, 1.1, False), (9.0, None, True)])
def test_a_ratio_is_held_against_its_reach(ratio: float, reach: float | None, within: bool) -> None:
    comparison = Comparison(what="a", against="b", ratio=ratio, reach=reach, seconds=1.0)
    assert comparison.is_within_reach is within


def test_every_comparison_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BATCH", 8)
    monkeypatch.setattr(bench, "ACCUMULATE", 2)
    compared = run_benchmarks(CorpusWindows(make_corpus(tmp_path / "c", [9] * 8), 5), turns=1)
    assert len(compared) == 3
    assert all(one.ratio > 0 and one.seconds > 0 for one in compared)


def test_a_corpus_too_small_for_a_batch_is_refused_in_words(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 8)
    result = CliRunner().invoke(main, ["bench", "--corpus", str(tmp_path / "c")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 32 windows are too few")
