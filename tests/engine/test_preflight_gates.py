"""Gates out of reach and gates without worth, on scenarios whose ceiling is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.data.synth import PRESETS, plant
from engine.preflight.ceiling import Ceiling, carried_cosines, estimate_ceiling
from engine.preflight.gates import effective_bar, judge_floor, judge_reach
from engine.preflight.stretches import Stretches
from engine.run.settings import Gate
from tests.reference.plain_preflight import plain_carried_cosines

FLOORS = {"copy_last": 0.2, "context_mean": 0.4, "ridge": 0.3}


def stretches_of(name: str, seed: int = 0, **changes: int) -> Stretches:
    """A preset, narrower than it is: the geometry is the same."""
    vectors = plant(replace(PRESETS[name], **{"dim": 256, "num_articles": 120} | changes), seed).vectors
    articles, chunks, dim = vectors.shape
    return Stretches(vectors.reshape(-1, dim), np.arange(articles + 1) * chunks, np.arange(articles))


def ceiling_of(name: str, seed: int = 0, **changes: int) -> Ceiling:
    ceiling = estimate_ceiling(stretches_of(name, seed, **changes))
    assert ceiling is not None
    return ceiling


@pytest.mark.parametrize(
    ("name", "within"),
    # eff_miss comes out low: its topics lie in few directions, and the noise of their articles' spread turns them
    [("passes", 0.02), ("miss", 0.03), ("hopeless", 0.03), ("cos_only", 0.02), ("eff_miss", 0.04), ("collapse", 0.02)],
)
def test_the_ceiling_of_a_scenario_is_found(name: str, within: float) -> None:
    ceiling = ceiling_of(name)
    assert ceiling.low <= ceiling.value <= ceiling.high
    assert ceiling.value == pytest.approx(PRESETS[name].ceiling, abs=within)


def test_plain_cosines_alone_would_call_a_turning_signal_noise() -> None:
    assert ceiling_of("passes").turned
    plain = stretches_of("passes")
    first = [float(plain.cosines(lag).mean()) for lag in (1, 2, 3)]
    assert np.sqrt(max(0, 3 * first[0] - 3 * first[1] + first[2])) < PRESETS["passes"].ceiling - 0.15


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_a_hopeless_scenario_is_told_that_it_cannot_pass(seed: int) -> None:
    verdicts = {
        name: judge_reach([Gate()], ceiling_of(name, seed), FLOORS).verdict
        for name in ("passes", "miss", "hopeless", "cos_only", "eff_miss", "collapse")
    }
    assert [name for name, verdict in verdicts.items() if verdict != "passed"] == ["hopeless"]


def test_a_gate_out_of_reach_is_a_warning_that_says_so() -> None:
    item = judge_reach([Gate()], ceiling_of("hopeless"), FLOORS)
    assert (item.level, item.verdict) == ("should", "missed")
    assert "no model and no fix can pass it" in item.detail


def test_a_bar_within_the_interval_is_not_warned_of() -> None:
    ceiling = Ceiling(0.49, 0.45, 0.51, turned=False)
    assert judge_reach([Gate(at_least=0.50)], ceiling, FLOORS).verdict == "passed"
    assert judge_reach([Gate(at_least=0.52)], ceiling, FLOORS).verdict == "missed"


def test_a_floor_above_the_ceiling_contradicts_it_and_points_to_a_leak() -> None:
    ceiling = Ceiling(0.43, 0.40, 0.46, turned=False)
    item = judge_reach([Gate()], ceiling, FLOORS | {"ridge": 0.79})
    assert (item.level, item.verdict) == ("should", "undecidable")
    assert "Look for a leak" in item.detail
    assert judge_reach([Gate()], ceiling, FLOORS).verdict == "missed"


def test_the_hardest_gate_is_held_against_the_ceiling() -> None:
    ceiling = Ceiling(0.60, 0.58, 0.62, turned=False)
    gates = [Gate(epoch=2, at_least=0.5), Gate(epoch=4, at_least=0.7)]
    item = judge_reach(gates, ceiling, FLOORS)
    assert (item.verdict, item.bar) == ("missed", 0.7)
    assert "val_cosine@4" in item.detail


def test_too_few_articles_say_nothing_and_warn_of_nothing() -> None:
    assert estimate_ceiling(stretches_of("hopeless", num_articles=12)) is None
    item = judge_reach([Gate()], None, FLOORS)
    assert (item.level, item.verdict) == ("info", "undecidable")
    assert "too few articles" in item.detail


def test_short_windows_say_nothing() -> None:
    vectors = stretches_of("passes").vectors[:4000]
    pairs = Stretches(vectors, np.arange(2001) * 2, np.arange(2000) % 100)
    assert estimate_ceiling(pairs) is None


def test_the_rotation_is_the_plain_procrustes_solution() -> None:
    few = stretches_of("passes", dim=24, num_articles=8)
    articles = [few.vectors[start:end] for start, end in itertools.pairwise(few.first)]
    for lag in (1, 3):
        np.testing.assert_allclose(carried_cosines(few, lag), plain_carried_cosines(articles, lag), atol=2e-4)
    assert carried_cosines(few, 1).mean() != pytest.approx(few.cosines(1).mean(), abs=1e-2)


@run_with(max_examples=15)
@given(st.integers(0, 1000))
def test_a_rotation_does_not_fit_noise(seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(1200, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ceiling = estimate_ceiling(Stretches(vectors, np.arange(31) * 40, np.arange(30)))
    assert ceiling is not None
    assert ceiling.value < 0.35  # of noise alone it is 0, give or take the sample


def test_a_floor_that_passes_shows_that_passing_shows_nothing() -> None:
    item = judge_floor([Gate(at_least=0.39)], FLOORS)
    assert (item.level, item.verdict, item.value) == ("should", "missed", 0.4)
    assert "above_floor" in item.detail
    assert judge_floor([Gate(at_least=0.41)], FLOORS).verdict == "passed"
    assert judge_floor([Gate(at_least=0.39, above_floor=0.02)], FLOORS).verdict == "passed"


def test_a_bar_above_the_floor_follows_the_floor() -> None:
    assert effective_bar(Gate(at_least=0.3, above_floor=0.05), FLOORS) == pytest.approx(0.45)
    assert effective_bar(Gate(at_least=0.3), FLOORS) == 0.3
