"""Where val_cosine is heading: what the recorded histories have to say of it, and what nobody can say."""

from __future__ import annotations

import itertools
import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import PLAYBOOK_HISTORY, make_spec, make_view, run_events

from engine.run.state import Status
from tui.control.answers import Situation, narrow_miss
from tui.control.projection import LEARNED, faded, pace, project, project_to_bar, towards

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HISTORIES = json.loads((BENCHMARKS / "histories.json").read_text())["histories"]
COSINES = st.lists(st.floats(-1, 1), min_size=2, max_size=20)


def numbered(values: list[float] | tuple[float, ...]) -> list[tuple[int, float]]:
    return list(enumerate(values, start=1))


def hit_rate(half: str) -> float:
    """Share of later epochs inside the interval, over every pair of epochs of every run of a half."""
    hits = []
    for row in HISTORIES:
        if row["half"] == half:
            series = numbered(row["val_cosine"])
            for done, epoch in itertools.combinations(range(2, len(series) + 1), 2):
                found = project(series[:done], epoch)
                assert found is not None
                hits.append(found.low <= series[epoch - 1][1] <= found.high)
    return sum(hits) / len(hits)


def test_both_halves_hold_enough_runs_and_share_none_of_their_settings() -> None:
    halves = {half: {row["settings"] for row in HISTORIES if row["half"] == half} for half in ("fit", "held_out")}
    assert min(len(settings) for settings in halves.values()) >= 8
    assert not halves["fit"] & halves["held_out"]


def test_four_in_five_later_epochs_of_runs_nothing_was_learned_from_lie_inside() -> None:
    assert 0.75 <= hit_rate("held_out") <= 0.92


def test_the_constants_are_those_that_one_half_teaches() -> None:
    learned = runpy.run_path(str(BENCHMARKS / "projection.py"))["fit"](
        [row for row in HISTORIES if row["half"] == "fit"]
    )
    for done, carry in LEARNED.carry.items():
        assert carry == pytest.approx(learned.carry[done], abs=0.006)
    assert LEARNED.falling == pytest.approx(learned.falling, abs=0.006)
    assert LEARNED.wobble == pytest.approx(learned.wobble, abs=0.00006)


def test_the_public_record_is_seen_to_pass_the_gate_by_epoch_4() -> None:
    found = project_to_bar(numbered(PLAYBOOK_HISTORY[:2]), 0.50, end=20)
    assert found is not None
    assert found.epoch <= 4
    at_4 = project(numbered(PLAYBOOK_HISTORY[:2]), 4)
    assert at_4 is not None
    assert at_4.low < PLAYBOOK_HISTORY[3] < at_4.high
    assert towards(at_4, 0.50) == "likely through the bar"
    assert towards(at_4, 0.47) == "through the bar"


def test_a_gain_fades_by_the_ratio_and_an_endless_one_has_a_limit() -> None:
    assert faded(1) == pytest.approx(1.0)
    assert faded(3) == pytest.approx(1 + 0.7 + 0.49)
    assert faded(1000) == pytest.approx(1 / 0.3)


def test_the_pace_is_the_last_gain_steadied_by_the_one_before() -> None:
    assert pace([0.1, 0.2]) == pytest.approx(0.1)
    assert pace([0.1, 0.2, 0.25]) == pytest.approx(0.75 * 0.05 + 0.25 * 0.07)
    assert pace([0.3, 0.2]) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("series", "epoch"),
    [([], 2), ([(1, 0.4)], 2), ([(1, 0.4), (2, 0.5)], 2), ([(1, 0.4), (2, 0.5)], 1), ([(1, 0.4), (3, 0.5)], 4)],
    ids=["nothing", "one epoch", "that very epoch", "an earlier one", "a gap"],
)
def test_what_nobody_can_say_is_not_said(series: list[tuple[int, float]], epoch: int) -> None:
    assert project(series, epoch) is None


def test_a_bar_out_of_reach_is_projected_at_the_end() -> None:
    found = project_to_bar(numbered([0.12, 0.20]), 0.50, end=12)
    assert found is not None
    assert (found.epoch, towards(found, 0.50)) == (12, "short of the bar")
    assert project_to_bar(numbered([0.12, 0.20]), 0.50, end=2) is None


def test_a_bar_that_only_the_better_runs_reach_is_within_reach() -> None:
    found = project(numbered([0.38, 0.42]), 12)
    assert found is not None
    assert towards(found, (found.value + found.high) / 2) == "the bar within reach"


@given(COSINES, st.integers(1, 30))
def test_the_interval_holds_the_value_and_widens_with_the_distance(values: list[float], ahead: int) -> None:
    series = numbered(values)
    near, far = (project(series, len(series) + ahead + more) for more in (0, 1))
    assert near is not None
    assert far is not None
    assert -1.0 <= near.low <= near.value <= near.high <= 1.0
    is_clipped = far.high == 1.0 or far.low == -1.0
    assert is_clipped or far.high - far.low >= near.high - near.low - 1e-12


@given(COSINES)
def test_a_run_that_falls_is_not_projected_upwards(values: list[float]) -> None:
    falling = sorted(set(values), reverse=True)
    if len(falling) > 1:
        found = project(numbered(falling), len(falling) + 3)
        assert found is not None
        assert found.value <= falling[-1]


# ── what the decision tree says ──────────────────────────────────────────────────────────────────────────────────────


def said(values: list[float] | tuple[float, ...], status: Status = Status.RUNNING) -> tuple[str, str]:
    run = make_view(make_spec(), run_events(make_spec(), values), status=status)
    answer = narrow_miss(Situation(run, [run], []))
    return answer.branch, answer.evidence


def test_at_the_missed_gate_the_tree_says_how_far_and_where_to() -> None:
    branch, words = said(PLAYBOOK_HISTORY[:2])
    assert branch == "no"  # 5.6 % is not narrow
    assert words.startswith("0.028 or 5.6 % short, rising; at this pace 0.5")
    assert words.endswith("through the bar")


def test_rising_is_judged_at_the_gate_and_what_came_after_is_told() -> None:
    branch, words = said((*PLAYBOOK_HISTORY, 0.5146, 0.5146, 0.5140))
    assert branch == "no"
    assert "rising; at this pace 0.5" in words
    assert "not rising" not in words
    assert words.endswith("through the bar; reached the bar at epoch 4")
    assert said((0.485, 0.49, 0.48, 0.47))[0] == "yes"
    assert said((0.495, 0.49, 0.492, 0.495))[0] == "no"


def test_past_the_gate_the_projection_is_of_now() -> None:
    _, words = said((0.121, 0.312, 0.352, 0.381))
    assert "; from epoch 4 on 0." in words
    assert words.endswith("at epoch 12, short of the bar")


def test_of_a_run_that_has_ended_the_gates_projection_is_held_against_what_came() -> None:
    _, words = said((0.121, 0.312, 0.352, 0.381, 0.38), Status.FINISHED)
    assert "rising; at this pace 0.5" in words
    assert words.endswith("; 0.381 at best, until epoch 5")


def test_when_the_last_epoch_has_ended_nothing_is_projected() -> None:
    _, words = said([0.30 + 0.005 * epoch for epoch in range(12)])
    assert words == "0.195 or 39.0 % short, rising"
