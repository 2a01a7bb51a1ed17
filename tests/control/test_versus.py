"""Two runs held against each other."""

from __future__ import annotations

import pytest
from recorded import AMN_HISTORY, MAMBA_HISTORY, eval_report, make_spec, make_view, run_events

from tui.control.versus import bounds_verdict, compare, differences
from tui.control.views import RunView


def run(name: str, values: tuple[float, ...], number: int = 1, **options: object) -> RunView:
    spec = make_spec(name, number)
    return make_view(spec, run_events(spec, values), **options)  # type: ignore[arg-type]


def cells(left: RunView | None, right: RunView | None) -> dict[str, tuple[str, str, str]]:
    return {row.label: (row.left, row.right, row.difference) for row in compare(left, right)}


def test_the_difference_is_left_minus_right_at_an_epoch_that_both_have() -> None:
    table = cells(run("mamba_s", MAMBA_HISTORY), run("amn", AMN_HISTORY, 2))
    assert table["val_cosine@4"] == ("0.381", "0.581", "-0.200")
    assert table["best val_cosine"] == ("0.413", "0.581", "-0.168")
    assert table["gate"] == ("MISSED", "PASSED", "")


def test_retrieval_comes_from_the_newest_report_and_is_a_dash_without_one() -> None:
    evaluated = run("amn", AMN_HISTORY, 2, evals={"smoke-e0004": eval_report(r5=0.48)})
    table = cells(run("mamba_s", MAMBA_HISTORY), evaluated)
    assert table["R@5"] == ("-", "0.480", "")
    assert table["Contain@50"] == ("-", "0.680", "")


def test_a_missing_run_leaves_dashes() -> None:
    table = cells(None, run("amn", AMN_HISTORY))
    assert {left for left, _, _ in table.values()} == {"-"}


@pytest.mark.parametrize(
    ("model", "baseline", "words"),
    [
        (MAMBA_HISTORY, AMN_HISTORY, "not the data"),
        (MAMBA_HISTORY, (0.3, 0.4), "data or retrieval"),
        (AMN_HISTORY, AMN_HISTORY, "Both pass"),
        ((0.1,), AMN_HISTORY, "not judged on both sides"),
    ],
)
def test_the_bounds_say_what_a_baseline_means(
    model: tuple[float, ...], baseline: tuple[float, ...], words: str
) -> None:
    assert words in bounds_verdict(run("mamba_s", model), run("amn", baseline, 2))


def test_passing_the_gate_below_the_floor_is_said() -> None:
    verdict = bounds_verdict(run("mamba_s", (0.51, 0.52)), run("amn", AMN_HISTORY, 2))
    assert "above the best floor: amn-0002" in verdict


def test_only_settings_that_differ_are_listed() -> None:
    listed = differences(run("mamba_s", MAMBA_HISTORY), run("amn", AMN_HISTORY, 2))
    assert listed == ["model.kind: mamba_s | amn", "model.layers: 4 | 2"]
