"""Runs held against one of them: the table, the differences, and what may be said of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from recorded import AMN_HISTORY, MAMBA_HISTORY, eval_report, make_spec, make_view, run_events

from engine.run.directory import Exit
from engine.run.spec import resolved_settings
from tui.control.versus import compare, table
from tui.control.versus_words import bounds_verdict, verdict
from tui.control.views import RunView


def run(name: str, values: tuple[float, ...], number: int = 1, **options: object) -> RunView:
    spec = make_spec(name, number)
    return make_view(spec, run_events(spec, values), **options)  # type: ignore[arg-type]


def child(of: RunView, number: int, values: tuple[float, ...], r5: float | None = None, **patch: object) -> RunView:
    keys = {key.replace("__", "."): value for key, value in patch.items()}
    spec = make_spec("mamba_s", number, parent=of.spec, patch=keys)  # type: ignore[arg-type]
    evals = {"smoke-e0004": eval_report(r5=r5)} if r5 is not None else None
    return make_view(spec, run_events(spec, values), evals=evals)


def cells(*runs: RunView) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {row.label: (row.cells, row.differences) for row in compare(runs, runs[-1]).rows}


def test_the_difference_is_a_run_minus_the_reference_at_an_epoch_that_all_have() -> None:
    found = cells(run("mamba_s", MAMBA_HISTORY), run("amn", AMN_HISTORY, 2))
    assert found["val_cosine@4"] == (("0.381", "0.581"), ("-0.200", ""))
    assert found["val_cosine"] == (("0.413", "0.581"), ("", "")), "epoch 6 against epoch 4 says nothing of the runs"
    assert found["margin"] == (("0.310", "0.310"), ("", ""))
    assert found["best val_cosine"] == (("0.413", "0.581"), ("-0.168", ""))
    assert found["gate val_cosine@2"] == (("MISSED 0.312", "PASSED 0.577"), ())
    assert found["best above floor"] == (("-0.166", "+0.002"), ("-0.168", ""))


def test_any_number_of_runs_has_its_difference_to_the_one_that_is_the_reference() -> None:
    runs = [run("mamba_s", values, at) for at, values in enumerate(((0.40,), (0.45,), (0.43, 0.50)), start=1)]
    found = {row.label: row for row in compare(runs, runs[1]).rows}
    assert found["val_cosine@1"].differences == ("-0.050", "", "-0.020")
    assert found["val_cosine"].numbers == (0.40, 0.45, 0.50)
    assert found["val_cosine"].differences == ("-0.050", "", "")
    assert found["margin"].differences == ("=", "", "")


def test_a_gate_of_only_one_run_is_a_dash_at_the_other() -> None:
    model = run("mamba_s", MAMBA_HISTORY)
    other = run("amn", AMN_HISTORY, 2)
    other.spec = msgspec.structs.replace(other.spec, gates=[])
    assert cells(model, other)["gate val_cosine@2"][0] == ("MISSED 0.312", "-")


def test_retrieval_comes_from_the_newest_report_with_its_floor_and_ceiling_and_is_a_dash_without_one() -> None:
    evaluated = run("amn", AMN_HISTORY, 2, evals={"smoke-e0004": eval_report(r5=0.48)})
    found = cells(run("mamba_s", MAMBA_HISTORY), evaluated)
    assert found["R@5"] == (("-", "0.480"), ("", ""))
    assert found["R@5, best floor"][0] == ("-", "0.392")
    assert found["R@5, ceiling"][0] == ("-", "1.000")


def test_costs_are_ratios_and_a_dash_where_nobody_recorded_them() -> None:
    small, large = run("mamba_s", MAMBA_HISTORY), run("amn", AMN_HISTORY, 2)
    assert small.state.started is not None
    small.state.started = msgspec.structs.replace(small.state.started, num_parameters=4_900_000)
    small.life = msgspec.structs.replace(small.life, exit=Exit(code=0, kind="exited", wall_s=1.0, maxrss_bytes=3 << 29))
    found = cells(small, large)
    assert found["parameters"] == (("4.90 M", "2.45 M"), ("x2.00", ""))
    assert found["trained for"] == (("6m", "4m"), ("x1.50", ""))
    assert found["peak memory"] == (("1.50 GiB", "-"), ("", ""))


def test_only_settings_that_differ_are_listed_unless_all_are_wanted() -> None:
    found = compare([run("mamba_s", MAMBA_HISTORY), run("amn", AMN_HISTORY, 2)], run("amn", AMN_HISTORY, 2))
    rows = len(found.rows)
    assert table(found)[rows:] == [("model.kind", ("mamba_s", "amn")), ("model.layers", ("4", "2"))]
    assert len(table(found, all_settings=True)) == rows + len(resolved_settings(found.runs[0].spec))


@pytest.mark.parametrize(
    ("model", "baseline", "words"),
    [
        (MAMBA_HISTORY, AMN_HISTORY, "not the data"),
        (MAMBA_HISTORY, (0.3, 0.4), "data or retrieval"),
        (AMN_HISTORY, AMN_HISTORY, "Both pass"),
        ((0.1,), AMN_HISTORY, "not judged on both sides"),
    ],
)
def test_the_bounds_say_what_a_baseline_means_whichever_is_the_reference(
    model: tuple[float, ...], baseline: tuple[float, ...], words: str
) -> None:
    runs = [run("mamba_s", model), run("amn", baseline, 2)]
    assert words in bounds_verdict(*runs)
    for reference in runs:
        assert verdict(compare(runs, reference)) == [bounds_verdict(*runs)]


def test_passing_the_gate_below_the_floor_is_said() -> None:
    said = bounds_verdict(run("mamba_s", (0.51, 0.52)), run("amn", AMN_HISTORY, 2))
    assert "above the best floor: amn-0002" in said


def test_a_missing_baseline_is_asked_for() -> None:
    assert "Start the AMN baseline" in bounds_verdict(run("mamba_s", MAMBA_HISTORY), None)


def test_one_setting_that_differs_is_named_as_what_may_be_the_cause() -> None:
    root = run("mamba_s", MAMBA_HISTORY)
    said = verdict(compare([child(root, 2, (0.2, 0.4), loss__temperature=0.05), root], root))
    assert said == [
        "mamba_s-0002: val_cosine +0.088 at epoch 2 (0.400 for 0.312).",
        "One setting differs: loss.temperature: 0.05 | 0.07.",
    ]


def test_several_settings_that_differ_explain_nothing_alone() -> None:
    root = run("mamba_s", MAMBA_HISTORY)
    said = verdict(compare([child(root, 2, (0.2,), loss__temperature=0.05, seed=1), root], root))
    assert said[-1] == "2 settings differ: no single one of them explains the difference."


def test_runs_that_differ_by_the_seed_alone_say_what_chance_does() -> None:
    root = run("mamba_s", MAMBA_HISTORY)
    seeds = [child(root, at, (0.2, value), seed=at) for at, value in ((2, 0.32), (3, 0.30))]
    said = verdict(compare([*seeds, root], root))
    assert said[-1] == "Only the seed differs: chance moves val_cosine by 0.020 at epoch 2 (0.300 to 0.320)."


@pytest.mark.parametrize(("r5", "is_chance"), [(0.46, True), (0.58, False)])
def test_a_difference_in_retrieval_within_the_noise_of_its_queries_is_said_to_be(r5: float, is_chance: bool) -> None:
    # 1,000 queries at 0.43: half a 95 % interval is 0.031, of a difference 0.043
    root = child(run("mamba_s", MAMBA_HISTORY), 2, (0.5, 0.51), r5=0.43)
    said = verdict(compare([child(root, 3, (0.4, 0.41), r5=r5, seed=1), root], root))[0]
    assert ("1,000 queries cannot tell from chance" in said) is is_chance
    assert ("cosine and retrieval disagree" in said) is not is_chance


def test_numbers_of_other_data_are_said_not_to_compare() -> None:
    root = run("mamba_s", MAMBA_HISTORY)
    other = child(root, 2, MAMBA_HISTORY)
    other.spec = msgspec.structs.replace(other.spec, data=msgspec.structs.replace(root.spec.data, split_seed=7))
    assert verdict(compare([other, root], root))[0].startswith("Not the same data (data.split_seed)")
    spec = make_spec("mamba_s", 3)
    elsewhere = make_view(spec, run_events(spec, MAMBA_HISTORY, floors={"context_mean": 0.3}))
    assert verdict(compare([elsewhere, root], root))[0].startswith("The floors differ")


def test_runs_without_numbers_are_compared_without_a_traceback() -> None:
    empty = [replace(make_view(make_spec("mamba_s", at), []), version=at) for at in (1, 2)]
    found = compare(empty, empty[0])
    assert table(found)
    assert verdict(found)[0] == "mamba_s-0002: no number that both have yet."
    assert msgspec.json.encode(found.record())
