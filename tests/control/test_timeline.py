"""The timeline: gates, evaluations and the end, with what is over, what is due and what will never come."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from recorded import AMN_HISTORY, BEGAN, EPOCH_S, eval_report, make_spec, make_view, run_events

from engine.run.settings import EvalConfig, Gate
from engine.run.spec import RunSpec
from engine.run.state import Status
from tui.control.report import status_record
from tui.control.timeline import timeline
from tui.control.views import RunView

EVALS = {"smoke": EvalConfig(at_epoch=4), "full": EvalConfig(at_epoch=0)}


def spec_of(**changes: object) -> RunSpec:
    return msgspec.structs.replace(make_spec(), evals=EVALS, **changes)  # type: ignore[arg-type]


def run_of(values: Sequence[float | None], status: Status = Status.RUNNING, **changes: object) -> RunView:
    spec = spec_of(**changes)
    return make_view(spec, run_events(spec, values), status=status)


def moments(run: RunView) -> list[tuple[str, int, str]]:
    return [(found.what, found.epoch, found.when) for found in timeline(run, run.state.last_t)]


def test_before_the_first_epoch_everything_is_due_and_in_order() -> None:
    assert moments(run_of([])) == [
        ("gate val_cosine@2", 2, "due"),
        ("smoke evaluation", 4, "due"),
        ("full evaluation", 12, "due"),
        ("end", 12, "due"),
    ]


def test_a_gate_that_was_judged_is_done_after_the_time_it_took() -> None:
    gate, smoke, _, end = timeline(run_of(AMN_HISTORY[:2]), BEGAN)
    assert (gate.when, gate.trained_s, gate.eta_s) == ("done", 2 * EPOCH_S, None)
    assert (smoke.when, smoke.eta_s) == ("due", pytest.approx(2 * EPOCH_S))
    assert (end.when, end.eta_s) == ("due", pytest.approx(10 * EPOCH_S))


def test_an_estimate_runs_down_as_time_passes() -> None:
    run = run_of(AMN_HISTORY[:2])
    begin = run.state.last_t
    etas = [timeline(run, begin + later)[1].eta_s for later in (0.0, 30.0)]
    assert etas == [pytest.approx(2 * EPOCH_S), pytest.approx(2 * EPOCH_S - 30.0)]


def test_an_evaluation_nobody_asked_for_is_overdue_until_its_report_is_there() -> None:
    run = run_of(AMN_HISTORY)
    assert moments(run)[1] == ("smoke evaluation", 4, "overdue")
    run.evals = {"smoke-e0004": eval_report(r5=0.48)}
    assert moments(run)[1] == ("smoke evaluation", 4, "done")


def test_a_run_that_ended_early_ended_where_it_did() -> None:
    assert moments(run_of([0.3], Status.STOPPED)) == [
        ("full evaluation", 1, "overdue"),
        ("end", 1, "done"),
        ("gate val_cosine@2", 2, "never"),
        ("smoke evaluation", 4, "never"),
    ]


def test_a_run_without_a_single_epoch_has_no_estimate() -> None:
    assert {found.eta_s for found in timeline(run_of([], Status.QUEUED), BEGAN)} == {None}
    assert {found.when for found in timeline(run_of([], Status.FAILED), BEGAN)} == {"never", "done"}


def test_several_gates_stand_in_order_of_their_epochs() -> None:
    run = run_of([], gates=[Gate(epoch=6), Gate(epoch=2)])
    assert [found.epoch for found in timeline(run, BEGAN)] == [2, 4, 6, 12, 12]


def test_status_as_json_carries_it() -> None:
    record = status_record([run_of(AMN_HISTORY[:2], Status.FINISHED)])["runs"][0]
    assert record["timeline"][0] == {
        "what": "gate val_cosine@2",
        "epoch": 2,
        "when": "done",
        "eta_s": None,
        "trained_s": 2 * EPOCH_S,
    }
