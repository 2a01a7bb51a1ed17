"""The driver with real processes: what it starts, stops, takes up and writes down."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from person import LONG, Person
from processes import end, wait_until

from engine.run.convert import ConfigError
from engine.run.directory import RunDirectory, is_locked, list_runs
from engine.run.process import is_alive, send
from engine.run.runs_file import RunsFile, load_runs
from engine.run.state import Status
from tui.control import launcher
from tui.control.actions import Actions
from tui.control.plans import RefusedError
from tui.control.probe.driver import Driver
from tui.control.probe.plan import make_plan
from tui.control.probe.record import ProbeReport, Row, probe_file, probe_folder, read_plan, read_probe
from tui.control.probe.report import table_lines
from tui.control.watcher import Watcher

PROBE_ENGINE = Path(__file__).with_name("probe_engine.py")
FIGURES: dict[str, tuple[list[float], float]] = {
    "": ([0.30, 0.40], 0.20),
    "loss.temperature": ([0.30, 0.40], 0.21),
    "loss.lambda_con": ([0.05, 0.06], 0.0),
    "sampler.max_per_article": ([0.35, 0.55], 0.40),
}
LADDER = """
[room]
undo_s = 60
[run.mamba_s]
epochs = 12
[run.amn]
epochs = 12
[[fix]]
title = "Temperature"
reason = "Sharper."
tries = [{ "loss.temperature" = 0.05 }, { "loss.temperature" = 0.10 }]
[[fix]]
title = "More contrast"
reason = "Less memorising."
tries = [{ "loss.lambda_con" = 0.85 }]
[[fix]]
title = "Batch mixing"
reason = "Two windows of an article at most."
tries = [{ "sampler.max_per_article" = 2 }]
"""


class Prober(Person):
    """A person whose runs are probed by an engine with known figures."""

    figures: Path

    def know(self, figures: dict[str, tuple[list[float], float]]) -> None:
        """Set what the engine will show, by patched key."""
        self.figures.write_text(json.dumps(figures))

    def begin(self) -> RunDirectory:
        """Start the probe of a run that has ended; returns the run."""
        run = self.start()
        self.wait_status(run, Status.FINISHED)
        self.actions.probe(self.actions.plan_probe(self.view(run)))
        return run

    def driver(self, run: RunDirectory) -> RunDirectory:
        """The driver's own folder."""
        return RunDirectory(run.evals / "probe.job")

    def finish(self, run: RunDirectory) -> ProbeReport:
        """Wait for the driver's end."""
        wait_until(lambda: not is_locked(self.driver(run).lock_file), 60)
        return read_probe(probe_file(run))


@pytest.fixture
def prober(runs_file: RunsFile, fake_engine: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Prober]:
    """Whatever still runs at the end is killed."""
    path = Path(runs_file.path)
    path.write_text(LADDER)
    figures = path.with_name("values.json")

    def argv(verb: str, *arguments: str) -> list[str]:
        return [sys.executable, str(PROBE_ENGINE), str(figures), verb, *arguments]

    monkeypatch.setattr(launcher, "engine_argv", argv)
    person = Prober(load_runs(path), fake_engine)
    person.figures = figures
    person.know(FIGURES)
    yield person
    for run in list_runs(person.file.runs_dir):
        end(person.driver(run))
        for trial in list_runs(probe_folder(run)):
            end(trial)


def by_number(report: ProbeReport) -> dict[int, Row]:
    return {row.tried.number: row for row in report.rows}


def test_every_fix_is_tried_to_the_gate_and_the_best_is_recommended(prober: Prober) -> None:
    run = prober.begin()
    report = prober.finish(run)
    assert report.state == "done"
    assert (report.metric, report.epoch, report.bar) == ("val_cosine", 2, 0.5)
    assert report.num_queries == 1000
    rows = by_number(report)
    assert rows[0].gate == 0.40
    assert rows[3].verdict == "helps"
    assert rows[3].gate_gain == pytest.approx(0.15)
    assert rows[3].r5_gain == pytest.approx(0.20)
    assert [trial.seed for trial in rows[3].trials] == [0, 1], "the leader has a second seed"
    assert [trial.seed for trial in rows[1].trials] == [0]
    assert all(trial.seconds > 0 for row in report.rows for trial in row.trials if trial.state == "done")
    assert report.fix == 3
    assert prober.journal()[-2:] == [("probe", "intent"), ("probe", "done")]

    trials = {trial.run for row in report.rows for trial in row.trials}
    assert {folder.id for folder in list_runs(probe_folder(run))} == trials
    specs = [folder.read_spec() for folder in list_runs(probe_folder(run))]
    assert {(spec.config.epochs, spec.config.threads) for spec in specs} == {(2, 1)}
    done = {trial.run for row in report.rows for trial in row.trials if trial.state == "done"}
    assert not any((probe_folder(run) / run_id / "checkpoints").exists() for run_id in done), "weights take room"
    assert {spec.data.split_seed for spec in specs} == {run.read_spec().data.split_seed}
    assert [view.id for view in prober.views()] == [run.id], "trials are not among the runs"
    assert prober.view(run).probe == report
    assert len(prober.views()) == 1, "a probe starts no child by itself"
    assert prober.plan(run).rung.number == 3, "what the restart key does then follows the evidence"


def test_a_hopeless_trial_is_stopped_after_its_first_epoch(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prober.start()
    prober.wait_status(run, Status.FINISHED)
    monkeypatch.setenv("PROBE_EPOCH_S", "1.5")  # the driver has to look between two epochs, on a busy machine too
    intent = prober.actions.plan_probe(prober.view(run))
    probe_folder(run).mkdir()
    driver = Driver(run, make_plan(intent, prober.actions.index_dir))
    report = driver.drive(lambda: any(track.trial.state == "hopeless" for track in driver.tracks))
    (trial,) = by_number(report)[2].trials
    assert trial.state == "hopeless"
    assert trial.detail == "after epoch 1 at 0.050, below half of the lowest other, 0.300"
    assert by_number(report)[2].verdict == "worse"
    assert "0.060" not in "".join(table_lines(report)), "it never got to the gate"


def test_a_trial_that_fails_does_not_end_the_probe(prober: Prober) -> None:
    prober.know(FIGURES | {"loss.temperature": ([], 0.0)})
    report = prober.finish(prober.begin())
    assert report.state == "done"
    failed = [row.trials[0] for row in report.rows if row.tried.number == 1]
    assert [trial.state for trial in failed] == ["failed", "failed"]
    assert "no such model" in failed[0].detail
    assert report.fix == 3


def test_a_killed_driver_leaves_ordinary_runs_and_the_next_one_takes_them_up(prober: Prober) -> None:
    run = prober.begin()
    wait_until(lambda: probe_file(run).exists() and read_probe(probe_file(run)).num_done >= 1)
    driver = prober.driver(run)
    with pytest.raises(RefusedError, match="probe is under way"):
        prober.actions.plan_probe(prober.view(run))
    processes = driver.read_life().processes
    assert processes is not None
    send(processes.engine, signal.SIGKILL)
    wait_until(lambda: not is_alive(processes.engine) and not is_locked(driver.lock_file))
    before = read_probe(probe_file(run))
    assert before.state == "running", "nobody could write that it was killed"
    folders = list_runs(probe_folder(run))
    wait_until(lambda: not any(is_locked(folder.lock_file) for folder in folders))
    starts = {folder.id: folder.read_life().processes for folder in folders}

    prober.actions.probe(prober.actions.plan_probe(prober.view(run)))
    report = prober.finish(run)
    assert report.state == "done"
    assert report.fix == 3
    assert {folder.id: folder.read_life().processes for folder in folders} == starts, "what was done is not done again"
    # four fixes' tries, the run itself, and the leader's second seed: none twice
    assert len(list_runs(probe_folder(run))) == 6


def test_a_driver_that_is_asked_to_end_stops_its_trials_and_goes_on_later(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prober.start()
    prober.wait_status(run, Status.FINISHED)
    monkeypatch.setenv("PROBE_HOLD", "1")
    prober.actions.probe(prober.actions.plan_probe(prober.view(run)))
    watcher = Watcher(probe_folder(run), 100.0)

    def both_train() -> bool:
        watcher.poll()
        return len(watcher.views) == 2 and all(view.latest for view in watcher.views.values())

    wait_until(both_train)
    prober.actions.kill(prober.driver(run))
    assert prober.finish(run).state == "stopped"
    wait_until(lambda: not any(is_locked(trial.lock_file) for trial in list_runs(probe_folder(run))))
    watcher.catch_up()
    assert {view.status for view in watcher.views.values()} == {Status.STOPPED}


def test_what_cannot_be_probed_says_why(prober: Prober) -> None:
    run = prober.start(*LONG)
    view = prober.wait_status(run, Status.FINISHED)
    readonly = Actions(prober.file, prober.file.runs_dir, "person", readonly=True)
    with pytest.raises(RefusedError, match="read-only"):
        readonly.plan_probe(view)
    with pytest.raises(RefusedError, match="read-only"):
        readonly.probe(prober.actions.plan_probe(view))
    windows = msgspec.structs.replace(view.spec.data, train_npz="windows.npz")
    unsearchable = replace(view, spec=msgspec.structs.replace(view.spec, data=windows))
    with pytest.raises(RefusedError, match="holds no corpus to search"):
        prober.actions.plan_probe(unsearchable)
    prober.file.fix.clear()
    with pytest.raises(RefusedError, match="no fix of the ladder changes anything"):
        prober.actions.plan_probe(view)
    assert not probe_folder(run).exists()


def test_a_run_that_the_preflight_blocks_is_not_probed(room: Person) -> None:
    view = room.wait_status(room.start("--leaks"), Status.FAILED)
    with pytest.raises(RefusedError, match="the preflight blocks mamba_s-0001"):
        room.actions.plan_probe(view)


def test_damaged_records_are_named(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match=r"plan\.json: cannot be read as a probe's plan"):
        read_plan(tmp_path)
    with pytest.raises(ConfigError, match=r"probe\.json: cannot be read as a probe's report"):
        read_probe(tmp_path / "probe.json")
