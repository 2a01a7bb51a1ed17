"""Actions with real processes: what is journaled, launched and stopped, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from person import LONG, Person
from processes import end, wait_until
from recorded import make_spec, make_view, run_events
from recorded_heads import NO_LIFT, head_report

from engine.run.convert import ConfigError
from engine.run.directory import is_locked, list_runs
from engine.run.settings import EvalConfig
from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.jobs import evaluation_settings, make_job
from tui.control.journal import Decision
from tui.control.launcher import LaunchError
from tui.control.plans import RefusedError
from tui.control.watcher import Watcher


def test_a_run_is_started_journaled_and_finishes(room: Person) -> None:
    run = room.start("--epochs", "2")
    assert run.id == "mamba_s-0001"
    view = room.wait_status(run, Status.FINISHED)
    assert view.spec.argv[2:5] == ["train", "--run-dir", str(run.path)]
    assert view.spec.resume_argv == ["--resume"]
    assert view.spec.env["OMP_WAIT_POLICY"] == "PASSIVE"
    assert room.journal() == [("start", "intent"), ("start", "done")]
    assert room.actions.journal.read()[1].child == run.id


def test_the_intent_is_on_disk_before_the_launch(room: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    at_launch: list[list[tuple[str, str]]] = []

    def fail(_folder: Path) -> None:
        at_launch.append(room.journal())
        raise LaunchError("no processes left")

    monkeypatch.setattr(launcher, "start", fail)
    with pytest.raises(LaunchError, match="no processes left"):
        room.start()
    assert at_launch == [[("start", "intent")]]
    assert room.journal() == [("start", "intent"), ("start", "failed")]
    assert room.actions.journal.read()[1].detail == "no processes left"


def test_a_journal_that_cannot_be_written_stops_the_act(room: Person) -> None:
    room.file.runs_dir.mkdir()
    room.actions.journal.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        room.start()
    assert list_runs(room.file.runs_dir) == []


def test_an_engine_that_cannot_be_executed_is_told(room: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "engine_argv", lambda *_: ["/no/such/engine"])
    with pytest.raises(LaunchError, match="could not be started: /no/such/engine: No such file"):
        room.start()
    (view,) = room.views()
    assert view.status is Status.FAILED
    assert view.reason.startswith("never started")


def test_an_unknown_table_is_named(room: Person) -> None:
    with pytest.raises(ConfigError, match=r'no \[run.mamba\]. Did you mean "mamba_s"'):
        room.actions.start("mamba")


def test_one_key_press_does_not_start_two(room: Person) -> None:
    run = room.start(*LONG)
    with pytest.raises(RefusedError, match="mamba_s-0001 is running already"):
        room.actions.start("mamba_s", only_one=True)
    with pytest.raises(RefusedError, match="mamba_s-0001 is running already"):
        room.actions.check_start("mamba_s", room.views())
    room.actions.check_start("amn", room.views())
    room.actions.stop(run)
    room.wait_status(run, Status.STOPPED)
    room.actions.check_start("mamba_s", room.views())


def test_a_run_of_which_nothing_is_known_is_not_said_to_run(room: Person) -> None:
    spec = make_spec()
    unknown = make_view(spec, run_events(spec, [0.1]), status=Status.UNKNOWN)
    with pytest.raises(RefusedError, match="may be running, which is not known"):
        room.actions.check_start("mamba_s", [unknown])


def test_a_run_stops_at_a_steps_end_with_a_checkpoint(room: Person) -> None:
    run = room.start(*LONG)
    room.actions.check_stop(room.wait_status(run, Status.RUNNING))
    room.actions.stop(run)
    view = room.wait_status(run, Status.STOPPED)
    assert view.life.exit is not None
    assert view.life.exit.code == 0
    assert "last" in view.state.checkpoints
    with pytest.raises(RefusedError, match="not running"):
        room.actions.check_stop(view)
    with pytest.raises(RefusedError, match="not running"):
        room.actions.stop(run)
    assert room.journal()[2:] == [("stop", "intent"), ("stop", "done")], "a refusal is no decision"


def test_a_run_that_ignores_everything_is_killed(room: Person) -> None:
    run = room.start(*LONG, "--ignore-term")
    room.wait_status(run, Status.RUNNING)
    room.actions.check_kill(room.view(run))
    room.actions.kill(run)
    assert room.wait_status(run, Status.FAILED).reason == "signal 9"
    with pytest.raises(RefusedError, match="not running"):
        room.actions.check_kill(room.view(run))
    with pytest.raises(LaunchError, match="not running"):
        room.actions.kill(run)


def test_readonly_refuses_every_action(room: Person) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    plan = room.plan(run)
    before = sorted(room.file.runs_dir.rglob("*"))
    watcher = Actions(room.file, room.file.runs_dir, "person", readonly=True)
    acts: list[Callable[[], object]] = [
        lambda: watcher.start("mamba_s"),
        lambda: watcher.restart(plan),
        lambda: watcher.stop(run),
        lambda: watcher.kill(run),
        lambda: watcher.evaluate(view),
        lambda: watcher.undo(Decision(who="person", action="restart", run=run.id, child=run.id)),
        lambda: watcher.plan_restart(view, [view]),
        lambda: watcher.check_start("mamba_s", []),
        lambda: watcher.check_stop(view),
        lambda: watcher.check_kill(view),
        lambda: watcher.check_evaluate(view, "smoke"),
        watcher.check_undo,
    ]
    for act in acts:
        with pytest.raises(RefusedError, match="read-only"):
            act()
    assert sorted(room.file.runs_dir.rglob("*")) == before


def test_an_evaluation_runs_below_its_own_wrapper_and_is_seen(room: Person) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    watcher = Watcher(room.file.runs_dir, 60.0)
    watcher.catch_up()
    job = room.actions.evaluate(view)
    assert job.path.name == "smoke-e0002.job"
    watcher.poll()
    assert "smoke-e0002" in watcher.views[run.id].jobs
    wait_until(lambda: not is_locked(job.lock_file))
    watcher.poll()
    report = watcher.views[run.id].evals["smoke-e0002"]
    assert report.name == "smoke-e0002"
    ended = job.read_life().exit
    assert ended is not None
    assert ended.code == 1, "Eff@5 misses its gate"
    assert room.journal()[-2:] == [("evaluate", "intent"), ("evaluate", "done")]


def test_without_a_checkpoint_there_is_nothing_to_evaluate(room: Person) -> None:
    run = room.start("--epochs", "0")
    with pytest.raises(RefusedError, match="ended without a checkpoint"):
        room.actions.check_evaluate(room.wait_status(run, Status.FINISHED), "smoke")


def test_a_repeated_evaluation_of_an_ended_run_is_seen(room: Person) -> None:
    run = room.start("--epochs", "2")
    job = room.actions.evaluate(room.wait_status(run, Status.FINISHED))
    wait_until(lambda: not is_locked(job.lock_file))
    watcher = Watcher(room.file.runs_dir, 60.0)
    watcher.catch_up()
    assert not watcher.poll()
    room.engine.append("--sleep")
    room.actions.evaluate(watcher.views[run.id])
    assert watcher.poll()
    assert watcher.views[run.id].jobs["smoke-e0002"].lock_held
    end(job)


def test_an_evaluation_under_way_is_not_started_twice(room: Person) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    folder = launcher.start_evaluation(run, "smoke-e0002", [sys.executable, "-c", "input()"], {})
    wait_until(lambda: not is_locked(folder.lock_file))  # its input is closed: it ends at once
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    job = launcher.start_evaluation(run, "smoke-e0002", sleep, {})
    try:
        with pytest.raises(RefusedError, match="smoke-e0002 is under way"):
            room.actions.check_evaluate(room.view(run), "smoke")
        with pytest.raises(LaunchError, match="is running already"):
            launcher.start_evaluation(run, "smoke-e0002", sleep, {})
    finally:
        launcher.kill(job)
        assert launcher.wait_until_ended(job, 30)
    assert view.id == run.id


def test_an_evaluation_that_nobody_defined_is_refused(room: Person) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    for name in ("smok", "../../elsewhere"):
        with pytest.raises(RefusedError, match="has no evaluation"):
            room.actions.evaluate(view, name)
    assert evaluation_settings(view, "full").limit == 0
    assert evaluation_settings(view, "smoke").at_epoch == 4


def test_what_is_fitted_after_training_is_used_by_the_evaluation_that_asks_for_it(room: Person) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    with pytest.raises(RefusedError, match="fit an alignment head or a reranker first"):
        room.actions.start_job(view, "evaluate_fitted")
    for action in ("align", "rerank"):
        folder = room.actions.start_job(view, action)
        wait_until(lambda folder=folder: not is_locked(folder.lock_file))
    view = room.view(run)
    job = make_job("evaluate_fitted", view, room.actions.index_dir)
    assert job.name == "full-fitted-e0002"
    assert "--reranker" in job.arguments
    assert "--head" not in job.arguments, "the reranker was fitted without one"
    assert not {"--head", "--reranker"} & set(make_job("evaluate_full", view, room.actions.index_dir).arguments)
    assert ("align", "done") in room.journal()
    assert view.head
    view.reranker = None
    assert "--head" in make_job("evaluate_fitted", view, room.actions.index_dir).arguments
    view.head = msgspec.structs.replace(head_report(lift=NO_LIFT), judged=view.head.judged)
    with pytest.raises(RefusedError, match="does not lift R@5 beyond its interval; not fitted yet: L"):
        room.actions.check_job(view, "evaluate_fitted")
    view.head = head_report()
    with pytest.raises(RefusedError, match="the best checkpoint is newer than what was fitted to it: once more A"):
        room.actions.check_job(view, "evaluate_fitted")


def test_a_training_that_the_preflight_blocks_trains_with_a_written_reason_and_so_do_its_children(
    room: Person,
) -> None:
    run = room.start("--leaks")
    blocked = room.wait_status(run, Status.FAILED)
    assert blocked.is_blocked
    assert blocked.preflight
    assert room.actions.check_override(blocked, room.views()) is None
    again = room.actions.start("mamba_s", override="a toy set, split by hand")
    view = room.wait_status(again, Status.FINISHED)
    assert not view.is_blocked
    assert room.actions.journal.read()[-1].detail == "a toy set, split by hand"
    child = room.actions.restart(room.plan(again))
    assert child.read_spec().preflight_override == "a toy set, split by hand"


def test_a_run_of_windows_is_evaluated_in_what_its_evaluations_name(room: Person, tmp_path: Path) -> None:
    run = room.start("--epochs", "2")
    view = room.wait_status(run, Status.FINISHED)
    assert "--corpus" not in make_job("evaluate", view, tmp_path).arguments
    windows = msgspec.structs.replace(view.spec.data, train_npz="windows.npz")
    view.spec = msgspec.structs.replace(view.spec, data=windows)
    for action in ("evaluate", "align"):
        with pytest.raises(RefusedError, match=r"\[eval.smoke\] corpus"):
            room.actions.check_job(view, action)
    room.actions.check_job(view, "preflight")
    smoke = EvalConfig(eval_npz="/data/eval.npz", payload="/data/corpus")
    view.spec = msgspec.structs.replace(view.spec, evals={"smoke": smoke})
    room.actions.check_job(view, "evaluate")
    arguments = " ".join(make_job("evaluate", view, tmp_path).arguments)
    assert "--eval-npz /data/eval.npz --payload /data/corpus" in arguments
    assert "--corpus /data/corpus" in " ".join(make_job("rerank", view, tmp_path).arguments)
