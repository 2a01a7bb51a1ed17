"""Evaluations of other programs: figures flat or nested, shares or percentages, and what is none of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_report import eval_report

from engine.run.convert import ConfigError
from engine.run.settings import EvalConfig
from tui.control.foreign_eval import parse_evaluation, read_evaluation

FLAT = {"R@5": 0.45, "Contain@50": 0.68, "Eff@5": 0.662, "P95": 1.23, "cosine": 0.51}


def gates_of(data: Any) -> dict[str, float | None]:
    """The figures that gates are held against."""
    return {gate.name: gate.value for gate in parse_evaluation(data, "e.json", EvalConfig()).gates}


@pytest.mark.parametrize(
    "data",
    [
        FLAT,
        {"metrics": FLAT},
        {"metrics": {"R@5": 45.0, "Contain@50": 68.0, "Eff@5": 0.662, "P95": 1.23}, "cosine": 0.51},
        {"R@5": 45, "Contain@50": 68, "Eff@5": 66.2, "p95_ms": 1.23, "val_cosine": 51.0},
        {"r5": "45%", "contain50": "68 %", "eff5": 0.662, "latency": {"p95": 1.23}, "mean_cosine": 0.51},
        {"recall@5": 0.45, "contain_at_50": 0.68, "eff_at_5": 0.662, "P95 (ms)": 1.23, "val_cosine": 0.51},
        {**FLAT, "model": "mamba_s", "queries": [1, 2, 3]},
    ],
)
def test_one_evaluation_in_many_shapes_is_one_evaluation(data: Any) -> None:
    assert gates_of(data) == pytest.approx({"contain50": 0.68, "r5": 0.45, "eff5": 0.662, "p95_ms": 1.23})
    assert parse_evaluation(data, "e.json", EvalConfig()).rows["model"].cosine == pytest.approx(0.51)


def test_the_evaluations_own_cosine_comes_before_the_one_it_was_trained_to() -> None:
    report = parse_evaluation({"val_cosine": 0.515, "cosine": 0.2557}, "e.json", EvalConfig())
    assert report.rows["model"].cosine == 0.2557


def test_a_figure_that_is_missing_stays_undecidable() -> None:
    report = parse_evaluation({"R@5": 0.0, "P95": None, "Contain@50": float("nan")}, "e.json", EvalConfig())
    verdicts = {gate.name: gate.verdict for gate in report.gates}
    assert verdicts == {"contain50": "undecidable", "r5": "missed", "eff5": "undecidable", "p95_ms": "undecidable"}


def test_eff5_follows_from_the_other_two() -> None:
    assert gates_of({"R@5": 0.3, "Contain@50": 0.6})["eff5"] == pytest.approx(0.5)
    assert gates_of({"R@5": 0, "Contain@50": 0})["eff5"] == 0.0


def test_our_own_report_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "smoke-e0004.json"
    path.write_bytes(msgspec.json.encode(eval_report()))
    assert read_evaluation(path, EvalConfig()) == eval_report()


def test_a_damaged_report_of_ours_is_refused(tmp_path: Path) -> None:
    table = msgspec.to_builtins(eval_report())
    path = tmp_path / "e.json"
    path.write_text(json.dumps({**table, "gates": 3}))
    with pytest.raises(ConfigError, match="not an evaluation report"):
        read_evaluation(path, EvalConfig())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "none of the figures"),
        ([], "not a table"),
        (None, "not a table"),
        ({"accuracy": 0.9}, "none of the figures"),
        ({"R@5": True}, "none of the figures"),
        ({"R@5": -0.1}, "r5 is -0.1"),
        ({"R@5": 4500}, "r5 is 4500"),
        ({"cosine": 400}, "cosine is 400"),
        ({"P95": -1}, "p95_ms is -1"),
        ({"R@5": 10**400}, "digits"),
    ],
)
def test_what_is_no_evaluation_is_refused(data: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^e\.json") as refused:
        parse_evaluation(data, "e.json", EvalConfig())
    assert told in str(refused.value)


values = (
    st.none() | st.floats() | st.integers() | st.text(max_size=4) | st.just("45%") | st.lists(st.floats(), max_size=2)
)
figures = st.dictionaries(st.sampled_from(["R@5", "Contain@50", "Eff@5", "P95", "cosine", "x"]), values)


@given(st.dictionaries(st.sampled_from(["metrics", "latency", "R@5", "cosine"]), values | figures))
def test_any_table_is_read_or_refused_and_never_crashes(data: Any) -> None:
    try:
        report = parse_evaluation(data, "e.json", EvalConfig())
    except ConfigError:
        return
    for gate in report.gates:
        assert gate.value is None or gate.name == "p95_ms" or 0 <= gate.value <= 1
