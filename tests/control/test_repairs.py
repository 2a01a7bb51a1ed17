"""Repairs of a suite: what counts as one, and two for real, one that the autopilot can mend and one that comes back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.run.convert import ConfigError
from engine.scenarios.cases import CASES
from engine.scenarios.record import PlantedRun, Suite, write_suite
from engine.scenarios.run import run_case
from tui.control.repairs import Outcome, Repair, read_repairs, repair_suite, shortfall
from tui.control.repairs_report import repair_lines, repair_markdown, repair_record

TWIN = Outcome(gate=0.62, has_passed=True, r5=0.50, contain50=0.80, num_queries=300)
ONE = Repair(
    run="rate_high-0000",
    name="rate_high",
    seed=0,
    split="tune",
    expects="exploding",
    steps=["rate_high-0000: restarted as rate_high-0001 with optimizer.lr = 0.026 (remedy of exploding)"],
    alarms=[],
    before=Outcome(gate=0.31),
    after=TWIN,
    twin=TWIN,
    seconds=30.0,
)


def test_a_remedy_that_makes_it_worse_has_repaired_nothing_whatever_the_twin_came_to() -> None:
    poor = Outcome(gate=-0.10)
    assert shortfall([], Outcome(gate=0.38), Outcome(gate=-0.08), poor) == "gate at -0.080, 0.380 before"
    assert shortfall([], Outcome(gate=0.67, has_passed=True), TWIN, TWIN) == "", "it passes, and finds as much"
    lost = msgspec.structs.replace(TWIN, r5=0.30)
    assert shortfall([], TWIN, lost, lost) == "R@5 0.300, 0.500 before"
    assert shortfall([], Outcome(), Outcome(gate=-0.08), poor) == ""


@pytest.mark.parametrize(
    ("alarms", "after", "twin", "words"),
    [
        ([], TWIN, TWIN, ""),
        ([], msgspec.structs.replace(TWIN, r5=0.45), TWIN, ""),
        ([], msgspec.structs.replace(TWIN, r5=0.40), TWIN, "R@5 0.400, 0.500 without the fault"),
        ([], msgspec.structs.replace(TWIN, contain50=0.70), TWIN, "Contain@50"),
        ([], msgspec.structs.replace(TWIN, r5=None), TWIN, "R@5 was not measured"),
        ([], msgspec.structs.replace(TWIN, gate=0.49, has_passed=False), TWIN, "gate at 0.490, 0.620"),
        ([], msgspec.structs.replace(TWIN, gate=None, has_passed=False), TWIN, "gate at nothing"),
        (["collapse"], TWIN, TWIN, "still collapse"),
        # where the data let nobody pass the gate, as good as without the fault is as good as can be
        (
            [],
            msgspec.structs.replace(TWIN, gate=0.47, has_passed=False),
            msgspec.structs.replace(TWIN, gate=0.48, has_passed=False),
            "",
        ),
        (
            [],
            msgspec.structs.replace(TWIN, gate=0.44, has_passed=False),
            msgspec.structs.replace(TWIN, gate=0.48, has_passed=False),
            "gate at 0.440",
        ),
        # a twin that was not evaluated asks nothing of the retrieval
        ([], Outcome(gate=0.6, has_passed=True), Outcome(gate=0.62, has_passed=True), ""),
    ],
)
def test_a_repair_leaves_no_alarm_and_is_as_good_as_without_the_fault(
    alarms: list[str], after: Outcome, twin: Outcome, words: str
) -> None:
    found = shortfall(alarms, Outcome(), after, twin)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_what_was_done_and_what_is_missing_is_told() -> None:
    failed = msgspec.structs.replace(ONE, run="few-0000", name="few", why_not="still below_floor")
    text = "\n".join(repair_lines([ONE, failed]))
    assert "restarted as rate_high-0001 with optimizer.lr = 0.026\n" in text
    assert "still below_floor" in text
    assert "tune: 1 of 2 repairable failures repaired" in text
    assert "0.310, 0.620, 0.620" in repair_markdown([ONE])
    assert [row["repaired"] for row in repair_record([ONE, failed])] == [True, False]
    assert repair_lines([]) == []
    assert repair_markdown([]) == ""


def test_a_suite_without_twins_cannot_be_repaired(tmp_path: Path) -> None:
    run = PlantedRun(name="a", run="a-0000", expects="", planted="", split="tune", seed=0, seconds=0.0)
    write_suite(tmp_path, Suite(runs=[run]))
    with pytest.raises(ConfigError, match="--twins"):
        list(repair_suite(tmp_path, 1))
    assert read_repairs(tmp_path) == []
    (tmp_path / "repairs.json").write_text("[{")
    with pytest.raises(ConfigError, match=r"repairs\.json"):
        read_repairs(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_autopilot_repairs_a_learning_rate_and_no_defect_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mended = run_case(CASES["rate_high"], 1, tmp_path, twins=True)
    # the gradient stays as small as it was in whatever is made of this run, so no twin of it would be honest
    broken = msgspec.structs.replace(run_case(CASES["vanishing"], 1, tmp_path), twin=mended.twin)
    write_suite(tmp_path, Suite(runs=[mended, broken]))
    found = {repair.name: repair for repair in repair_suite(tmp_path, 2)}
    assert found["rate_high"].is_repaired, found["rate_high"]
    assert not found["vanishing"].is_repaired
    assert "vanishing" in found["vanishing"].why_not
    assert read_repairs(tmp_path) == [found["rate_high"], found["vanishing"]]
