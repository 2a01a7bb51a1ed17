"""What can be drawn of a run: numbers over epochs, steps and seconds, bars, the best epoch, and where it is heading."""

from __future__ import annotations

import math

import msgspec
import pytest
from recorded import AMN_HISTORY, FLOORS, PLAYBOOK_HISTORY, STEPS, make_spec, make_view, run_events, stamp
from recorded_report import eval_report

from engine.run.events import Event, RunStarted, StepLogged
from engine.run.settings import EvalConfig
from engine.run.state import Status
from tui.control import curves
from tui.control.curves import METRICS, Course, Metric, best_point, decisions, evaluations, levels, outlook
from tui.control.projection import project
from tui.control.views import RunView

VAL_COSINE = METRICS[0]
LOSS = next(metric for metric in METRICS if metric.name == "loss")
R5 = next(metric for metric in METRICS if metric.name == "R@5")
SPEC = msgspec.structs.replace(make_spec(), evals={"smoke": EvalConfig(at_epoch=4)})


def seen(values: tuple[float | None, ...] = PLAYBOOK_HISTORY, *, status: Status = Status.RUNNING) -> RunView:
    return make_view(SPEC, run_events(SPEC, values, steps_of_next=3), status=status)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("axis", curves.AXES)
def test_every_metric_has_a_place_for_every_number(metric: Metric, axis: curves.Axis) -> None:
    view = seen()
    view.evals["smoke-e0004"] = eval_report(r5=0.48, epoch=4)
    xs, ys = curves.positions(view, metric, axis), curves.values(view, metric)
    assert len(xs) == len(ys) > 0
    assert xs == sorted(xs)
    assert all(map(math.isfinite, xs))
    assert any(y is not None for y in ys)


def test_a_step_lies_within_its_epoch_on_every_axis() -> None:
    view = seen()
    ends = {axis: curves.positions(view, VAL_COSINE, axis) for axis in curves.AXES}
    for axis in curves.AXES:
        placed = zip(curves.positions(view, LOSS, axis), view.state.points, strict=True)
        for x, point in placed:
            assert point.epoch == 1 or x > ends[axis][point.epoch - 2]
            assert point.epoch > len(ends[axis]) or x <= ends[axis][point.epoch - 1]


def test_steps_and_epochs_count_the_same() -> None:
    view = seen()
    assert curves.positions(view, VAL_COSINE, "step") == [STEPS * epoch for epoch in range(1, 8)]
    assert curves.positions(view, LOSS, "epoch")[3] == 1.0


def test_a_wait_between_two_attempts_is_no_training() -> None:
    events = run_events(SPEC, AMN_HISTORY, steps_of_next=3)
    plain = make_view(SPEC, events)
    started = events[0]
    assert isinstance(started, RunStarted)
    resumed = msgspec.structs.replace(started, resumed_step=len(AMN_HISTORY) * STEPS, t=events[-1].t + 5000)
    later: list[Event] = [
        msgspec.structs.replace(event, t=resumed.t + 10 * place)
        for place, event in enumerate((event for event in events[-3:] if isinstance(event, StepLogged)), start=1)
    ]
    again = make_view(SPEC, [*events, resumed, *later])
    assert max(curves.positions(again, LOSS, "time")) <= max(curves.positions(plain, LOSS, "time"))
    assert curves.positions(again, VAL_COSINE, "time") == curves.positions(plain, VAL_COSINE, "time")


@pytest.mark.parametrize("source", curves.AXES)
@pytest.mark.parametrize("target", curves.AXES)
def test_a_moment_is_the_same_on_every_axis_and_back(source: curves.Axis, target: curves.Axis) -> None:
    course = Course(seen())
    for epoch in (0.0, 0.3, 1.0, 4.5, 7.0, 12.0):
        x = course.convert(epoch, "epoch", source)
        assert x is not None
        there = course.convert(x, source, target)
        assert there is not None
        assert course.convert(there, target, source) == pytest.approx(x)


def test_before_the_first_step_only_epochs_can_be_placed() -> None:
    course = Course(make_view(SPEC, []))
    assert course.convert(2.0, "epoch", "epoch") == 2.0
    assert course.convert(2.0, "epoch", "step") is None
    assert course.convert(2.0, "epoch", "time") is None


def test_missing_numbers_stay_missing() -> None:
    assert curves.values(seen((0.4, None, 0.5)), VAL_COSINE) == [0.4, None, 0.5]


def test_the_best_epoch_is_the_highest_not_the_last() -> None:
    assert best_point(seen((0.4, 0.6, 0.5)), VAL_COSINE) == (2, 0.6)
    assert best_point(seen(), LOSS) is None
    assert best_point(seen((None,)), VAL_COSINE) is None


def test_the_gate_and_the_floors_belong_to_val_cosine() -> None:
    assert levels(seen(), VAL_COSINE) == [(0.5, "gate@2"), *((value, name) for name, value in FLOORS.items())]
    assert levels(seen(), LOSS) == []


def test_an_evaluation_brings_its_own_bar_and_floors() -> None:
    view = seen()
    assert levels(view, R5) == []
    view.evals["smoke-e0004"] = eval_report(r5=0.48, epoch=4)
    names = [name for _, name in levels(view, R5)]
    assert "bar" in names


def test_of_an_epoch_the_evaluation_of_most_queries_counts_and_no_fitted_head() -> None:
    view = seen()
    view.evals["smoke-e0004"] = eval_report(r5=0.40, epoch=4)
    full = msgspec.structs.replace(eval_report(r5=0.44, epoch=4), num_queries=10**6)
    view.evals["full-e0004"] = full
    view.evals["full-head-e0004"] = msgspec.structs.replace(full, num_queries=10**7, head="align.safetensors")
    assert [report.num_queries for report in evaluations(view)] == [10**6]


# ── the projection ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_running_run_is_projected_to_its_next_decision_only() -> None:
    for done, until in ((3, 4), (4, 12), (7, 12)):
        view = seen(PLAYBOOK_HISTORY[:done])
        assert (2, "gate@2") in decisions(view)
        found = outlook(view, VAL_COSINE)
        assert [one.epoch for one in found] == list(range(done, until + 1))


def test_it_goes_on_from_the_last_measured_value_and_is_what_project_says() -> None:
    view = seen(PLAYBOOK_HISTORY[:2])
    first, *ahead = outlook(view, VAL_COSINE)
    assert (first.value, first.low, first.high) == (PLAYBOOK_HISTORY[1],) * 3
    series = list(enumerate(PLAYBOOK_HISTORY[:2], start=1))
    assert ahead == [project(series, epoch) for epoch in (3, 4)]


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((0.41,), Status.RUNNING),  # one epoch says nothing
        ((0.41, 0.47, None), Status.RUNNING),  # the last one has no number
        ((0.41, None, 0.47), Status.RUNNING),  # nor does the one before it
        (PLAYBOOK_HISTORY, Status.FINISHED),
        (PLAYBOOK_HISTORY[:2], Status.FINISHED),
        (PLAYBOOK_HISTORY[:5], Status.STOPPED),
        ((), Status.STARTING),
    ],
)
def test_where_nobody_can_say_nothing_is_projected(values: tuple[float | None, ...], status: Status) -> None:
    assert outlook(seen(values, status=status), VAL_COSINE) == []


def test_a_stopped_run_is_projected_only_right_at_its_gate() -> None:
    assert outlook(seen(PLAYBOOK_HISTORY[:2], status=Status.STOPPED), VAL_COSINE)


def test_no_other_metric_is_projected() -> None:
    assert all(not outlook(seen(), metric) for metric in METRICS[1:])


# ── what has changed ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_logged_step_redraws_charts_of_steps_alone() -> None:
    events = run_events(SPEC, PLAYBOOK_HISTORY)
    before = make_view(SPEC, events)
    last = next(event for event in reversed(events) if isinstance(event, StepLogged))
    step = msgspec.structs.replace(last, epoch=8, step=last.step + 1)
    after = make_view(SPEC, [*events, *stamp([step], first=len(events) + 1)])
    assert curves.stamp(before, VAL_COSINE) == curves.stamp(after, VAL_COSINE)
    assert curves.stamp(before, R5) == curves.stamp(after, R5)
    assert curves.stamp(before, LOSS) != curves.stamp(after, LOSS)


def test_an_epoch_and_an_end_redraw_everything() -> None:
    for metric in METRICS:
        assert curves.stamp(seen(PLAYBOOK_HISTORY[:2]), metric) != curves.stamp(seen(PLAYBOOK_HISTORY[:3]), metric)
        assert curves.stamp(seen(), metric) != curves.stamp(seen(status=Status.STOPPED), metric)
