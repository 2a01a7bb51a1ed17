"""A few scenarios for real: the engine trains what is planted, and the diagnosis names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.scenarios.cases import CASES
from engine.scenarios.record import PlantedRun, Suite, write_suite
from engine.scenarios.run import run_case
from tui.control.scenarios import judge_suite


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def named(folder: Path, *names: str, seed: int = 0) -> dict[str, list[str]]:
    """What each case's run is diagnosed as, by case."""
    runs: list[PlantedRun] = [run_case(CASES[name], seed, folder) for name in names]
    write_suite(folder, Suite(runs=runs))
    return {one.planted.name: one.named for one in judge_suite(folder)}


def test_a_number_that_is_none_and_a_silent_process_are_named(tmp_path: Path) -> None:
    found = named(tmp_path, "not_a_number_at_once", "stalled")
    assert found == {"not_a_number_at_once": ["non_finite"], "stalled": ["stalled"]}


@pytest.mark.slow
def test_a_healthy_training_raises_no_alarm(tmp_path: Path) -> None:
    assert named(tmp_path, "healthy_gru", seed=3) == {"healthy_gru": []}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leak_copies", "two_encoders", "own_article", "head_bias", "rate_low", "lost"])
def test_a_planted_cause_is_named_first(name: str, tmp_path: Path) -> None:
    assert named(tmp_path, name, seed=4)[name][0] == CASES[name].expects
