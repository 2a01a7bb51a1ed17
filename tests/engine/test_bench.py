"""The benchmark: what it compares, what it calls within reach, and what it cannot measure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from engine.bench import run as bench
from engine.bench.queue import QueueTask, peak_bytes
from engine.bench.run import Comparison, run_benchmarks
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
    monkeypatch.setattr(bench, "QueueTask", lambda share: QueueTask(size=600, queries=8, width=8, share=share))
    compared = run_benchmarks(CorpusWindows(make_corpus(tmp_path / "c", [9] * 8), 5), turns=1)
    assert len(compared) == 8
    assert all(one.ratio > 0 and (one.seconds or one.num_bytes) for one in compared)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_both_ways_to_contrast_with_a_queue_give_one_gradient(share: float) -> None:
    task = QueueTask(size=3000, queries=32, width=16, share=share)
    assert torch.allclose(task.streamed(), task.naive(), atol=1e-4)
    assert float((task.streamed() - task.naive()).norm() / task.naive().norm()) < 1e-6


def test_memory_is_the_most_that_was_alive_at_once() -> None:
    def one_after_the_other() -> None:
        for _ in range(5):
            torch.zeros(1000)  # 4,000 bytes, freed at once

    def together() -> None:
        first = torch.zeros(1000)
        first.add_(1).view(10, 100)  # in place, and a view: nothing new
        second = first + 1
        assert len(second) == 1000

    assert peak_bytes(one_after_the_other) == 4000
    assert peak_bytes(together) == 8000


def test_streaming_a_queue_takes_a_fraction_of_the_memory() -> None:
    task = QueueTask(size=20_000, queries=64, width=16, share=0.0)
    assert peak_bytes(task.streamed) < 0.3 * peak_bytes(task.naive)


def test_a_corpus_too_small_for_a_batch_is_refused_in_words(tmp_path: Path) -> None:
    make_corpus(tmp_path / "c", [9] * 8)
    result = CliRunner().invoke(main, ["bench", "--corpus", str(tmp_path / "c")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 32 windows are too few")
