"""The watcher: what is on disk is what is shown, whatever state a folder is in."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from recorded import (
    AMN_HISTORY,
    MAMBA_HISTORY,
    eval_report,
    make_life,
    make_spec,
    make_view,
    missed_mamba,
    passed_amn,
    run_events,
    stamp,
    write_run,
)
from recorded_heads import NO_LIFT, head_report
from recorded_preflight import preflight_report

from engine.run.directory import Exit, RunDirectory, find_run, take_lock
from engine.run.events import Event, NonFiniteFound, WarningRaised, encode_event
from engine.run.state import Status, fold
from tui.control import watcher as watcher_module
from tui.control.alerts import alerts_since, look
from tui.control.report import duration, status_record, status_table
from tui.control.views import RunView
from tui.control.watcher import Watcher


def watch(runs_dir: Path) -> Watcher:
    watcher = Watcher(runs_dir, 60.0)
    watcher.catch_up()
    return watcher


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    watcher = watch(tmp_path / "nowhere")
    assert watcher.views == {}
    assert not watcher.poll()


def test_recorded_runs_are_shown_oldest_first(watcher: Watcher) -> None:
    assert list(watcher.views) == ["mamba_s-0001", "amn-0002"]
    model, baseline = watcher.views.values()
    assert (model.status, baseline.status) == (Status.FINISHED, Status.FINISHED)
    assert model.gate_judgement(model.gate).detail == "0.312 < 0.500, missed by 0.188"
    assert baseline.evals == {"smoke-e0004": eval_report(r5=0.48)}
    assert not watcher.poll(), "nothing has changed"


def test_a_view_on_disk_equals_one_in_memory(recorded_runs: Path) -> None:
    spec = make_spec()
    events = run_events(spec, MAMBA_HISTORY, is_finished=True, preflight=preflight_report())
    assert watch(recorded_runs).views["mamba_s-0001"].state == make_view(spec, events).state == fold(events)


def test_events_are_taken_in_by_budget_and_say_so(recorded_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "EVENT_BUDGET", 300)
    watcher = Watcher(recorded_runs, 60.0)
    watcher.poll()
    assert watcher.views["mamba_s-0001"].catching_up
    watcher.catch_up()
    view = watcher.views["mamba_s-0001"]
    assert not view.catching_up
    assert len(view.state.epochs) == len(MAMBA_HISTORY)


def test_a_run_that_is_not_read_to_its_end_is_not_called_stalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    run = write_run(tmp_path, spec, run_events(spec, MAMBA_HISTORY))
    lock = take_lock(run.lock_file)
    assert lock is not None
    monkeypatch.setattr(watcher_module, "EVENT_BUDGET", 1000)
    watcher = Watcher(tmp_path, 60.0)
    watcher.poll()
    assert watcher.views[run.id].catching_up
    assert watcher.views[run.id].status is Status.RUNNING
    watcher.catch_up()
    assert watcher.views[run.id].status is Status.STALLED
    os.close(lock)
    watcher.poll()
    assert watcher.views[run.id].status is Status.LOST


def test_new_runs_come_and_deleted_ones_go(tmp_path: Path) -> None:
    watcher = watch(tmp_path)
    run = missed_mamba(tmp_path)
    assert watcher.poll()
    assert list(watcher.views) == [run.id]
    passed_amn(tmp_path)
    shutil.rmtree(run.path)
    assert watcher.poll()
    assert list(watcher.views) == ["amn-0002"]


def test_a_damaged_spec_is_named_until_it_is_mended_or_gone(recorded_runs: Path) -> None:
    watcher = watch(recorded_runs)
    spec_file = recorded_runs / "broken-0003" / "spec.json"
    spec_file.parent.mkdir()
    spec_file.write_text("{")
    assert watcher.poll()
    assert "cannot be read" in watcher.unreadable["broken-0003"]
    assert list(watcher.views) == ["mamba_s-0001", "amn-0002"]
    assert not watcher.poll(), "told once"
    spec_file.write_bytes(msgspec.json.encode(make_spec("broken", 3)))
    watcher.poll()
    assert watcher.unreadable == {}
    spec_file.write_text("{")
    spec_file.parent.rename(recorded_runs / "broken-0004")
    watcher.poll()
    assert list(watcher.unreadable) == ["broken-0004"]
    shutil.rmtree(recorded_runs / "broken-0004")
    watcher.poll()
    assert watcher.unreadable == {}


def test_a_copied_run_goes_by_its_folders_name(recorded_runs: Path) -> None:
    shutil.copytree(recorded_runs / "mamba_s-0001", recorded_runs / "copy-0009")
    watcher = watch(recorded_runs)
    assert watcher.views["copy-0009"].id == "copy-0009"
    assert watcher.views["copy-0009"].state == watcher.views["mamba_s-0001"].state


def test_a_file_that_starts_over_is_folded_afresh(recorded_runs: Path) -> None:
    watcher = watch(recorded_runs)
    run = RunDirectory(recorded_runs / "mamba_s-0001")
    run.events_file.write_bytes(b"".join(map(encode_event, run_events(make_spec(), [0.9]))))
    assert watcher.poll()
    assert [record.val_cosine for record in watcher.views[run.id].state.epochs] == [0.9]


def test_an_ended_run_is_looked_at_again_when_it_wakes_up(recorded_runs: Path) -> None:
    watcher = watch(recorded_runs)
    watcher.poll()
    run = RunDirectory(recorded_runs / "mamba_s-0001")
    lock = take_lock(run.lock_file)
    assert lock is not None
    run.processes_file.write_bytes(run.processes_file.read_bytes())
    watcher.poll()
    assert watcher.views[run.id].status.is_alive
    os.close(lock)
    watcher.poll()
    assert watcher.views[run.id].status is Status.FINISHED


def test_an_evaluation_that_arrives_is_seen(recorded_runs: Path) -> None:
    watcher = watch(recorded_runs)
    watcher.poll()
    evals = recorded_runs / "mamba_s-0001" / "evals"
    evals.mkdir()
    (evals / "smoke-e0006.json").write_bytes(msgspec.json.encode(eval_report("smoke-e0006", epoch=6)))
    assert watcher.poll()
    assert list(watcher.views["mamba_s-0001"].evals) == ["smoke-e0006"]


def test_an_evaluation_by_hand_is_seen_while_the_run_goes_on(
    recorded_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it shows in the run's own folder, which is all that is looked at where nothing else happens."""
    monkeypatch.setattr("tui.control.marks.SETTLED_NS", 0)
    run = RunDirectory(recorded_runs / "mamba_s-0001")
    run.evals.mkdir()
    lock = take_lock(run.lock_file)
    assert lock is not None
    watcher = watch(recorded_runs)
    watcher.poll()
    assert not watcher.poll()
    (run.evals / "smoke-e0006.json").write_bytes(msgspec.json.encode(eval_report("smoke-e0006", epoch=6)))
    assert watcher.poll()
    assert list(watcher.views[run.id].evals) == ["smoke-e0006"]
    os.close(lock)


def test_the_status_record_has_exactly_the_documented_keys(watcher: Watcher) -> None:
    record = status_record(list(watcher.views.values()))
    assert set(record) == {"schema", "runs"}
    assert record["schema"] == 1
    for run in record["runs"]:
        assert set(run) == {
            *("note", "tags", "archived"),
            *("id", "name", "model", "state", "reason", "epoch", "epochs", "val_cosine", "best_val_cosine"),
            *("floors", "gates", "parent", "note", "tags", "archived", "eta_s", "launcher", "job", "timeline"),
        }
        assert [set(gate) for gate in run["gates"]] == [{"name", "epoch", "value", "bar", "verdict"}]
    assert msgspec.json.decode(msgspec.json.encode(record)) == record


def test_the_status_table_aligns_its_columns(watcher: Watcher) -> None:
    head, model, baseline = status_table(list(watcher.views.values()))
    assert head.split()[:4] == ["RUN", "STATE", "EPOCH", "VAL_COSINE"]
    assert model.split()[:4] == ["mamba_s-0001", "FINISHED", "6/12", "0.413"]
    assert model.index("FINISHED") == baseline.index("FINISHED") == head.index("STATE")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0.4, "0s"), (99, "99s"), (100, "1m"), (5999, "99m"), (13_260, "3h41")]
)
def test_a_duration_is_short(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


SPEC = make_spec()


def seen_then(before: RunView, after: RunView) -> list[tuple[str, str]]:
    return [(alert.title, alert.severity) for alert in alerts_since(look(before), after)]


def at(values: list[float | None], status: Status = Status.RUNNING, **changes: object) -> RunView:
    return make_view(SPEC, run_events(SPEC, values), status=status, **changes)  # type: ignore[arg-type]


def test_what_happened_between_two_looks_is_told_once() -> None:
    assert seen_then(at([0.4]), at([0.4, 0.47])) == [("val_cosine@2 MISSED", "warning")]
    assert seen_then(at([0.4]), at(list(AMN_HISTORY))) == [("val_cosine@2 PASSED", "information")]
    assert seen_then(at([0.4, 0.47]), at([0.4, 0.47, 0.5])) == []


def test_an_ending_is_told_by_how_bad_it_is() -> None:
    running = at([0.4])
    assert seen_then(running, at([0.4], Status.FINISHED)) == [("FINISHED", "information")]
    assert seen_then(running, at([0.4], Status.FAILED, reason="exit 1")) == [("FAILED", "error")]
    assert seen_then(running, at([0.4], Status.STALLED)) == [("STALLED", "error")]
    assert seen_then(at([0.4], Status.STARTING), running) == []


def test_a_loss_that_is_not_finite_and_an_evaluation_are_told() -> None:
    found = NonFiniteFound(what="loss", value="nan", epoch=2, step=30)
    diverged = make_view(SPEC, stamp([*run_events(SPEC, [0.4]), found]))
    assert seen_then(at([0.4]), diverged) == [("NOT FINITE", "error")]
    evaluated = at([0.4], evals={"smoke-e0004": eval_report(r5=0.48)})
    missed = at([0.4], evals={"smoke-e0004": eval_report(r5=0.3)})
    assert seen_then(at([0.4]), evaluated) == [("EVAL smoke-e0004", "information")]
    assert seen_then(at([0.4]), missed) == [("EVAL smoke-e0004", "warning")]


def test_an_evaluation_that_is_repeated_is_told_again() -> None:
    once = at([0.4], evals={"smoke-e0004": eval_report()})
    again = at([0.4], evals={"smoke-e0004": eval_report(epoch=5)})
    assert seen_then(once, once) == []
    assert seen_then(once, again) == [("EVAL smoke-e0004", "warning")]
    assert alerts_since(look(once), again)[0].text == "missed: Eff@5"


def test_what_was_fitted_is_told_by_its_name_and_a_second_fit_is_news_again() -> None:
    before, once, twice = at([0.4]), at([0.4]), at([0.4])
    once.head = head_report()
    twice.head = msgspec.structs.replace(
        head_report(lift=NO_LIFT),
        judged=msgspec.structs.replace(head_report().judged, created="2023-11-15T00:00:00+00:00"),
    )
    assert seen_then(before, once) == [("ALIGN", "information")]
    assert seen_then(once, once) == []
    assert seen_then(once, twice) == [("ALIGN", "warning")]


def test_a_job_that_could_not_run_is_told_with_its_reason() -> None:
    failed = at([0.4])
    ended = Exit(code=2, kind="exited", last_line="error: no test articles: lower val_share")
    failed.jobs["rerank"] = msgspec.structs.replace(make_life(lock_held=False), exit=ended)
    assert seen_then(at([0.4]), failed) == [("rerank COULD NOT RUN", "error")]
    assert "lower val_share" in alerts_since(look(at([0.4])), failed)[0].text
    failed.jobs["rerank"] = msgspec.structs.replace(failed.jobs["rerank"], exit=Exit(code=1, kind="exited"))
    assert seen_then(at([0.4]), failed) == [], "exit 1 is a verdict"


def test_a_look_at_the_data_is_told_when_a_person_asked_for_it() -> None:
    looked = at([0.4])
    looked.preflight = preflight_report()
    assert seen_then(at([0.4]), looked) == [], "the training that follows tells"
    asked = at([0.4])
    asked.preflight, asked.jobs["preflight"] = looked.preflight, make_life()
    assert seen_then(looked, asked) == [], "the report of before is no news while the new look goes on"
    done = at([0.4])
    done.jobs["preflight"] = make_life(lock_held=False)
    done.preflight = msgspec.structs.replace(preflight_report(), created="2023-11-15T00:00:00+00:00")
    assert seen_then(asked, done) == [("PREFLIGHT", "information")]


def test_a_blocked_training_is_told_in_a_line_that_names_the_panes() -> None:
    starting = at([], Status.STARTING)
    found = run_events(SPEC, [], preflight=preflight_report(leaks=True))
    blocked = make_view(SPEC, found, status=Status.FAILED, reason="exit 2: preflight: " + "word " * 100)
    [alert] = alerts_since(look(starting), blocked)
    assert alert.title == "BLOCKED by the preflight"
    assert alert.text.startswith("shared_articles must pass and did not")
    assert len(alert.text) < 160


def test_a_run_seen_for_the_first_time_tells_nothing() -> None:
    assert alerts_since(None, at(list(AMN_HISTORY), Status.FAILED)) == []


def test_a_run_that_exited_keeps_its_reason(tmp_path: Path) -> None:
    spec = make_spec()
    ended = Exit(code=1, kind="exited", last_line="ValueError: no such corpus")
    write_run(tmp_path, spec, run_events(spec, []), ended=ended)
    view = watch(tmp_path).views[spec.id]
    assert (view.status, view.reason) == (Status.FAILED, "exit 1: ValueError: no such corpus")


def stamp_now(events: Sequence[Event]) -> list[Event]:
    """The same events, of this moment."""
    return [msgspec.structs.replace(event, t=time.time()) for event in events]


def test_a_clock_set_ahead_makes_no_stall_of_a_run_that_was_just_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    events = run_events(spec, [0.1])
    run = write_run(tmp_path, spec, stamp_now(events))
    lock = take_lock(run.lock_file)
    assert lock is not None
    watcher = Watcher(tmp_path, 60.0)
    watcher.poll()
    assert watcher.views[run.id].status is Status.RUNNING
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    watcher.poll()
    assert watcher.views[run.id].status is Status.STALLED, "it was never heard, so the clock of the day is all there is"
    monkeypatch.setattr(time, "time", real)
    with run.events_file.open("ab") as file:
        file.write(encode_event(stamp_now([WarningRaised(message="alive")])[0]))
    watcher.poll()
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    watcher.poll()
    assert watcher.views[run.id].status is Status.RUNNING
    os.close(lock)


def test_damaged_records_are_counted_where_the_status_is(recorded_runs: Path) -> None:
    run = find_run(recorded_runs, "1")
    with run.events_file.open("ab") as file:
        file.write(b"torn\n")
    watcher = Watcher(recorded_runs, 120.0)
    watcher.catch_up()
    assert watcher.views[run.id].reason.endswith("1 record cannot be read")
    assert "cannot be read" not in watcher.views["amn-0002"].reason
