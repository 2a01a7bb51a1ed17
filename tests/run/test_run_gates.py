"""Gates: a number that is missing or not finite never passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import make_record

from engine.run.gates import hold, judge_checks, judge_gate
from engine.run.settings import CheckBars, Gate

NOT_A_NUMBER = st.sampled_from([None, math.nan, math.inf, -math.inf])
NUMBER = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


@given(NOT_A_NUMBER, NUMBER, st.booleans())
def test_no_number_is_undecidable_whatever_the_bar(value: float | None, bar: float, at_least: bool) -> None:
    judged = hold(value, bar, at_least=at_least)
    assert (judged.verdict, judged.value) == ("undecidable", None)


@given(NUMBER, NUMBER)
def test_a_number_passes_exactly_when_it_reaches_the_bar(value: float, bar: float) -> None:
    assert (hold(value, bar, at_least=True).verdict == "passed") == (value >= bar)
    assert (hold(value, bar, at_least=False).verdict == "passed") == (value <= bar)


@given(st.floats())
def test_nothing_passes_a_bar_that_is_not_a_number(value: float) -> None:
    assert hold(value, math.nan, at_least=True).verdict != "passed"


@given(NOT_A_NUMBER, st.none() | NUMBER, st.dictionaries(st.sampled_from("abc"), st.floats()))
def test_a_gate_never_passes_without_a_number(
    value: float | None, above: float | None, floors: dict[str, float]
) -> None:
    gate = Gate(at_least=-1e9, above_floor=above)
    assert judge_gate(gate, make_record(2, value), floors).verdict == "undecidable"


@given(st.dictionaries(st.sampled_from("abc"), st.floats(), min_size=1), NUMBER, NUMBER)
def test_a_gate_above_the_floor_passes_only_above_every_floor(
    floors: dict[str, float], value: float, above: float
) -> None:
    judged = judge_gate(Gate(at_least=0.5, above_floor=above), make_record(2, value), floors)
    clears_all = value >= 0.5 and all(math.isfinite(floor) and value >= floor + above for floor in floors.values())
    assert (judged.verdict == "passed") == clears_all


def test_the_margin_of_a_miss_is_in_words() -> None:
    judged = judge_gate(Gate(), make_record(2, 0.4719), {})
    assert judged.verdict == "missed"
    assert judged.detail == "0.472 < 0.500, missed by 0.028"
    assert judge_gate(Gate(), make_record(2, 0.55), {}).detail == "0.550 ≥ 0.500, by 0.050"


def test_a_gate_above_the_floor_names_the_floor_it_missed() -> None:
    gate = Gate(above_floor=0.01)
    judged = judge_gate(gate, make_record(2, 0.55), {"copy_last": 0.48, "context_mean": 0.579})
    assert judged.verdict == "missed"
    assert "floor context_mean 0.579 + 0.01" in judged.detail
    assert judge_gate(gate, make_record(2, 0.55), {"copy_last": 0.48}).verdict == "passed"


def test_a_gate_above_floors_that_were_not_measured_is_undecidable() -> None:
    assert judge_gate(Gate(above_floor=0.0), make_record(2, 0.9), {}).verdict == "undecidable"


def test_a_gate_can_stand_on_another_number() -> None:
    gate = Gate(metric="effective_rank", at_least=100.0)
    assert judge_gate(gate, make_record(2, 0.1, effective_rank=120.0), {}).verdict == "passed"
    assert judge_gate(gate, make_record(2, 0.9, effective_rank=80.0), {}).verdict == "missed"


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({}, "margin", "passed"),
        ({"margin": 0.05}, "margin", "missed"),
        ({"margin": None}, "margin", "undecidable"),
        ({"same_article_negatives": 1}, "same_article_negatives", "missed"),
        ({"same_article_negatives": None}, "same_article_negatives", "undecidable"),
        ({"pairwise_cosine": 0.5}, "pairwise_cosine", "missed"),
        ({"pairwise_cosine": 0.5, "context_pairwise_cosine": 0.13}, "pairwise_cosine", "missed"),
        ({"pairwise_cosine": 0.5, "context_pairwise_cosine": 0.45}, "pairwise_cosine", "passed"),
        ({"pairwise_cosine": 0.96, "context_pairwise_cosine": 0.74}, "pairwise_cosine", "missed"),
    ],
)
def test_the_checks_of_an_epoch(changes: dict[str, float | None], name: str, verdict: str) -> None:
    judged = judge_checks(CheckBars(), make_record(2, 0.5, **changes))
    assert judged[name].verdict == verdict
    assert [other for other in judged if other != name and judged[other].verdict != "passed"] == []
