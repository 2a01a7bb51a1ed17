"""RunState: the same fold however the events are parted; and the status that follows from it and the run's life."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import AMN_HISTORY, BEGAN, STEPS, make_life, make_record, make_spec, run_events, stamp

from engine.run.directory import Exit, Life
from engine.run.events import (
    EpochEnded,
    Event,
    GateJudged,
    NonFiniteFound,
    RankFigures,
    RanksMeasured,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    StepLogged,
    WarningRaised,
)
from engine.run.state import MOST_POINTS, RunState, Status, derive_status, fold

SPEC = make_spec()
STARTED = run_events(SPEC, [])[0]
assert isinstance(STARTED, RunStarted)
RESUMED = msgspec.structs.replace(STARTED, resumed_step=2 * STEPS)
STOPPED = RunStopped(epoch=3, step=50)
FINISHED = RunFinished(reason="epochs", epoch=4, best_epoch=4, best_val_cosine=0.5)
FAILED = RunFailed(message="loss is NaN")
POOL: list[Event] = [
    *run_events(SPEC, AMN_HISTORY, is_finished=True),
    *run_events(SPEC, [0.1, None, 0.3], floors={}, margin=None),
    RESUMED,
    STOPPED,
    FAILED,
    WarningRaised(message="one"),
    WarningRaised(message="two"),
    NonFiniteFound(what="loss", value="nan", epoch=3, step=50),
    GateJudged(name="val_cosine@2", epoch=2, value=None, bar=0.5, verdict="undecidable"),
]


@given(st.lists(st.sampled_from(POOL), max_size=30), st.lists(st.sampled_from(POOL), max_size=30))
def test_folding_in_two_parts_equals_folding_at_once(first: list[Event], second: list[Event]) -> None:
    part = fold(first)
    untouched = fold(first)
    assert fold(second, part) == fold([*first, *second])
    assert part == untouched


@given(st.lists(st.sampled_from(POOL), max_size=40))
def test_epochs_are_in_order_and_told_once(events: list[Event]) -> None:
    numbers = [record.epoch for record in fold(events).epochs]
    assert numbers == sorted(set(numbers))


def test_a_recorded_run_folds_into_its_numbers() -> None:
    state = fold(run_events(SPEC, AMN_HISTORY, is_finished=True))
    assert [record.val_cosine for record in state.epochs] == list(AMN_HISTORY)
    assert state.best == state.latest == state.epochs[3]
    assert state.gates["val_cosine@2"].verdict == "passed"
    assert set(state.checks[2]) == {
        *("margin", "same_article_negatives", "pairwise_cosine", "effective_rank"),
        "projection_head",
    }
    assert set(state.checkpoints) == {"best", "last"}
    assert [point.step for point in state.points] == list(range(5, 4 * STEPS + 1, 5))
    assert isinstance(state.ending, RunFinished)


def test_a_resume_drops_what_came_after_its_checkpoint() -> None:
    before = run_events(SPEC, AMN_HISTORY[:3])
    state = fold([*before, STOPPED, RESUMED])
    assert max(point.step for point in state.points) == 2 * STEPS
    assert state.ending is None
    assert state.starts == 2


def test_what_ranks_cost_is_what_was_told_last_since_the_start() -> None:
    first, second = (RankFigures(rank=rank, device="cpu", memory_bytes=1, cpu_s=2.0) for rank in (0, 1))
    before = [*run_events(SPEC, AMN_HISTORY[:1]), RanksMeasured(ranks=[first, second])]
    assert fold(before).ranks == [first, second]
    assert fold([*before, RanksMeasured(ranks=[first])]).ranks == [first]
    assert fold([*before, RESUMED]).ranks == [], "it may go on with fewer"


def test_a_repeated_epoch_replaces_the_earlier_one_and_what_followed_it() -> None:
    state = fold([*run_events(SPEC, [0.1, 0.2, 0.3]), EpochEnded(record=make_record(2, 0.25))])
    assert [(record.epoch, record.val_cosine) for record in state.epochs] == [(1, 0.1), (2, 0.25)]


def test_of_millions_of_steps_thousands_are_kept_and_no_spike_is_lost() -> None:
    state, spikes = RunState(), {1000: 90.0, 12_345: 70.0, 30_000: None}
    for number in range(1, 5 * MOST_POINTS):
        state.apply(
            StepLogged(
                epoch=1 + number // 1000,
                step=number,
                loss=1.0,
                infonce=None,
                ar_cosine=None,
                lr=1e-3,
                grad_norm=spikes.get(number, 1.0),
                negatives_per_query=1.0,
                windows_per_s=1.0,
            )
        )
    steps = [point.step for point in state.points]
    assert MOST_POINTS <= len(steps) < 2 * MOST_POINTS
    assert steps == sorted(set(steps))
    assert steps[-1] == 5 * MOST_POINTS - 1
    assert set(spikes) <= set(steps)
    assert max(after - before for before, after in pairwise(steps)) <= 16, "evenly"


def test_a_gate_is_judged_once() -> None:
    again = GateJudged(name="val_cosine@2", epoch=2, value=0.9, bar=0.5, verdict="passed")
    state = fold([*run_events(SPEC, [0.1, 0.2]), again])
    assert state.gates["val_cosine@2"].verdict == "missed"


def test_a_warning_is_kept_once() -> None:
    warnings: list[Event] = [WarningRaised(message="cut"), WarningRaised(message="cut")]
    assert fold(warnings).warnings == ["cut"]


def test_the_best_epoch_has_a_number() -> None:
    assert fold(run_events(SPEC, [None, -0.2, -0.1, None])).best == make_record(3, -0.1)
    assert fold(run_events(SPEC, [None])).best is None


def test_the_time_left_comes_from_the_measured_pace() -> None:
    state = fold(run_events(SPEC, [0.1, 0.2], steps_of_next=5))
    now = state.last_t
    assert state.epoch_s == 60.0
    assert state.eta_s(2, now) == 0.0
    assert state.eta_s(3, now) == pytest.approx(45.0)  # a quarter of the third epoch's steps are done
    assert state.eta_s(3, now + 20) == pytest.approx(25.0)
    assert state.eta_s(3, now + 1000) == 0.0
    assert state.eta_s(4, now) == pytest.approx(105.0)


def test_the_time_left_of_the_first_epoch_comes_from_its_steps() -> None:
    state = fold(run_events(SPEC, [], steps_of_next=5))
    assert state.eta_s(1, state.last_t) == pytest.approx(0.75 * 5331 / 850)
    assert RunState().eta_s(1, BEGAN) is None


def life_after(*, ended: Exit | None = None, **changes: object) -> Life:
    return msgspec.structs.replace(make_life(lock_held=False), exit=ended, **changes)


def ended(code: int, kind: str = "exited", last_line: str = "") -> Life:
    return life_after(ended=Exit(code=code, kind=kind, last_line=last_line))  # type: ignore[arg-type]


ALIVE = make_life()
UNSUPERVISED = make_life(supervised=False)
SECOND = msgspec.structs.replace(
    ALIVE, processes=msgspec.structs.replace(ALIVE.processes, attempt=2) if ALIVE.processes else None
)
NOW = 12.0
TABLE: list[tuple[list[Event], Life, Status, str]] = [
    ([], life_after(processes=None), Status.QUEUED, "not started"),
    ([], ALIVE, Status.STARTING, ""),
    ([], msgspec.structs.replace(ALIVE, processes=None, supervised=False), Status.STARTING, ""),
    ([STARTED], ALIVE, Status.RUNNING, ""),
    ([STARTED], UNSUPERVISED, Status.RUNNING, "running, unsupervised"),
    ([STARTED], msgspec.structs.replace(ALIVE, stop_requested=True), Status.STOPPING, ""),
    ([STARTED, FINISHED], ALIVE, Status.STOPPING, ""),
    ([STARTED, STOPPED], SECOND, Status.STARTING, ""),
    ([STARTED, STOPPED, RESUMED], SECOND, Status.RUNNING, ""),
    ([STARTED, STOPPED, RESUMED, STOPPED], SECOND, Status.STOPPING, ""),
    ([STARTED, FINISHED], ended(0), Status.FINISHED, ""),
    ([STARTED, STOPPED], ended(0), Status.STOPPED, ""),
    ([STARTED], ended(3, last_line="ValueError: no"), Status.FAILED, "exit 3: ValueError: no"),
    ([STARTED], ended(139, "signal"), Status.FAILED, "signal 11"),
    ([STARTED], ended(137, "out_of_memory"), Status.FAILED, "out of memory"),
    ([STARTED], ended(1, "disk_full"), Status.FAILED, "disk full"),
    ([], ended(127, "never_started", "no-such: No such file"), Status.FAILED, "never started: no-such: No such file"),
    ([STARTED, FAILED], ended(2, last_line="x"), Status.FAILED, "exit 2: loss is NaN"),
    ([STARTED], life_after(), Status.LOST, "lost, exit unknown"),
    ([STARTED], life_after(rebooted=True), Status.LOST, "lost: reboot"),
    ([STARTED, FINISHED], life_after(), Status.FINISHED, "finished; its wrapper was killed"),
    ([STARTED, STOPPED], life_after(), Status.STOPPED, "stopped; its wrapper was killed"),
    ([STARTED, FAILED], life_after(), Status.FAILED, "loss is NaN; its wrapper was killed"),
]


@pytest.mark.parametrize(("events", "life", "status", "reason"), TABLE)
def test_status_follows_from_events_and_life(events: list[Event], life: Life, status: Status, reason: str) -> None:
    stamped = [msgspec.structs.replace(event, t=seq + 1.0) for seq, event in enumerate(events)]
    assert derive_status(fold(stamped), life, NOW, stall_s=30.0) == (status, reason)


def test_silence_is_a_stall_only_beyond_the_limit() -> None:
    state = fold(stamp([STARTED]))
    assert derive_status(state, ALIVE, BEGAN + 10 + 30, 30.0)[0] is Status.RUNNING
    assert derive_status(state, ALIVE, BEGAN + 10 + 31, 30.0) == (Status.STALLED, "silent for 31 s")


def test_a_held_lock_outweighs_the_exit_of_an_earlier_attempt() -> None:
    life = msgspec.structs.replace(ALIVE, exit=Exit(code=1, kind="exited"))
    assert derive_status(fold([STARTED]), life, 0.0, 30.0)[0] is Status.RUNNING


@pytest.mark.parametrize("status", list(Status))
def test_a_status_is_alive_where_an_engine_is(status: Status) -> None:
    there, perhaps = {"STARTING", "RUNNING", "STOPPING", "STALLED"}, {"SUBMITTED", "PENDING", "UNKNOWN"}
    assert status.is_alive == (status.value in there | perhaps)


def test_early_stopping_is_told_from_the_end_of_all_epochs() -> None:
    life = make_life(lock_held=False, ended=True)
    events = run_events(make_spec(), [0.1, 0.3, 0.2], is_finished=True)
    assert derive_status(fold(events), life, 0.0, 60.0) == (Status.FINISHED, "")
    ending = events[-1]
    assert isinstance(ending, RunFinished)
    early = msgspec.structs.replace(ending, reason="early_stopping")
    assert derive_status(fold([*events[:-1], early]), life, 0.0, 60.0) == (
        Status.FINISHED,
        "early stopping, best at epoch 2",
    )
